package acs

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// ErrAuthorization says that an Authorization header is none of ACS3.
var ErrAuthorization = errors.New("malformed Authorization header")

const (
	prefixACS3 = "ACS3-"
	// maxAuthorization bounds the header in bytes: one with 64 signed headers of
	// 40 letters has 3 KiB.
	maxAuthorization = 8 << 10
	maxSignedHeaders = 64
)

// IsACS3 reports whether an Authorization header claims the ACS3 style, of
// whatever algorithm. This chooses the scheme: requests in RPC style carry
// x-acs headers too.
func IsACS3(authorization string) bool { return strings.HasPrefix(authorization, prefixACS3) }

// Authorization is the header of ACS3:
//
//	ACS3-HMAC-SHA256 Credential=ID,SignedHeaders=host;x-acs-date,Signature=HEX
type Authorization struct {
	Algorithm     string
	KeyID         string
	SignedHeaders []string // in lower case
	Signature     string
}

// String is the header's value.
func (a Authorization) String() string {
	return a.Algorithm + " Credential=" + a.KeyID + ",SignedHeaders=" + strings.Join(a.SignedHeaders, ";") + ",Signature=" + a.Signature
}

// ParseAuthorization reads the header. The three fields may stand in any order
// and have spaces around their commas; each must be there once, and only the
// KeyID may be empty. Names of signed headers are in lower case, sorted, and each once: the
// order is part of what is signed. The error wraps ErrAuthorization; the
// Algorithm is set as soon as it could be read, error or not.
func ParseAuthorization(header string) (Authorization, error) {
	var a Authorization
	if len(header) > maxAuthorization {
		return a, fmt.Errorf("%w: more than %d bytes", ErrAuthorization, maxAuthorization)
	}
	algorithm, rest, found := strings.Cut(header, " ")
	if !IsACS3(algorithm) {
		return a, fmt.Errorf("%w: want ALGORITHM Credential=…,SignedHeaders=…,Signature=…", ErrAuthorization)
	}
	a.Algorithm = algorithm
	if !found {
		return a, fmt.Errorf("%w: nothing after the algorithm", ErrAuthorization)
	}
	var list string
	missing := map[string]*string{"Credential": &a.KeyID, "SignedHeaders": &list, "Signature": &a.Signature}
	for field := range strings.SplitSeq(rest, ",") {
		name, value, _ := strings.Cut(strings.Trim(field, " "), "=")
		target := missing[name]
		if target == nil {
			return a, fmt.Errorf("%w: field %.20q is unknown or there twice", ErrAuthorization, name)
		}
		*target = value
		delete(missing, name)
	}
	if len(missing) > 0 || a.Signature == "" {
		return a, fmt.Errorf("%w: Credential, SignedHeaders or Signature is missing", ErrAuthorization)
	}
	var err error
	a.SignedHeaders, err = parseSigned(list)
	return a, err
}

func parseSigned(list string) ([]string, error) {
	if n := strings.Count(list, ";") + 1; n > maxSignedHeaders {
		return nil, fmt.Errorf("%w: %d signed headers, at most %d", ErrAuthorization, n, maxSignedHeaders)
	}
	names := strings.Split(list, ";")
	for i, name := range names {
		if !headerName(name) {
			return nil, fmt.Errorf("%w: %.20q is no header name in lower case", ErrAuthorization, name)
		}
		if slices.Contains(names[:i], name) {
			return nil, fmt.Errorf("%w: %.20q is signed twice", ErrAuthorization, name)
		}
	}
	return names, nil
}

// headerName accepts the letters that header names of this API have.
func headerName(s string) bool {
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return s != ""
}
