package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rebound-mqtt/rebound/harness"
	"github.com/rebound-mqtt/rebound/reports"
)

// TestKilled kills a run in the middle of its storm with SIGKILL: what it had
// flushed reads as incomplete, and its broker's process ends with it.
func TestKilled(t *testing.T) {
	for target, brokers := range map[string]int{"embedded": 0, "child": 1} {
		t.Run(target, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "run")
			p, err := startProcess(t.TempDir(), os.Environ(), reboundPath(t), "run", scenarioPath(t, "slow.yaml"), "--target", target, "--out", dir)
			if err != nil {
				t.Fatal(err)
			}
			defer p.kill()
			if _, err := p.await(&p.err, regexp.MustCompile(`(?m)^ .* storm .*`)); err != nil {
				t.Fatal(err)
			}
			children := childrenOf(t, p.cmd.Process.Pid)
			if len(children) != brokers {
				t.Errorf("%d child processes, want %d", len(children), brokers)
			}
			p.kill()
			for _, c := range children {
				c.awaitEnd(t)
			}

			again := exec.Command(reboundPath(t), "report", dir)
			out, _ := again.CombinedOutput()
			if code := again.ProcessState.ExitCode(); code != harness.ExitUnknown {
				t.Errorf("rebound report: exit %d, want %d", code, harness.ExitUnknown)
			}
			if text := string(out); !strings.Contains(text, "\nincomplete ") || !strings.Contains(text, "\nUNKNOWN ") || strings.Contains(text, "goroutine ") {
				t.Errorf("rebound report says:\n%s", text)
			}
			r, err := reports.ReadPath(dir)
			if err != nil {
				t.Fatal(err)
			}
			if r.Run.Complete || r.ExitCode != harness.ExitUnknown || r.Connect.Connected != 20 {
				t.Errorf("complete %v, exit code %d, %d of 20 connected", r.Run.Complete, r.ExitCode, r.Connect.Connected)
			}
		})
	}
}

// TestKilledWhileFrozen kills a run whose broker stands still, and whose program
// (exec) runs on: neither could hear of it, and both end with it.
func TestKilledWhileFrozen(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "frozen.yaml")
	text := `
name: frozen
clients: 5
fleets:
  - {name: devices, subscribe: [{topic: "rb/{client}/cmd", qos: 1}]}
phases:
  - {name: connect, until: {connected: 100%}, timeout: 30s}
  - name: storm
    faults: [{exec: {inject: [sleep, "600"], timeout: 600s}}, {broker-freeze: {}}]
    for: 600s
  - {name: drain, until: {quiet: 1s}, timeout: 30s}
`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := startProcess(dir, os.Environ(), reboundPath(t), "run", file, "--target", "child", "--allow-exec", "--out", filepath.Join(dir, "run"))
	if err != nil {
		t.Fatal(err)
	}
	defer p.kill()
	if _, err := p.await(&p.err, regexp.MustCompile(`(?m)^ .* storm .*`)); err != nil {
		t.Fatal(err)
	}
	var children []handle
	frozen := func() bool {
		return slices.ContainsFunc(children, func(h handle) bool {
			stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", h.pid))
			return err == nil && strings.Contains(string(stat), ") T ")
		})
	}
	for deadline := time.Now().Add(30 * time.Second); len(children) != 2 || !frozen(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d children, frozen %v", len(children), frozen())
		}
		children = childrenOf(t, p.cmd.Process.Pid)
	}
	p.kill()
	for _, c := range children {
		c.awaitEnd(t)
	}
}

// handle is a process of somebody else's, held by a file descriptor, so that a
// reused process id can not be taken for it.
type handle struct{ pid, fd int }

// childrenOf holds the child processes of a process.
func childrenOf(t *testing.T, pid int) []handle {
	t.Helper()
	files, err := filepath.Glob("/proc/" + strconv.Itoa(pid) + "/task/*/children")
	if err != nil || len(files) == 0 {
		t.Skipf("SKIPPED: this kernel does not list the children of a process: %v", err)
	}
	var out []handle
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			continue // the thread has ended
		}
		for _, field := range strings.Fields(string(text)) {
			child, err := strconv.Atoi(field)
			if err != nil {
				t.Fatal(err)
			}
			fd, err := unix.PidfdOpen(child, 0)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { unix.Close(fd) }) //nolint:errcheck // read only
			out = append(out, handle{child, fd})
		}
	}
	return out
}

// awaitEnd waits until the process has ended.
func (h handle) awaitEnd(t *testing.T) {
	t.Helper()
	fds := []unix.PollFd{{Fd: int32(h.fd), Events: unix.POLLIN}}
	for {
		n, err := unix.Poll(fds, int(patience.Milliseconds()))
		if err == unix.EINTR {
			continue
		}
		if err != nil || n == 0 {
			t.Errorf("process %d lives on: %v", h.pid, err)
		}
		return
	}
}
