package acs

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"strings"
	"time"
)

// The headers that name and sign a request in ACS3 style, in the lower case of
// the canonical request.
const (
	HeaderAction        = "x-acs-action"
	HeaderVersion       = "x-acs-version"
	HeaderContentSHA256 = "x-acs-content-sha256"
	HeaderDate          = "x-acs-date"
	HeaderNonce         = "x-acs-signature-nonce"
	HeaderKeyID         = "x-acs-accesskey-id"
	HeaderSecurityToken = "x-acs-security-token"

	// PrefixHeaders is what the names of all headers begin with that must be signed.
	PrefixHeaders = "x-acs-"
	// AlgorithmHMACSHA256 is the only ACS3 algorithm that is built.
	AlgorithmHMACSHA256 = "ACS3-HMAC-SHA256"
)

// Hash is a body's x-acs-content-sha256.
func Hash(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:])
}

// Canonical is what an ACS3 signature signs of a request.
type Canonical struct {
	Method  string
	Path    string // escaped; "" = /
	Query   url.Values
	Host    string
	Header  http.Header
	Signed  []string // names of the signed headers in lower case, in the order of SignedHeaders
	Payload string   // Hash of the body; it stands for the header x-acs-content-sha256 too
}

// Request is the canonical request.
func (c Canonical) Request() string { return string(c.append(nil)) }

func (c Canonical) append(b []byte) []byte {
	path := c.Path
	if path == "" {
		path = "/"
	}
	b = append(b, c.Method...)
	b = append(b, '\n')
	b = append(b, path...)
	b = append(b, '\n')
	b = appendCanonical(b, c.Query, "")
	b = append(b, '\n')
	for _, name := range c.Signed {
		b = append(b, name...)
		b = append(b, ':')
		b = append(b, c.Value(name)...)
		b = append(b, '\n')
	}
	b = append(b, '\n')
	for i, name := range c.Signed {
		if i > 0 {
			b = append(b, ';')
		}
		b = append(b, name...)
	}
	b = append(b, '\n')
	return append(b, c.Payload...)
}

// Value is a header's value as it is signed: trimmed, several joined with a
// comma. Who verifies reads it so, else a request could say one thing to the
// reader and another to the signature. Only what HTTP/1 takes off is trimmed.
func (c Canonical) Value(name string) string {
	switch name {
	case "host":
		return c.Host
	case HeaderContentSHA256:
		return c.Payload
	}
	values := c.Header[textproto.CanonicalMIMEHeaderKey(name)]
	if len(values) == 1 {
		return trimmed(values[0])
	}
	all := make([]string, len(values))
	for i, value := range values {
		all[i] = trimmed(value)
	}
	return strings.Join(all, ",")
}

func trimmed(value string) string { return strings.Trim(value, " \t") }

// StringToSign is the algorithm and the hash of the canonical request.
func (c Canonical) StringToSign() string {
	sum := sha256.Sum256(c.append(make([]byte, 0, 1024)))
	b := make([]byte, 0, len(AlgorithmHMACSHA256)+1+2*len(sum))
	b = append(b, AlgorithmHMACSHA256...)
	b = append(b, '\n')
	return string(hex.AppendEncode(b, sum[:]))
}

// ACS3Signature signs a string to sign with a key's secret.
func ACS3Signature(secret, stringToSign string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(stringToSign))
	return hex.EncodeToString(mac.Sum(nil))
}

// SignACS3 signs a request in ACS3 style: it sets x-acs-content-sha256,
// x-acs-date, x-acs-signature-nonce, Authorization and, with temporary
// credentials, x-acs-accesskey-id and x-acs-security-token. Signed are host,
// content-type and every x-acs header, so the caller sets those first:
// x-acs-action and x-acs-version, which name the operation. body is what r
// sends. The nonce must be new for each request.
func SignACS3(c Credentials, r *http.Request, body []byte, nonce string, at time.Time) {
	hash := Hash(body)
	r.Header.Set(HeaderContentSHA256, hash)
	r.Header.Set(HeaderDate, at.UTC().Format(TimeFormat))
	r.Header.Set(HeaderNonce, nonce)
	if c.SecurityToken != "" {
		r.Header.Set(HeaderKeyID, c.KeyID)
		r.Header.Set(HeaderSecurityToken, c.SecurityToken)
	}
	host := r.Host
	if host == "" {
		host = r.URL.Host
	}
	signed := MustSign(r.Header)
	sign := Canonical{
		Method: r.Method, Path: r.URL.EscapedPath(), Query: r.URL.Query(), Host: host,
		Header: r.Header, Signed: signed, Payload: hash,
	}
	r.Header.Set("Authorization", Authorization{
		Algorithm: AlgorithmHMACSHA256, KeyID: c.KeyID, SignedHeaders: signed,
		Signature: ACS3Signature(c.Secret, sign.StringToSign()),
	}.String())
}

// MustSign lists the headers that have to be signed, in lower case and sorted:
// host, content-type if there is one, and all of x-acs.
func MustSign(header http.Header) []string {
	names := append(make([]string, 0, len(header)+1), "host")
	for name := range header {
		if name = strings.ToLower(name); name == "content-type" || strings.HasPrefix(name, PrefixHeaders) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}
