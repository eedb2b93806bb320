package compat

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"regexp"
)

// wire sends a client's requests as they are, and keeps the last signature.
type wire struct {
	transport *http.Transport
	replay    bool // send each twice; the second answer is the client's
	signature string
}

func newWire(c call) *wire {
	w := &wire{transport: &http.Transport{}, replay: c.Replay}
	if c.CA != "" {
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM([]byte(c.CA))
		w.transport.TLSClientConfig = &tls.Config{RootCAs: roots}
	}
	return w
}

var acs3Signature = regexp.MustCompile(`^ACS3-HMAC-SHA256 .*Signature=([0-9a-f]{64})$`)

// RoundTrip sends a request, and again if it is to be replayed.
func (w *wire) RoundTrip(request *http.Request) (*http.Response, error) {
	w.signature = request.URL.Query().Get("Signature")
	if m := acs3Signature.FindStringSubmatch(request.Header.Get("Authorization")); m != nil {
		w.signature = m[1]
	}
	w.transport.DisableKeepAlives = true // none is left when a test ends
	if !w.replay {
		return w.transport.RoundTrip(request)
	}
	var body []byte
	if request.Body != nil {
		var err error
		if body, err = io.ReadAll(request.Body); err != nil {
			return nil, err
		}
	}
	request.Body = io.NopCloser(bytes.NewReader(body))
	first, err := w.transport.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	if err := first.Body.Close(); err != nil {
		return nil, err
	}
	request.Body = io.NopCloser(bytes.NewReader(body))
	return w.transport.RoundTrip(request)
}
