package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v4"
)

const brokerPage = "../../docs/broker.md"

// TestBrokerPageFlags: the page's table is what --help says. -update writes it.
func TestBrokerPageFlags(t *testing.T) {
	table := []string{"| flag | what |", "|---|---|"}
	c := brokerCommand(streams{io.Discard, io.Discard})
	c.Flags().VisitAll(func(f *pflag.Flag) {
		arg, usage := pflag.UnquoteUsage(f)
		if slices.Contains([]string{"", "false", "0", "[]"}, f.DefValue) || strings.Contains(usage, "(default") {
			usage = strings.ReplaceAll(usage, "|", "\\|")
		} else {
			usage = fmt.Sprintf("%s (default `%s`)", usage, f.DefValue)
		}
		table = append(table, fmt.Sprintf("| `%s` | %s |", strings.ReplaceAll(strings.TrimSpace("--"+f.Name+" "+arg), "|", "\\|"), usage))
	})
	want := strings.Join(table, "\n") + "\n"
	raw, err := os.ReadFile(brokerPage)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, found := strings.Cut(string(raw), "<!-- flags -->\n")
	got, tail, ends := strings.Cut(rest, "<!-- end of flags -->")
	if !found || !ends {
		t.Fatal("the page has no place for the flags")
	}
	if *update && got != want {
		if err := os.WriteFile(brokerPage, []byte(head+"<!-- flags -->\n"+want+"<!-- end of flags -->"+tail), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("docs/broker.md is not what --help says: go test ./cmd/rebound -run BrokerPageFlags -update\n%s", diff)
	}
}

// TestBrokerPageRuns runs the page from top to bottom in one folder: its files
// are written, its scripts run, and the steps of its workflow. Only ports are
// exchanged for free ones.
func TestBrokerPageRuns(t *testing.T) {
	for _, program := range []string{"bash", "curl", "openssl"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("SKIPPED: the page needs %s: %v", program, err)
		}
	}
	raw, err := os.ReadFile(brokerPage)
	if err != nil {
		t.Fatal(err)
	}
	text := string(raw)
	for _, port := range []string{"1883", "8883", "8083", "8084", "8080"} {
		text = strings.ReplaceAll(text, port, freePort(t))
	}
	dir := t.TempDir()
	ran := 0
	for _, block := range regexp.MustCompile("(?ms)^```(\\w+)\n(.*?)^```$").FindAllStringSubmatch(text, -1) {
		name, isFile := strings.CutPrefix(firstLine(block[2]), "# ")
		switch {
		case block[1] == "text":
		case isFile:
			file := filepath.Join(dir, name)
			if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, []byte(block[2]), 0o644); err != nil {
				t.Fatal(err)
			}
			if strings.HasPrefix(name, ".github/") {
				for _, step := range steps(t, file) {
					runScript(t, dir, step)
					ran++
				}
				awaitEnd(t, filepath.Join(dir, "broker.pid"))
			}
		case block[1] == "bash":
			runScript(t, dir, block[2])
			ran++
		default:
			t.Errorf("a block in %s that nothing is done with:\n%s", block[1], block[2])
		}
	}
	if ran < 8 {
		t.Errorf("%d scripts ran: has the page lost some?", ran)
	}
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

// steps gives what a workflow runs, but for the installation of what is tested.
func steps(t *testing.T, file string) []string {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var workflow struct {
		Jobs map[string]struct {
			Steps []struct{ Run string }
		}
	}
	if err := yaml.Unmarshal(raw, &workflow); err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, job := range workflow.Jobs {
		for _, step := range job.Steps {
			if step.Run != "" && !strings.HasPrefix(step.Run, "go install ") {
				out = append(out, step.Run)
			}
		}
	}
	if len(out) == 0 {
		t.Fatal("the workflow has no steps")
	}
	return out
}

// runScript runs a script as a workflow's step is: by bash, which ends at the
// first error.
func runScript(t *testing.T, dir, script string) {
	t.Helper()
	out, err := os.CreateTemp(t.TempDir(), "out") // no pipe: a broker in the background would hold it
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close() //nolint:errcheck // read below
	cmd := exec.Command("bash", "-e", "-c", script)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, out, out
	cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	group := cmd.Process.Pid
	t.Cleanup(func() { syscall.Kill(-group, syscall.SIGKILL) }) //nolint:errcheck // what an error left behind
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case err = <-ended:
	case <-time.After(patience):
		err = fmt.Errorf("not ended in %v", patience)
	}
	if err != nil {
		text, _ := os.ReadFile(out.Name())
		log, _ := os.ReadFile(filepath.Join(dir, "broker.log"))
		t.Fatalf("%v\n%s\nsaid:\n%s\nbroker.log:\n%s", err, script, text, log)
	}
}

// awaitEnd waits for the end of the process of a pid file.
func awaitEnd(t *testing.T, file string) {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(raw)))
	if err != nil {
		t.Fatal(err)
	}
	for begin := time.Now(); syscall.Kill(pid, 0) == nil && !zombie(pid); time.Sleep(5 * time.Millisecond) {
		if time.Since(begin) > patience {
			t.Fatalf("process %d did not end", pid)
		}
	}
}

// zombie reports whether a process has ended and is not yet reaped by whoever
// took it over.
func zombie(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && strings.Contains(string(stat), ") Z ")
}

// freePort is a port that was free a moment ago.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() //nolint:errcheck // nothing is on it
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
}
