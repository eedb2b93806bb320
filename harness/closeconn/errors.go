package closeconn

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// The errors of this package, beside *APIError.
var (
	// ErrNotLoopback refuses to serve unsigned requests to other hosts.
	ErrNotLoopback = errors.New("without access keys the CloseConnection endpoint believes every request, so it listens on loopback only: " +
		"give it keys (a keys file, or " + EnvKeyID + " and " + EnvKeySecret + "), or a loopback address")
	// ErrKeys says that a keys file or the environment's key can not be used.
	ErrKeys = errors.New("bad access keys")
	// ErrRules says that a file of injected faults can not be used.
	ErrRules = errors.New("bad injection rules")
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

// documentedErrors is the table of the API's errors. Codes and texts are the
// vendor's: its clients match on them. Two families have no row, since their
// codes name a parameter: Missing… and InvalidParameter.….
var documentedErrors = []APIError{
	// of the gateway
	{Status: http.StatusBadRequest, Code: "UnsupportedHTTPMethod", Message: "This http method is not supported."},
	{Status: http.StatusBadRequest, Code: "InvalidVersion", Message: "Specified parameter Version is not valid."},
	{Status: http.StatusNotFound, Code: "InvalidAction.NotFound", Message: textUnknownAction},
	{Status: http.StatusNotFound, Code: "InvalidApi.NotFound", Message: textUnknownAction}, // older name
	{Status: http.StatusNotFound, Code: "InvalidAccessKeyId.NotFound", Message: "Specified access key is not found."},
	{Status: http.StatusBadRequest, Code: "InvalidAccessKeyId.Inactive", Message: "Specified access key is disabled."},
	{Status: http.StatusBadRequest, Code: "InvalidTimeStamp.Format", Message: "Specified time stamp or date value is not well formatted."},
	{Status: http.StatusBadRequest, Code: "InvalidTimeStamp.Expired", Message: "Specified time stamp or date value is expired."},
	{Status: http.StatusBadRequest, Code: "InvalidSignatureMethod", Message: "Specified signature method is not valid."},
	{Status: http.StatusBadRequest, Code: "IncompleteSignature", Message: textIncomplete}, // then the string to sign
	{Status: http.StatusBadRequest, Code: "SignatureDoesNotMatch", Message: textMismatchRPC},
	{Status: http.StatusBadRequest, Code: "SignatureNonceUsed", Message: "Specified signature nonce was used already."},
	{Status: http.StatusBadRequest, Code: "Throttling", Message: textThrottling},
	{Status: http.StatusBadRequest, Code: "Throttling.User", Message: textThrottling},
	{Status: http.StatusBadRequest, Code: "Throttling.Api", Message: textThrottling},
	{Status: http.StatusForbidden, Code: "NoPermission", Message: "You are not authorized to do this action."},
	{Status: http.StatusForbidden, Code: "Forbidden.RAM", Message: "You are not authorized to do this action."},
	// of the product
	{Status: http.StatusBadRequest, Code: "ParameterCheckFailed",
		Message: "An error occurred while validating the parameters. The parameters may be missing or invalid."},
	{Status: http.StatusBadRequest, Code: "CheckAccountInfoFailed",
		Message: "An error occurred while checking the account information by the STS token."},
	{Status: http.StatusBadRequest, Code: "InstancePermissionCheckFailed",
		Message: "An error occurred while validating the permissions of the instance. Please verify the account that created the instance and its permissions settings."},
	{Status: http.StatusBadRequest, Code: "PermissionCheckFailed",
		Message: "An error occurred while validating the resource permissions. Please check the account that created the instance, topic, and GroupId, and check their permission settings."},
	{Status: http.StatusBadRequest, Code: "ApplyTokenOverFlow", Message: "You have applied for tokens too many times. Please try again later."},
	{Status: http.StatusBadRequest, Code: "Customauth.over.capacity", Message: "Over custom auth capacity."}, // the block list is full
	{Status: http.StatusNotFound, Code: "ApiNotSupport", Message: "The specified API is not supported."},
	{Status: http.StatusInternalServerError, Code: "InternalError", Message: "An error occurred while processing your request. Try again later."},
	{Status: http.StatusInternalServerError, Code: "SystemOverFlow", Message: "An error occurred while processing your request. Please try again."},
}

// Texts that stand in several rows, or go on with what a request was.
const (
	textUnknownAction = "Specified api is not found, please check your url and method."
	textThrottling    = "Request was denied due to user flow control."
	textIncomplete    = "The request signature does not conform to Aliyun standards. server string to sign is:"
	textMismatchRPC   = "Specified signature is not matched with our calculation. server string to sign is:"
	textMismatchACS3  = "Specified signature does not match our calculation. server StringToSign is ["
)

const (
	prefixMissing          = "Missing"
	prefixInvalidParameter = "InvalidParameter."
)

// documented returns the error of a documented code, whose status and text are
// the vendor's; false = no such code.
func documented(code string) (*APIError, bool) {
	for i := range documentedErrors {
		if row := documentedErrors[i]; row.Code == code {
			return &row, true
		}
	}
	if name, found := strings.CutPrefix(code, prefixInvalidParameter); found && name != "" {
		return errParameter(name), true
	}
	if name, found := strings.CutPrefix(code, prefixMissing); found && name != "" {
		return errMissing(name), true
	}
	return nil, false
}

// coded is documented for a code that is in the table.
func coded(code string) *APIError {
	e, found := documented(code)
	if !found {
		panic("no documented error " + code)
	}
	return e
}

func errMethod() *APIError        { return coded("UnsupportedHTTPMethod") }
func errUnknownAction() *APIError { return coded("InvalidAction.NotFound") }
func errVersion() *APIError       { return coded("InvalidVersion") }
func errParameters() *APIError    { return coded("ParameterCheckFailed") }
func errNotOffered() *APIError    { return coded("ApiNotSupport") }
func errInternal() *APIError      { return coded("InternalError") }

func errMissing(parameter string) *APIError { return errMissingAs(parameter, parameter) }

// errMissingAs is errMissing of a parameter that this request has under
// another name.
func errMissingAs(parameter, name string) *APIError {
	return &APIError{Status: http.StatusBadRequest, Code: prefixMissing + parameter, Message: name + " is mandatory for this action."}
}

func errParameter(parameter string) *APIError {
	return &APIError{Status: http.StatusBadRequest, Code: prefixInvalidParameter + parameter,
		Message: "An error occurred while validating the parameter. The parameter may be missing or invalid."}
}
