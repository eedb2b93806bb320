package acs

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func TestSecretsAreNotPrinted(t *testing.T) {
	c := Credentials{KeyID: "the-id", Secret: "top-secret", SecurityToken: "top-secret-token"}
	type holder struct {
		C Credentials
		P *Credentials
	}
	h := holder{c, &c}
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		for _, value := range []any{c, &c, h, []Credentials{c}, map[string]Credentials{"a": c}} {
			fmt.Fprintf(&out, verb+"\n", value)
		}
	}
	for _, value := range []any{c, &c, h, map[string]Credentials{"a": c}} {
		if err := json.NewEncoder(&out).Encode(value); err != nil {
			t.Error(err)
		}
		slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "value", value)
		slog.New(slog.NewTextHandler(&out, nil)).Info("x", "value", value)
	}
	hex := fmt.Sprintf("%x", "top-secret")
	if got := out.String(); strings.Contains(got, "top-secret") || strings.Contains(got, hex) || strings.Count(got, "the-id") < 40 {
		t.Errorf("printed:\n%s", got)
	}
}
