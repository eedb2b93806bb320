package closeconn

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rebound-mqtt/rebound/harness/closeconn/acs"
)

func writeKeys(t *testing.T, text string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "keys.yaml")
	if err := errors.Join(os.WriteFile(path, []byte(text), mode), os.Chmod(path, mode)); err != nil {
		t.Fatal(err)
	}
	return path
}

// raw shows all of a key pair to cmp, secrets too.
func raw(k *KeyPair) map[string]any {
	return map[string]any{"id": k.KeyID, "secret": k.Secret, "token": k.SecurityToken, "disabled": k.Disabled,
		"actions": k.Actions, "instances": k.Instances, "prefixes": k.ClientPrefixes}
}

func TestLoadKeys(t *testing.T) {
	t.Setenv("REBOUND_TEST_SECRET", "from the environment")
	path := writeKeys(t, `
keys:
  - id: testid
    secret: testsecret
  - id: sts
    secret: 0123          # digits stay as they are written
    security_token: token
    disabled: true
    actions: ["mq:CloseConnection", "mq:*"]
    instances: [post-cn-test]
    client_prefixes: ["GID_test@@@"]
  - {id: env, secret_env: REBOUND_TEST_SECRET}
  - {id: file, secret_file: secret.txt}
`, 0o600)
	if err := os.WriteFile(filepath.Join(filepath.Dir(path), "secret.txt"), []byte("from a file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	keys, err := LoadKeys(path, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	want := []KeyPair{
		{Credentials: acs.Credentials{KeyID: "testid", Secret: "testsecret"}},
		{Credentials: acs.Credentials{KeyID: "sts", Secret: "0123", SecurityToken: "token"}, Disabled: true,
			Actions: []string{"mq:CloseConnection", "mq:*"}, Instances: []string{"post-cn-test"}, ClientPrefixes: []string{"GID_test@@@"}},
		{Credentials: acs.Credentials{KeyID: "env", Secret: "from the environment"}},
		{Credentials: acs.Credentials{KeyID: "file", Secret: "from a file"}},
	}
	for _, w := range want {
		got := keys.byID[w.KeyID]
		if got == nil {
			t.Errorf("%s is missing", w.KeyID)
			continue
		}
		if diff := cmp.Diff(raw(&w), raw(got)); diff != "" {
			t.Error(diff)
		}
	}
	if len(keys.byID) != len(want) || log.Len() > 0 {
		t.Errorf("%v; logged %s", keys, log.String())
	}
}

func TestReadableKeysAreWarnedOf(t *testing.T) {
	path := writeKeys(t, "keys: [{id: a, secret: top-secret}]", 0o644)
	var log bytes.Buffer
	if _, err := LoadKeys(path, slog.New(slog.NewTextHandler(&log, nil))); err != nil {
		t.Fatal(err)
	}
	if got := log.String(); !strings.Contains(got, "level=WARN") || !strings.Contains(got, path) || strings.Contains(got, "top-secret") {
		t.Errorf("logged %q", got)
	}
}

// Every mistake has its place, and no message has the secret.
func TestKeysFileMistakes(t *testing.T) {
	for text, want := range map[string]string{
		"":                   "keys.yaml:1:1: ",
		"keys: []":           "keys.yaml:1:7: want a list with at least one item",
		"keyz: []":           `keys.yaml:1:1: unknown key "keyz"`,
		"{}":                 "keys.yaml: there is no key",
		"[]":                 "keys.yaml:1:1: want key: value lines",
		"keys: [top-secret]": "keys.yaml:1:8: want key: value lines",
		"keys: [{id: a}]":    "keys.yaml:1:8: want exactly one of secret, secret_env and secret_file",
		"keys: [{id: a, secret: top-secret, secret_env: PATH}]":                       "keys.yaml:1:8: want exactly one of",
		"keys: [{secret: top-secret}]":                                                "keys.yaml:1:8: an id is not empty",
		"keys: [{id: 'a b', secret: top-secret}]":                                     "keys.yaml:1:8: an id is not empty and has no space",
		"keys: [{id: a, secret: [top-secret]}]":                                       "keys.yaml:1:24: want a text that is not empty",
		"keys: [{id: a, secret: }]":                                                   "keys.yaml:1:24: want a text",
		"keys: [{id: a, secret: ''}]":                                                 "keys.yaml:1:24: want a text",
		"keys: [{id: a, secret: *top-secret}]":                                        "keys.yaml:1:",
		"keys: [{id: a, secret: \"top-secret}]":                                       "keys.yaml:1:",
		"keys:\n  - id: a\n    secret: top-secret\n    secret: top-secret2":           "keys.yaml:4:5: secret is there twice",
		"keys:\n  - id: a\n    secret: top-secret\n    disabled: perhaps":             "keys.yaml:4:15: want true or false",
		"keys:\n  - id: a\n    secret: top-secret\n    actions: [mq:CloseEverything]": `keys.yaml:2:5: action "mq:CloseEverything" is none`,
		"keys:\n  - id: a\n    secret: top-secret\n    actions: [CloseConnection]":    `keys.yaml:2:5: action "CloseConnection" is none`,
		"keys:\n  - id: a\n    secret: top-secret\n    actions: all":                  "keys.yaml:4:14: want a list",
		"keys:\n  - id: a\n    secret: top-secret\n    instances: []":                 "keys.yaml:4:16: want a list",
		"keys: [{id: a, secret: top-secret}, {id: a, secret: top-secret2}]":           `keys.yaml: "a" is there twice`,
		"keys: [{id: a, secret: top-secret}]\n---\nkeys: []":                          "keys.yaml:",
		"keys: [{id: a, secret_env: REBOUND_TEST_NOT_SET}]":                           "keys.yaml:1:28: the environment has no REBOUND_TEST_NOT_SET",
		"keys: [{id: a, secret_file: not-there.txt}]":                                 "keys.yaml:1:29: open ",
		"keys:\n  - {id: a, secret: top-secret, x: 1}\n  - {id: b, y: 2}":             "keys.yaml:3:13: unknown key \"y\"", // not only the first
	} {
		path := writeKeys(t, text, 0o600)
		_, err := LoadKeys(path, nil)
		if !errors.Is(err, ErrKeys) {
			t.Errorf("%q: %v", text, err)
			continue
		}
		if got := strings.ReplaceAll(err.Error(), filepath.Dir(path)+"/", ""); !strings.Contains(got, want) || strings.Contains(got, "top-secret") {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
	if _, err := LoadKeys(filepath.Join(t.TempDir(), "none.yaml"), nil); !errors.Is(err, ErrKeys) || !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	if _, err := LoadKeys(writeKeys(t, strings.Repeat("#", maxKeysFile+1), 0o600), nil); !errors.Is(err, ErrKeys) {
		t.Error(err)
	}
}

func TestKeysFromEnv(t *testing.T) {
	env := map[string]string{}
	lookup := func(name string) (string, bool) { v, ok := env[name]; return v, ok }
	if keys, err := KeysFromEnv(lookup); keys != nil || err != nil {
		t.Errorf("nothing set: %v, %v", keys, err)
	}
	env[EnvKeyID] = "id"
	if _, err := KeysFromEnv(lookup); !errors.Is(err, ErrKeys) || !strings.Contains(err.Error(), EnvKeySecret) {
		t.Errorf("no secret: %v", err)
	}
	env[EnvKeySecret], env[EnvSecurityToken] = "top-secret", "token"
	keys, err := KeysFromEnv(lookup)
	if err != nil {
		t.Fatal(err)
	}
	want := KeyPair{Credentials: acs.Credentials{KeyID: "id", Secret: "top-secret", SecurityToken: "token"}}
	if diff := cmp.Diff(raw(&want), raw(keys.byID["id"])); diff != "" {
		t.Error(diff)
	}
}

func TestNewKeys(t *testing.T) {
	good := KeyPair{Credentials: testCredentials}
	for name, pairs := range map[string][]KeyPair{
		"none": nil, "twice": {good, good}, "no secret": {{Credentials: acs.Credentials{KeyID: "a"}}},
		"no id": {{Credentials: acs.Credentials{Secret: "a"}}}, "action": {{Credentials: testCredentials, Actions: []string{"*"}}},
	} {
		if _, err := NewKeys(pairs...); !errors.Is(err, ErrKeys) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Whatever prints keys, or what holds them, prints no secret.
func TestKeysAreNotPrinted(t *testing.T) {
	pair := KeyPair{Credentials: acs.Credentials{KeyID: "the-id", Secret: "top-secret", SecurityToken: "top-secret-token"}}
	keys := testKeys(t, pair)
	cfg := Config{Keys: keys}
	h := Handler(cfg).(*handler)
	var out bytes.Buffer
	for _, value := range []any{pair, &pair, keys, *keys, cfg, &cfg, h.gate, []KeyPair{pair}, []*Keys{keys}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
			fmt.Fprintf(&out, verb+"\n", value)
		}
		slog.New(slog.NewTextHandler(&out, nil)).Info("x", "value", value)
		slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "value", value)
	}
	if err := json.NewEncoder(&out).Encode([]any{pair, &pair, keys}); err != nil {
		t.Error(err)
	}
	for line := range strings.Lines(out.String()) {
		if strings.Contains(line, "top-secret") {
			t.Errorf("printed: %.300s", line)
		}
	}
	if !strings.Contains(out.String(), "access keys: 1") || !strings.Contains(out.String(), "the-id") {
		t.Error("nothing was printed")
	}
}

// A keys file that says only where the secrets are may be read by others, such
// as one in a repository; the file that it points to may not.
func TestReadableKeysWithoutSecrets(t *testing.T) {
	path := writeKeys(t, "keys: [{id: a, secret_file: s}, {id: b, secret_env: REBOUND_TEST_SECRET}]", 0o644)
	t.Setenv("REBOUND_TEST_SECRET", "top-secret")
	secret := filepath.Join(filepath.Dir(path), "s")
	for mode, warned := range map[os.FileMode]bool{0o600: false, 0o644: true} {
		if err := os.WriteFile(secret, []byte("top-secret"), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(secret, mode); err != nil {
			t.Fatal(err)
		}
		var log strings.Builder
		if _, err := LoadKeys(path, slog.New(slog.NewTextHandler(&log, nil))); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(log.String(), path) || strings.Contains(log.String(), secret) != warned {
			t.Errorf("mode %o: %s", mode, log.String())
		}
	}
}
