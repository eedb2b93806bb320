package compat

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	openapi "github.com/alibabacloud-go/darabonba-openapi/v2/client"
	openapiutil "github.com/alibabacloud-go/darabonba-openapi/v2/utils"
	"github.com/alibabacloud-go/tea/dara"
	"github.com/alibabacloud-go/tea/tea"
)

// darabonbaClients are the core of the vendor's generated Go clients, used as
// they use it.
func darabonbaClients() []vendorClient {
	row := func(name string, d darabonba) vendorClient {
		return vendorClient{name: "darabonba-openapi " + name, acs3: d.algorithm == "", method: d.method,
			errorType: d.errorType, do: d.do, shows: true}
	}
	return []vendorClient{
		row("ACS3", darabonba{method: "POST"}),
		row("ACS3 typed errors", darabonba{method: "POST", typed: true}),
		row("ACS3 form", darabonba{method: "POST", form: true}),
		row("RPC", darabonba{method: "POST", algorithm: "v2"}),
		row("RPC form", darabonba{method: "POST", algorithm: "v2", form: true}),
		row("RPC GET", darabonba{method: "GET", algorithm: "v2"}),
	}
}

// darabonba is one way to use it.
type darabonba struct {
	method    string
	algorithm string // "" = its default, ACS3; v2 = RPC
	form      bool   // parameters in the body, else in the query
	typed     bool   // errors of its newer kinds
}

func (d darabonba) errorType(code string) string {
	switch {
	case !d.typed:
		return "*tea.SDKError"
	case strings.HasPrefix(code, "Throttling"):
		return "*client.ThrottlingError"
	case code == "InternalError" || code == "SystemOverFlow":
		return "*client.ServerError"
	}
	return "*client.ClientError"
}

func (d darabonba) do(t *testing.T, c call) answer {
	t.Helper()
	w := newWire(c)
	config := &openapi.Config{
		Endpoint: dara.String(c.Endpoint), Protocol: dara.String(c.scheme()), HttpClient: (*daraWire)(w),
		AccessKeyId: dara.String(c.Key.ID), AccessKeySecret: dara.String(c.Key.Secret),
	}
	if c.CA != "" {
		config.Ca = dara.String(c.CA)
	}
	if d.algorithm != "" {
		config.SignatureAlgorithm = dara.String(d.algorithm)
	}
	if c.Key.Token != "" {
		config.SecurityToken = dara.String(c.Key.Token)
	}
	client, err := openapi.NewClient(config)
	if err != nil {
		t.Fatal(err)
	}
	client.DisableSDKError = dara.Bool(d.typed)
	// What the generated clients say of each operation of this API.
	operation := &openapi.Params{
		Action: dara.String(c.Action), Version: dara.String(version), Protocol: dara.String("HTTP"),
		Pathname: dara.String("/"), Method: dara.String(d.method), AuthType: dara.String("AK"),
		Style: dara.String("RPC"), ReqBodyType: dara.String("formData"), BodyType: dara.String("json"),
	}
	request := &openapi.OpenApiRequest{Query: openapiutil.Query(c.Params)}
	if d.form {
		request = &openapi.OpenApiRequest{Body: c.Params}
	}
	result, err := client.CallApi(operation, request, &dara.RuntimeOptions{})
	if err != nil {
		return answer{Failure: darabonbaFailure(t, err, w.signature)}
	}
	// Its generated clients read the result this way too.
	raw, err := json.Marshal(result)
	if err != nil {
		t.Fatal(err)
	}
	var read struct {
		Headers    map[string]string `json:"headers"`
		StatusCode int               `json:"statusCode"`
		Body       json.RawMessage   `json:"body"`
	}
	if err := json.Unmarshal(raw, &read); err != nil {
		t.Fatalf("%s: %v", raw, err)
	}
	return answer{Status: read.StatusCode, Headers: read.Headers, Body: read.Body}
}

// typedError is what its newer kinds of errors have in common.
type typedError interface {
	error
	GetStatusCode() *int
	GetCode() *string
	GetMessage() *string
	GetRequestId() *string
}

func darabonbaFailure(t *testing.T, err error, signature string) *failure {
	t.Helper()
	f := &failure{Type: fmt.Sprintf("%T", err), Signature: signature}
	var sdk *tea.SDKError
	var typed typedError
	switch {
	case errors.As(err, &sdk):
		var data struct {
			RequestID string `json:"RequestId"`
		}
		if err := json.Unmarshal([]byte(tea.StringValue(sdk.Data)), &data); err != nil {
			t.Fatalf("data %q: %v", tea.StringValue(sdk.Data), err)
		}
		f.Code, f.Status = tea.StringValue(sdk.Code), tea.IntValue(sdk.StatusCode)
		f.Message, f.RequestID = tea.StringValue(sdk.Message), data.RequestID
	case errors.As(err, &typed):
		f.Code, f.Status = dara.StringValue(typed.GetCode()), dara.IntValue(typed.GetStatusCode())
		f.Message, f.RequestID = dara.StringValue(typed.GetMessage()), dara.StringValue(typed.GetRequestId())
	default:
		t.Fatalf("an error that is none of the API: %v", err)
	}
	return f
}

// daraWire is the wire in the client's own hook for a caller's HTTP stack.
type daraWire wire

// Call sends a request by the client's own transport.
func (w *daraWire) Call(request *http.Request, transport *http.Transport) (*http.Response, error) {
	w.transport = transport
	return (&http.Client{Transport: (*wire)(w), Timeout: patience}).Do(request)
}
