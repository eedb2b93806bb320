package closeconn

import (
	"errors"
	"fmt"
	"net/http"
)

// The errors of this package, beside *APIError.
var (
	// ErrNotLoopback refuses to serve unsigned requests to other hosts.
	ErrNotLoopback = errors.New("the CloseConnection endpoint accepts unsigned requests and listens on loopback only in this version")
	// ErrEndpoint says that an endpoint's URL can not be one.
	ErrEndpoint = errors.New("bad CloseConnection endpoint")
	// ErrCredentials says that requests can not be signed as was asked for.
	ErrCredentials = errors.New("bad signature settings")
)

// APIError is a failure in the words of the API: a real HTTP status of 4xx or
// 5xx with a code. The handler writes it and the Client returns it.
type APIError struct {
	Status    int    // HTTP status
	Code      string // documented error code; "" when the answer was none of the API
	Message   string
	RequestID string
}

// Error names status, code and message.
func (e *APIError) Error() string {
	code := e.Code
	if code == "" {
		code = http.StatusText(e.Status)
	}
	text := fmt.Sprintf("CloseConnection answered %d %s: %s", e.Status, code, e.Message)
	if e.RequestID != "" {
		text += " (request " + e.RequestID + ")"
	}
	return text
}

// The documented errors that this version answers with. Codes and texts are
// the vendor's: its clients match on them.

func errMethod() *APIError {
	return &APIError{Status: http.StatusBadRequest, Code: "UnsupportedHTTPMethod", Message: "This http method is not supported."}
}

func errUnknownAction() *APIError {
	return &APIError{Status: http.StatusNotFound, Code: "InvalidAction.NotFound",
		Message: "Specified api is not found, please check your url and method."}
}

func errVersion() *APIError {
	return &APIError{Status: http.StatusBadRequest, Code: "InvalidVersion", Message: "Specified parameter Version is not valid."}
}

func errMissing(parameter string) *APIError {
	return &APIError{Status: http.StatusBadRequest, Code: "Missing" + parameter, Message: parameter + " is mandatory for this action."}
}

func errParameters() *APIError {
	return &APIError{Status: http.StatusBadRequest, Code: "ParameterCheckFailed",
		Message: "An error occurred while validating the parameters. The parameters may be missing or invalid."}
}

func errParameter(parameter string) *APIError {
	return &APIError{Status: http.StatusBadRequest, Code: "InvalidParameter." + parameter,
		Message: "An error occurred while validating the parameter. The parameter may be missing or invalid."}
}

func errNotOffered() *APIError {
	return &APIError{Status: http.StatusNotFound, Code: "ApiNotSupport", Message: "The specified API is not supported."}
}

func errInternal() *APIError {
	return &APIError{Status: http.StatusInternalServerError, Code: "InternalError",
		Message: "An error occurred while processing your request. Try again later."}
}
