package compat

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"os/exec"
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
	ca       string // PEM of who signed the endpoint's certificate; "" = plain HTTP
}

// startBroker runs `rebound broker` until the test ends. Then it must end
// cleanly, and must not have said a secret.
func startBroker(t *testing.T, flags ...string) served { return startTLSBroker(t, "", flags...) }

// startTLSBroker is startBroker with an endpoint by HTTPS, whose certificate
// this one signed; "" = plain HTTP.
func startTLSBroker(t *testing.T, ca string, flags ...string) served {
	t.Helper()
	cmd := exec.Command(binary, append([]string{"broker", "--port", "0", "--endpoint", "127.0.0.1:0", "--verbose"}, flags...)...)
	said := &record{}
	cmd.Stderr = said
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ready, ended := make(chan map[string]string, 1), make(chan struct{})
	go func() {
		defer close(ended)
		readLines(io.TeeReader(out, said), ready)
	}()
	t.Cleanup(func() { stopBroker(t, cmd, ended, said) })
	select {
	case words := <-ready:
		mqtt, _, _ := strings.Cut(words["mqtt"], " ")
		_, endpoint, _ := strings.Cut(words["endpoint"], "://")
		healthy(t, words["health"], ca)
		return served{mqtt: mqtt, endpoint: endpoint, ca: ca}
	case <-ended:
		t.Fatalf("rebound broker ended:\n%s", said.text())
	case <-time.After(patience):
		t.Fatalf("rebound broker did not say that it serves:\n%s", said.text())
	}
	panic("not reached")
}

// readLines reads lines of a word and its value, to the end, and gives those
// up to health as soon as it has them.
func readLines(from io.Reader, ready chan<- map[string]string) {
	words := map[string]string{}
	for scanner := bufio.NewScanner(from); scanner.Scan(); {
		word, value, _ := strings.Cut(scanner.Text(), " ")
		words[word] = strings.TrimSpace(value)
		if word == "health" {
			ready <- words
			words = map[string]string{}
		}
	}
}

// stopBroker ends the broker as a supervisor does.
func stopBroker(t *testing.T, cmd *exec.Cmd, ended <-chan struct{}, said *record) {
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	hung := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	defer hung.Stop()
	<-ended // its output is whole, before Wait closes the pipe
	if err := cmd.Wait(); err != nil {
		t.Errorf("rebound broker: %v\n%s", err, said.text())
	}
	for _, k := range everyKey {
		if strings.Contains(said.text(), k.Secret) || k.Token != "" && strings.Contains(said.text(), k.Token) {
			t.Errorf("rebound broker said a secret of %s:\n%s", k.ID, said.text())
		}
	}
}

// healthy asks whether the endpoint is up, as a user's own CI does.
func healthy(t *testing.T, url, ca string) {
	t.Helper()
	request, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := newWire(call{CA: ca}).RoundTrip(request)
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
