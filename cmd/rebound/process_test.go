package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// patience bounds each wait of a script; no script is judged by it.
const patience = 60 * time.Second

// process is a command in the background whose output can be waited for.
type process struct {
	cmd      *exec.Cmd
	out, err capture
	done     chan struct{} // closed when it has ended
}

// startProcess starts a command; ended by kill or by itself.
func startProcess(dir string, env []string, name string, args ...string) (*process, error) {
	p := &process{cmd: exec.Command(name, args...), done: make(chan struct{})}
	p.out.changed, p.err.changed = make(chan struct{}), make(chan struct{})
	p.cmd.Dir, p.cmd.Env = dir, env
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.err
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(p.done)
		p.cmd.Wait() //nolint:errcheck // the exit code is in ProcessState
	}()
	return p, nil
}

// await waits until a stream matches and gives the groups.
func (p *process) await(c *capture, re *regexp.Regexp) ([]string, error) {
	bound := time.NewTimer(patience)
	defer bound.Stop()
	for {
		ended := false
		select {
		case <-p.done: // looked at before the text, so that the text is whole
			ended = true
		default:
		}
		text, changed := c.text()
		if m := re.FindStringSubmatch(text); m != nil {
			return m[1:], nil
		}
		if ended {
			return nil, fmt.Errorf("the process ended (%v) and never said %q", p.cmd.ProcessState, re)
		}
		select {
		case <-changed:
		case <-p.done:
		case <-bound.C:
			return nil, fmt.Errorf("it did not say %q in %v", re, patience)
		}
	}
}

// wait waits for the end and gives the exit code.
func (p *process) wait() (int, error) {
	bound := time.NewTimer(patience)
	defer bound.Stop()
	select {
	case <-p.done:
		return p.cmd.ProcessState.ExitCode(), nil
	case <-bound.C:
		return 0, fmt.Errorf("it did not end in %v", patience)
	}
}

// kill ends the process, if it has not ended, and waits for it.
func (p *process) kill() {
	p.cmd.Process.Kill() //nolint:errcheck // it may have ended
	<-p.done
}

// capture collects a stream and tells when it grows.
type capture struct {
	mu      sync.Mutex
	buf     bytes.Buffer
	changed chan struct{} // closed at the next write
}

func (c *capture) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	close(c.changed)
	c.changed = make(chan struct{})
	return c.buf.Write(b)
}

func (c *capture) text() (string, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.buf.String(), c.changed
}

// processes are those of one script.
type processes struct {
	dir    string
	env    []string
	byName map[string]*process
}

type processesKey struct{}

func (p *processes) killAll() {
	for _, one := range p.byName {
		one.kill()
	}
}

// named gives a started process and checks the number of arguments.
func named(ts *testscript.TestScript, neg bool, args []string, least int, usage string) *process {
	if neg || len(args) < least {
		ts.Fatalf("usage: %s", usage)
	}
	p := ts.Value(processesKey{}).(*processes).byName[args[0]]
	if p == nil {
		ts.Fatalf("%s was not started", args[0])
	}
	return p
}

func start(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: start NAME CMD ARG…")
	}
	all := ts.Value(processesKey{}).(*processes)
	p, err := startProcess(all.dir, all.env, args[1], args[2:]...)
	ts.Check(err)
	all.byName[args[0]] = p
}

func await(ts *testscript.TestScript, neg bool, args []string) {
	p := named(ts, neg, args, 3, "await NAME stdout|stderr REGEXP VAR…")
	c := &p.out
	if args[1] == "stderr" {
		c = &p.err
	}
	re, err := regexp.Compile("(?m)" + args[2])
	ts.Check(err)
	groups, err := p.await(c, re)
	if err != nil {
		out, _ := p.out.text()
		errs, _ := p.err.text()
		ts.Fatalf("%s: %v\nstdout:\n%s\nstderr:\n%s", args[0], err, out, errs)
	}
	for i, v := range args[3:] {
		ts.Setenv(v, groups[i])
	}
}

func signalTo(ts *testscript.TestScript, neg bool, args []string) {
	p := named(ts, neg, args, 2, "signal NAME INT|TERM")
	s, found := map[string]syscall.Signal{"INT": syscall.SIGINT, "TERM": syscall.SIGTERM}[args[1]]
	if !found {
		ts.Fatalf("unknown signal %s", args[1])
	}
	ts.Check(p.cmd.Process.Signal(s))
}

func finish(ts *testscript.TestScript, neg bool, args []string) {
	p := named(ts, neg, args, 2, "finish NAME CODE")
	want, err := strconv.Atoi(args[1])
	ts.Check(err)
	got, err := p.wait()
	ts.Check(err)
	out, _ := p.out.text()
	errs, _ := p.err.text()
	fmt.Fprint(ts.Stdout(), out)
	fmt.Fprint(ts.Stderr(), errs)
	if got != want {
		ts.Fatalf("%s: exit code %d, want %d\nstdout:\n%s\nstderr:\n%s", args[0], got, want, out, errs)
	}
}

func get(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: get URL")
	}
	client := http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get(args[0])
	ts.Check(err)
	defer resp.Body.Close() //nolint:errcheck // read only
	body, err := io.ReadAll(resp.Body)
	ts.Check(err)
	fmt.Fprintf(ts.Stdout(), "%s\n%s\n", resp.Status, body)
}

// fakeHTTP is a command: a listener that is no MQTT broker, but a web server.
func fakeHTTP() {
	serve(func(c net.Conn) {
		c.Read(make([]byte, 1024)) //nolint:errcheck // whatever it was
		io.WriteString(c, "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
	})
}

// mute is a command: a listener that takes connections and never answers.
func mute() {
	serve(func(c net.Conn) {
		io.Copy(io.Discard, c) //nolint:errcheck // until the other side has enough
	})
}

// serve listens until the process is killed and prints where.
func serve(handle func(net.Conn)) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Printf("listens on tcp://%s port %d\n", l.Addr(), l.Addr().(*net.TCPAddr).Port)
	for {
		c, err := l.Accept()
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		go func() {
			defer c.Close() //nolint:errcheck // done with it
			handle(c)
		}()
	}
}
