package closeconn

import (
	"maps"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/rebound-mqtt/rebound/harness/closeconn/acs"
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
	scheme  acs.Scheme
	action  string
	version string
	params  url.Values // of query and form, each once
	query   url.Values // of the query alone
	key     *KeyPair   // who signed it; nil = requests are not signed
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
	r := request{scheme: acs.None}
	var err error
	if r.query, err = url.ParseQuery(rawQuery); err != nil {
		return request{}, errParameters()
	}
	r.params = r.query
	if method == http.MethodPost && len(body) > 0 && isForm(header.Get("Content-Type")) {
		form, err := url.ParseQuery(string(body))
		if err != nil {
			return request{}, errParameters()
		}
		r.params = maps.Clone(r.query)
		for name, values := range form {
			r.params[name] = slices.Concat(r.params[name], values)
		}
	}
	if ambiguous(r.params, header) {
		return request{}, errParameters()
	}
	r.name(header)
	return r, nil
}

// name finds how the request is signed, and with that where it names its
// operation. Requests in RPC style carry the x-acs headers too, so it is not
// their presence that decides; and there they are not signed, so they count
// only for a request without any signature.
func (r *request) name(header http.Header) {
	r.action, r.version = r.params.Get("Action"), r.params.Get("Version")
	switch {
	case acs.IsACS3(header.Get("Authorization")):
		r.scheme = acs.ACS3
		r.action, r.version = header.Get(acs.HeaderAction), header.Get(acs.HeaderVersion)
	case r.params.Has(acs.ParamSignature) || r.params.Has(acs.ParamKeyID):
		r.scheme = acs.RPC
	default:
		if r.action == "" {
			r.action = header.Get(acs.HeaderAction)
		}
		if r.version == "" {
			r.version = header.Get(acs.HeaderVersion)
		}
	}
}

// ambiguous reports whether a parameter, or a header that means something
// here, is there twice: which one was meant, and which one signed, would be a
// matter of the reader.
func ambiguous(params url.Values, header http.Header) bool {
	for _, values := range params {
		if len(values) > 1 {
			return true
		}
	}
	for name, values := range header {
		if len(values) > 1 && (name == "Authorization" || name == "Content-Type" || strings.HasPrefix(name, "X-Acs-")) {
			return true
		}
	}
	return false
}

// isForm reports whether a body of this media type holds parameters.
func isForm(contentType string) bool {
	media, _, err := mime.ParseMediaType(contentType)
	return err == nil && media == "application/x-www-form-urlencoded"
}
