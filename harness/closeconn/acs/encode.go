package acs

import (
	"net/url"
	"slices"
)

const upperHex = "0123456789ABCDEF"

// Escape percent-encodes as both schemes want it: all bytes but A-Z a-z 0-9
// - _ . ~ become %XX in upper case. It is neither url.QueryEscape (space would
// be +) nor url.PathEscape (which keeps more).
func Escape(s string) string {
	return string(appendEscaped(nil, s))
}

func appendEscaped(dst []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; unreserved[c] {
			dst = append(dst, c)
		} else {
			dst = append(dst, '%', upperHex[c>>4], upperHex[c&15])
		}
	}
	return dst
}

// appendEscapedBytes escapes what is escaped already: RPC signs the encoded
// form of the canonical query.
func appendEscapedBytes(dst, s []byte) []byte {
	for _, c := range s {
		if unreserved[c] {
			dst = append(dst, c)
		} else {
			dst = append(dst, '%', upperHex[c>>4], upperHex[c&15])
		}
	}
	return dst
}

var unreserved = func() (table [256]bool) {
	for c := range table {
		b := byte(c)
		table[c] = 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z' || '0' <= b && b <= '9' ||
			b == '-' || b == '_' || b == '.' || b == '~'
	}
	return table
}()

// CanonicalQuery is the parameters sorted by name, bytewise, each as
// name=value with both escaped, joined with &. An empty value keeps its =.
func CanonicalQuery(params url.Values) string {
	return string(appendCanonical(nil, params, ""))
}

// appendCanonical leaves out the parameter that is named without.
func appendCanonical(dst []byte, params url.Values, without string) []byte {
	names := make([]string, 0, len(params))
	for name := range params {
		if name != without || without == "" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	first := true
	for _, name := range names {
		for _, value := range params[name] {
			if !first {
				dst = append(dst, '&')
			}
			first = false
			dst = appendEscaped(dst, name)
			dst = append(dst, '=')
			dst = appendEscaped(dst, value)
		}
	}
	return dst
}
