package compat

import (
	"bufio"
	"encoding/json"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
)

// nodeClients are the vendor's clients on Node, all spoken for by one process
// that ends with the test. Without Node they have nothing to call.
func nodeClients(t *testing.T) []vendorClient {
	t.Helper()
	codeError := func(code string) string { return code + "Error" }
	// Its ResponseError is compiled for an age of JavaScript in which a subclass
	// of Error loses its name; callers go by its fields.
	responseError := func(string) string { return "Error" }
	n := startNode(t)
	return []vendorClient{
		{name: "pop-core GET", method: "GET", errorType: codeError, do: n.client("pop-core", "GET"), shows: true},
		{name: "pop-core POST", method: "POST", errorType: codeError, do: n.client("pop-core", "POST")},
		{name: "openapi-client ACS3", method: "POST", acs3: true, errorType: responseError, do: n.client("openapi-client", "POST")},
		{name: "openapi-client ACS3 GET", method: "GET", acs3: true, errorType: responseError, do: n.client("openapi-client", "GET")},
	}
}

// node is the process. Its calls come one after the other.
type node struct {
	in  io.Writer
	out *bufio.Reader
}

// startNode returns nil where Node or its packages are not installed.
func startNode(t *testing.T) *node {
	t.Helper()
	program, err := exec.LookPath("node")
	if err != nil {
		return nil
	}
	if _, err := os.Stat(filepath.Join("node", "node_modules")); err != nil {
		return nil
	}
	cmd := exec.Command(program, filepath.Join("node", "call.js"))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := in.Close(); err != nil {
			t.Error(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("node: %v", err)
		}
	})
	return &node{in: in, out: bufio.NewReader(out)}
}

// client calls by one of the packages; nil where there is no Node.
func (n *node) client(module, method string) func(t *testing.T, c call) answer {
	if n == nil {
		return nil
	}
	return func(t *testing.T, c call) answer {
		t.Helper()
		line, err := json.Marshal(struct {
			call
			Client string `json:"client"`
			Method string `json:"method"`
		}{c, module, method})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := n.in.Write(append(line, '\n')); err != nil {
			t.Fatal(err)
		}
		line, err = n.out.ReadBytes('\n')
		if err != nil {
			t.Fatal(err)
		}
		var a answer
		if err := json.Unmarshal(line, &a); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		if a.Failure != nil {
			if a.Failure.Status == 0 {
				t.Fatalf("an error that is none of the API: %s", line)
			}
			a.Failure.Signature = signatureInURL(a.Failure.Message)
		}
		return a
	}
}

var urlOfError = regexp.MustCompile(`, URL: (\S+)$`)

// signatureInURL finds the signature in the URL that pop-core tells with an error.
func signatureInURL(message string) string {
	m := urlOfError.FindStringSubmatch(message)
	if m == nil {
		return ""
	}
	u, err := url.Parse(m[1])
	if err != nil {
		return ""
	}
	return u.Query().Get("Signature")
}
