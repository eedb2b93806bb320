package compat

import (
	"encoding/json"
	"errors"
	"net/http"
	"regexp"
	"testing"

	openapi "github.com/alibabacloud-go/darabonba-openapi/v2/client"
	openapiutil "github.com/alibabacloud-go/darabonba-openapi/v2/utils"
	"github.com/alibabacloud-go/tea/dara"
	"github.com/alibabacloud-go/tea/tea"
)

// darabonbaClients are the core of the vendor's generated Go clients, used as
// they use it.
func darabonbaClients() []vendorClient {
	sdkError := func(string) string { return "*tea.SDKError" }
	row := func(name string, d darabonba) vendorClient {
		return vendorClient{name: "darabonba-openapi " + name, acs3: d.algorithm == "", method: d.method,
			errorType: sdkError, do: d.do, shows: true}
	}
	return []vendorClient{
		row("ACS3", darabonba{method: "POST"}),
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
}

func (d darabonba) do(t *testing.T, c call) answer {
	t.Helper()
	var wire signatureOf
	config := &openapi.Config{
		Endpoint: dara.String(c.Endpoint), Protocol: dara.String("http"), HttpClient: &wire,
		AccessKeyId: dara.String(c.Key.ID), AccessKeySecret: dara.String(c.Key.Secret),
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
		return answer{Failure: darabonbaFailure(t, err, wire.signature)}
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

func darabonbaFailure(t *testing.T, err error, signature string) *failure {
	t.Helper()
	var sdk *tea.SDKError
	if !errors.As(err, &sdk) {
		t.Fatalf("an error that is none of the API: %v", err)
	}
	var data struct {
		RequestID string `json:"RequestId"`
	}
	if err := json.Unmarshal([]byte(tea.StringValue(sdk.Data)), &data); err != nil {
		t.Fatalf("data %q: %v", tea.StringValue(sdk.Data), err)
	}
	return &failure{Type: "*tea.SDKError", Code: tea.StringValue(sdk.Code), Status: tea.IntValue(sdk.StatusCode),
		Message: tea.StringValue(sdk.Message), RequestID: data.RequestID, Signature: signature}
}

// signatureOf sends a client's requests as they are and keeps the signature.
type signatureOf struct{ signature string }

var acs3Signature = regexp.MustCompile(`^ACS3-HMAC-SHA256 .*Signature=([0-9a-f]{64})$`)

// Call is the client's own hook for a caller's HTTP stack.
func (s *signatureOf) Call(request *http.Request, transport *http.Transport) (*http.Response, error) {
	s.signature = request.URL.Query().Get("Signature")
	if m := acs3Signature.FindStringSubmatch(request.Header.Get("Authorization")); m != nil {
		s.signature = m[1]
	}
	transport.DisableKeepAlives = true // each client is used once
	return (&http.Client{Transport: transport, Timeout: patience}).Do(request)
}
