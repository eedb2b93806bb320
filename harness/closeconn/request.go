package closeconn

import (
	"mime"
	"net/http"
	"net/url"
	"strings"
)

const (
	apiVersion = "2020-04-20"
	// maxBody is far above any request of the API: a ClientId has at most
	// 65,535 bytes [MQTT-1.5.3], and three for each when percent-encoded.
	maxBody = 256 << 10
	// maxHeader bounds request line and headers; a GET carries its ClientId there.
	maxHeader = 256 << 10
)

// request is one call of the API, whatever its style.
type request struct {
	action  string
	version string
	params  url.Values
}

// parseRequest finds the operation and its parameters. The checks come in the
// gateway's order: method, path, well-formed parameters; the caller goes on
// with version and action.
func parseRequest(method, path, rawQuery string, header http.Header, body []byte) (request, *APIError) {
	if method != http.MethodGet && method != http.MethodPost {
		return request{}, errMethod()
	}
	if path != "/" {
		return request{}, errUnknownAction()
	}
	params, err := url.ParseQuery(rawQuery)
	if err != nil {
		return request{}, errParameters()
	}
	if method == http.MethodPost && isForm(header.Get("Content-Type")) {
		form, err := url.ParseQuery(string(body))
		if err != nil {
			return request{}, errParameters()
		}
		for name, values := range form {
			params[name] = append(params[name], values...)
		}
	}
	r := request{action: params.Get("Action"), version: params.Get("Version"), params: params}
	// Requests in RPC style carry the x-acs headers too, so it is the scheme of
	// the signature that says where the operation is named, not their presence.
	headerStyle := strings.HasPrefix(header.Get("Authorization"), "ACS3-")
	if headerStyle || r.action == "" {
		r.action = header.Get("x-acs-action")
	}
	if headerStyle || r.version == "" {
		r.version = header.Get("x-acs-version")
	}
	return r, nil
}

// isForm reports whether a body of this media type holds parameters.
func isForm(contentType string) bool {
	media, _, err := mime.ParseMediaType(contentType)
	return err == nil && media == "application/x-www-form-urlencoded"
}
