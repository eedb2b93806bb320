package compat

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// key is an access key as its holder has it.
type key struct {
	ID     string `json:"id"`
	Secret string `json:"secret"`
	Token  string `json:"token,omitempty"` // of temporary (STS) credentials
}

// The keys of the tests. The limited one may use one instance and the clients
// of one group; the closer may close connections and nothing else.
var (
	limited   = key{ID: "LTAI-limited", Secret: "secret-of-limited"}
	closer    = key{ID: "LTAI-closer", Secret: "secret-of-closer"}
	disabled  = key{ID: "LTAI-disabled", Secret: "secret-of-disabled"}
	temporary = key{ID: "STS.temporary", Secret: "secret-of-temporary", Token: "token-of-temporary/+=="}
	unknown   = key{ID: "LTAI-unknown", Secret: "secret-of-unknown"}
	wrong     = key{ID: limited.ID, Secret: "not-the-secret"}

	everyKey = []key{limited, closer, disabled, temporary, unknown, wrong}
)

const (
	instance      = "post-cn-test"  // the one that limited may use
	otherInstance = "post-cn-other" // exists too
	group         = "GID_test@@@"   // of the clients that limited may name
)

// keyFlags writes the keys to a file and gives the flags that read it.
func keyFlags(t *testing.T) []string {
	t.Helper()
	file := writeFile(t, "keys.yaml", fmt.Sprintf(`keys:
  - {id: %q, secret: %q, instances: [%s], client_prefixes: ["%s"]}
  - {id: %q, secret: %q, actions: ["mq:CloseConnection"]}
  - {id: %q, secret: %q, disabled: true}
  - {id: %q, secret: %q, security_token: %q}
`, limited.ID, limited.Secret, instance, group, closer.ID, closer.Secret, disabled.ID, disabled.Secret,
		temporary.ID, temporary.Secret, temporary.Token))
	return []string{"--keys", file, "--instances", instance + "," + otherInstance}
}

func writeFile(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
