package compat

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// served is a `rebound broker` that runs, in the words of its output.
type served struct {
	mqtt     string // tcp://HOST:PORT
	endpoint string // HOST:PORT, as the vendor's clients want it
}

// startBroker runs `rebound broker` until the test ends. Then it must end
// cleanly, and must not have said a secret.
func startBroker(t *testing.T, flags ...string) served {
	t.Helper()
	cmd := exec.Command(binary, append([]string{"broker", "--port", "0", "--endpoint", "127.0.0.1:0", "--verbose"}, flags...)...)
	var said record
	cmd.Stderr = &said
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := make(chan string)
	go func() {
		defer close(lines)
		for scanner := bufio.NewScanner(io.TeeReader(out, &said)); scanner.Scan(); {
			lines <- scanner.Text()
		}
	}()
	t.Cleanup(func() {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
		hung := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
		defer hung.Stop()
		for range lines { // to the end of its output, before Wait closes the pipe
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("rebound broker: %v\n%s", err, said.text())
		}
		for _, k := range everyKey {
			if strings.Contains(said.text(), k.Secret) || k.Token != "" && strings.Contains(said.text(), k.Token) {
				t.Errorf("rebound broker said the secret of %s:\n%s", k.ID, said.text())
			}
		}
	})
	said1 := map[string]string{}
	deadline := time.After(patience)
	for said1["health"] == "" {
		select {
		case line, more := <-lines:
			if !more {
				t.Fatalf("rebound broker ended:\n%s", said.text())
			}
			word, value, _ := strings.Cut(line, " ")
			said1[word] = strings.TrimSpace(value)
		case <-deadline:
			t.Fatalf("rebound broker did not say that it serves:\n%s", said.text())
		}
	}
	mqtt, _, _ := strings.Cut(said1["mqtt"], " ")
	s := served{mqtt: mqtt, endpoint: strings.TrimPrefix(said1["endpoint"], "http://")}
	if !strings.HasPrefix(s.mqtt, "tcp://127.") || !strings.HasPrefix(s.endpoint, "127.") {
		t.Fatalf("rebound broker said\n%s", said.text())
	}
	healthy(t, said1["health"])
	// From here on its lines go to the record alone.
	go func() {
		for range lines {
		}
	}()
	return s
}

// healthy asks whether the endpoint is up, as a user's own CI does.
func healthy(t *testing.T, url string) {
	t.Helper()
	client := &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close() //nolint:errcheck // read only
	if body, err := io.ReadAll(resp.Body); resp.StatusCode != http.StatusOK || err != nil {
		t.Fatalf("%s: %d %s, %v", url, resp.StatusCode, body, err)
	}
}

// record keeps what a process says.
type record struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (r *record) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.buf.Write(p)
}

func (r *record) text() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.buf.String()
}

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
