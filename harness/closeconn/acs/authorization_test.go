package acs

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseAuthorization(t *testing.T) {
	want := Authorization{Algorithm: "ACS3-HMAC-SHA256", KeyID: "id", SignedHeaders: []string{"host", "x-acs-date"}, Signature: "0a"}
	for _, header := range []string{
		"ACS3-HMAC-SHA256 Credential=id,SignedHeaders=host;x-acs-date,Signature=0a",
		"ACS3-HMAC-SHA256 Credential=id, SignedHeaders=host;x-acs-date, Signature=0a",
		"ACS3-HMAC-SHA256 Signature=0a , Credential=id,SignedHeaders=host;x-acs-date",
	} {
		got, err := ParseAuthorization(header)
		if err != nil || !cmp.Equal(got, want) {
			t.Errorf("%s: %v, %v", header, err, cmp.Diff(want, got))
		}
	}
	if got, err := ParseAuthorization("ACS3-HMAC-SHA256 Credential=,SignedHeaders=host,Signature=0a"); err != nil || got.KeyID != "" {
		t.Errorf("no id: %+v, %v", got, err)
	}
	if got := want.String(); got != "ACS3-HMAC-SHA256 Credential=id,SignedHeaders=host;x-acs-date,Signature=0a" {
		t.Error(got)
	}
	for name, header := range map[string]string{
		"empty":            "",
		"other scheme":     "Basic dXNlcjpwYXNz",
		"prefix only":      "ACS3-HMAC-SHA256",
		"no fields":        "ACS3-HMAC-SHA256 ",
		"no credential":    "ACS3-HMAC-SHA256 SignedHeaders=host,Signature=0a",
		"no list":          "ACS3-HMAC-SHA256 Credential=id,Signature=0a",
		"no signature":     "ACS3-HMAC-SHA256 Credential=id,SignedHeaders=host",
		"empty signature":  "ACS3-HMAC-SHA256 Credential=id,SignedHeaders=host,Signature=",
		"twice":            "ACS3-HMAC-SHA256 Credential=id,Credential=id,SignedHeaders=host,Signature=0a",
		"unknown field":    "ACS3-HMAC-SHA256 Credential=id,SignedHeaders=host,Signature=0a,Extra=1",
		"upper case":       "ACS3-HMAC-SHA256 Credential=id,SignedHeaders=Host,Signature=0a",
		"header twice":     "ACS3-HMAC-SHA256 Credential=id,SignedHeaders=host;host,Signature=0a",
		"empty name":       "ACS3-HMAC-SHA256 Credential=id,SignedHeaders=host;,Signature=0a",
		"too many headers": "ACS3-HMAC-SHA256 Credential=id,SignedHeaders=" + strings.Repeat("a;", maxSignedHeaders) + "a,Signature=0a",
		"too long":         "ACS3-HMAC-SHA256 Credential=" + strings.Repeat("i", maxAuthorization),
	} {
		if got, err := ParseAuthorization(header); !errors.Is(err, ErrAuthorization) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	if got, _ := ParseAuthorization("ACS3-RSA-SHA256 nonsense"); got.Algorithm != "ACS3-RSA-SHA256" {
		t.Errorf("the algorithm of a header that can not be read is %q", got.Algorithm)
	}
}

// What was accepted is written and read back as the same, and is bounded.
func FuzzParseAuthorization(f *testing.F) {
	f.Add("ACS3-HMAC-SHA256 Credential=id,SignedHeaders=host;x-acs-date,Signature=0a")
	f.Add("ACS3-HMAC-SM3 Signature==,Credential= , SignedHeaders=;")
	f.Add("Bearer x")
	f.Fuzz(func(t *testing.T, header string) {
		a, err := ParseAuthorization(header)
		if err != nil {
			if !errors.Is(err, ErrAuthorization) || len(err.Error()) > 300 {
				t.Fatalf("%q: %v", header, err)
			}
			return
		}
		if len(a.SignedHeaders) == 0 || len(a.SignedHeaders) > maxSignedHeaders || a.Signature == "" || len(header) > maxAuthorization {
			t.Fatalf("accepted %q as %+v", header, a)
		}
		again, err := ParseAuthorization(a.String())
		if err != nil || !cmp.Equal(a, again) {
			t.Fatalf("%q: %v\n%s", header, err, cmp.Diff(a, again))
		}
	})
}
