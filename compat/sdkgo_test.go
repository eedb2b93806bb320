package compat

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/aliyun/alibaba-cloud-sdk-go/sdk"
	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/auth"
	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/auth/credentials"
	sdkerrors "github.com/aliyun/alibaba-cloud-sdk-go/sdk/errors"
	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/requests"
)

// sdkGoClients are the vendor's older Go SDK, by its CommonRequest.
func sdkGoClients() []vendorClient {
	serverError := func(string) string { return "*errors.ServerError" }
	row := func(name string, s sdkGo) vendorClient {
		return vendorClient{name: "alibaba-cloud-sdk-go " + name, method: s.method, errorType: serverError, do: s.do, shows: true}
	}
	return []vendorClient{
		row("GET", sdkGo{method: "GET"}),
		row("POST", sdkGo{method: "POST"}),
		row("POST form", sdkGo{method: "POST", form: true}),
	}
}

// sdkGo is one way to use it.
type sdkGo struct {
	method string
	form   bool // parameters in the body, else in the query
}

func (s sdkGo) do(t *testing.T, c call) answer {
	t.Helper()
	var credential auth.Credential = credentials.NewAccessKeyCredential(c.Key.ID, c.Key.Secret)
	if c.Key.Token != "" {
		credential = credentials.NewStsTokenCredential(c.Key.ID, c.Key.Secret, c.Key.Token)
	}
	client, err := sdk.NewClientWithOptions("cn-shanghai", sdk.NewConfig(), credential)
	if err != nil {
		t.Fatal(err)
	}
	w := newWire(c)
	client.SetTransport(w)
	request := requests.NewCommonRequest()
	request.Scheme, request.Domain, request.Method = c.scheme(), c.Endpoint, s.method
	request.Version, request.ApiName = version, c.Action
	params := request.QueryParams
	if s.form {
		params = request.FormParams
	}
	for name, value := range c.Params {
		// Its users flatten lists by hand.
		if list, is := value.([]string); is {
			for i, v := range list {
				params[fmt.Sprintf("%s.%d", name, i+1)] = v
			}
			continue
		}
		params[name] = value.(string)
	}
	response, err := client.ProcessCommonRequest(request)
	if err != nil {
		return answer{Failure: sdkGoFailure(t, err, w.signature)}
	}
	a := answer{Status: response.GetHttpStatus(), Body: response.GetHttpContentBytes(), Headers: map[string]string{}}
	for name, values := range response.GetHttpHeaders() {
		a.Headers[strings.ToLower(name)] = values[0]
	}
	return a
}

func sdkGoFailure(t *testing.T, err error, signature string) *failure {
	t.Helper()
	var server *sdkerrors.ServerError
	if !errors.As(err, &server) {
		t.Fatalf("an error that is none of the API: %v", err)
	}
	return &failure{Type: fmt.Sprintf("%T", server), Code: server.ErrorCode(), Status: server.HttpStatus(),
		Message: server.Message(), RequestID: server.RequestId(), Advice: server.Recommend(), Signature: signature}
}
