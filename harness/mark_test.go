package harness

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rebound-mqtt/rebound/harness/closeconn"
	"github.com/rebound-mqtt/rebound/reports"
)

// outside is a run without a fault of its own, to which things happen from
// outside.
const outside = `
name: outside
summary: Nothing is scripted.
clients: 20
fleets:
  - name: devices
    client_id: "dev-{run}-{index:06}"
    connect: {rate: 2000/s}
    subscribe: [{topic: "rb/{client}/cmd", qos: 1}]
traffic:
  - {from: control, to: devices, topic: "rb/{client}/cmd", qos: 1, each: 5/s}
phases:
  - {name: connect, until: {connected: 100%}, timeout: 20s}
  - {name: steady, for: 2500ms}
  - {name: drain, until: {quiet: 300ms}, timeout: 20s}
expect:
  - {metric: unscripted, at_most: 6, on_fail: abort}
`

// during runs outside and calls do in its phase steady, once, in a goroutine of
// its own; what do says is the test's.
func during(t *testing.T, dir string, do func(endpoint, firstClient string) error) *reports.Report {
	t.Helper()
	plan, err := NewPlan(scenario(t, outside), PlanOptions{Tables: DefaultTables()})
	if err != nil {
		t.Fatal(err)
	}
	var endpoint, client string
	var once sync.Once
	var wait sync.WaitGroup
	r, err := Run(t.Context(), plan, Options{
		Tables: DefaultTables(), Dir: dir, Version: "test",
		OnTarget: func(info TargetInfo, c string) { endpoint, client = info.Endpoint, c },
		OnStatus: func(s Status) {
			if s.Phase == "steady" && s.Connected == 20 {
				once.Do(func() {
					wait.Go(func() {
						if err := do(endpoint, client); err != nil {
							t.Error(err)
						}
					})
				})
			}
		},
	})
	wait.Wait()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// closeOutside closes clients 0 to n-1 as anyone may: by HTTP.
func closeOutside(ctx context.Context, endpoint, first string, n int) error {
	for i := range n {
		id := strings.TrimSuffix(first, "000000") + fmt.Sprintf("%06d", i)
		line := strings.ReplaceAll(closeconn.CurlLine(endpoint), "CLIENT_ID", url.QueryEscape(id))
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.Trim(strings.TrimPrefix(line, "curl "), "'"), nil)
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		if err := resp.Body.Close(); err != nil || resp.StatusCode != http.StatusOK {
			return fmt.Errorf("close %s: %s (%v)", id, resp.Status, err)
		}
	}
	http.DefaultClient.CloseIdleConnections()
	return nil
}

// TestMark: ends that nothing explains are charged to the mark before them, and
// are unscripted without one. So they abort the run only without one.
func TestMark(t *testing.T) {
	for _, marked := range []bool{true, false} {
		dir := filepath.Join(t.TempDir(), "run")
		var at Marked
		r := during(t, dir, func(endpoint, first string) (err error) {
			if marked {
				info, err := os.Stat(filepath.Join(dir, markSocket))
				if err != nil || info.Mode().Perm() != 0o600 {
					return fmt.Errorf("%v (%w)", info.Mode(), err)
				}
				if at, err = SendMark(t.Context(), dir, "rollout of 2.1", ""); err != nil {
					return err
				}
			}
			return closeOutside(t.Context(), endpoint, first, 7)
		})
		if !marked {
			if r.Unscripted.Ends != 7 || len(r.Extents) != 0 || r.Run.Aborted == "" {
				t.Errorf("without a mark: %+v, %+v, aborted %q", r.Unscripted, r.Extents, r.Run.Aborted)
			}
			continue
		}
		if r.Unscripted.Ends != 0 || len(r.Extents) != 1 || r.Run.Aborted != "" {
			t.Fatalf("%+v, %+v, aborted %q", r.Unscripted, r.Extents, r.Run.Aborted)
		}
		x := r.Extents[0]
		if x.Fault != "mark" || x.Detail != "rollout of 2.1" || x.Phase != "steady" || x.Ended != 7 || !x.OK || x.Seconds != nil || x.Start != at.At.Seconds() {
			t.Errorf("%+v, entered at %+v", x, at)
		}
		if len(r.Waves) != 1 || r.Waves[0].Back != 7 || r.Waves[0].Outage.N != 7 {
			t.Errorf("waves: %+v", r.Waves)
		}
		onlyInvalid(t, r)
		if _, err := os.Stat(filepath.Join(dir, markSocket)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the socket is left: %v", err)
		}
		if _, err := SendMark(t.Context(), dir, "late", ""); !errors.Is(err, ErrNoRun) || ExitCode(err) != ExitUnreachable {
			t.Errorf("after the run: exit %d, %v", ExitCode(err), err)
		}
		var terminal strings.Builder
		if err := reports.Terminal(&terminal, r, reports.TerminalOptions{}); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(terminal.String(), "rollout of 2.1 · 7 ends charged to it") {
			t.Errorf("the terminal does not tell:\n%s", &terminal)
		}
	}
}

// TestMarkEdges: a mark may have a begin and an end, and what can not be a mark
// is refused with its reason; a folder whose path is too long for a socket has a
// file that names it.
func TestMarkEdges(t *testing.T) {
	dir := filepath.Join(t.TempDir(), strings.Repeat("long-", 30))
	var socket string
	r := during(t, dir, func(string, string) error {
		named, err := os.ReadFile(filepath.Join(dir, markPath))
		if err != nil {
			return err
		}
		socket = strings.TrimSpace(string(named))
		if info, err := os.Stat(filepath.Dir(socket)); err != nil || info.Mode().Perm() != 0o700 {
			return fmt.Errorf("%v (%w)", info.Mode(), err)
		}
		if _, err := SendMark(t.Context(), dir, "drained", MarkBegin); err != nil {
			return err
		}
		for _, c := range []struct {
			text, edge, says string
			code             int
		}{
			{"drained", MarkBegin, "was begun already", ExitFail},
			{"other", MarkEnd, "no mark \"other\" was begun", ExitFail},
			{"x", "middle", "want begin or end", ExitFail},
			{" ", "", "has no text", ExitUsage},
			{"two\nlines", "", "one line", ExitUsage},
			{strings.Repeat("ä", MaxMark+1), "", "201 characters", ExitUsage},
		} {
			_, err := SendMark(t.Context(), dir, c.text, c.edge)
			if err == nil || !strings.Contains(err.Error(), c.says) || ExitCode(err) != c.code {
				return fmt.Errorf("%q %s: exit %d: %w, want %s", c.text, c.edge, ExitCode(err), err, c.says)
			}
		}
		if _, err := SendMark(t.Context(), dir, strings.Repeat("ä", MaxMark), ""); err != nil {
			return err
		}
		_, err = SendMark(t.Context(), dir, "drained", MarkEnd)
		return err
	})
	if len(r.Extents) != 2 || r.Extents[0].Detail != "drained" || r.Extents[0].Seconds == nil || r.Extents[1].Seconds != nil {
		t.Errorf("%+v", r.Extents)
	}
	for _, path := range []string{socket, filepath.Dir(socket), filepath.Join(dir, markPath)} {
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is left: %v", path, err)
		}
	}
}

// TestMarkDeaf: a client that says nothing does not hold up the end of the run.
func TestMarkDeaf(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	start := time.Now()
	during(t, dir, func(string, string) error {
		c, err := dialMarks(t.Context(), dir)
		if err == nil {
			t.Cleanup(func() { _ = c.Close() })
		}
		return err
	})
	if took := time.Since(start); took > 30*time.Second {
		t.Errorf("the run took %v", took)
	}
}

// TestMarkSocketIsBornClosed: at no instant may anybody else open the socket,
// whatever the umask leaves.
func TestMarkSocketIsBornClosed(t *testing.T) {
	before := syscall.Umask(0)
	defer syscall.Umask(before)
	dir := t.TempDir()
	path, quit, open := filepath.Join(dir, markSocket), make(chan struct{}), make(chan os.FileMode, 1)
	go func() {
		defer close(open)
		for {
			if info, err := os.Stat(path); err == nil && info.Mode().Perm() != 0o600 {
				open <- info.Mode()
				return
			}
			select {
			case <-quit:
				return
			default:
			}
		}
	}()
	for range 200 {
		m := marks{quit: make(chan struct{})}
		if err := m.bind(path); err != nil {
			t.Fatal(err)
		}
		if err := m.close(); err != nil {
			t.Fatal(err)
		}
	}
	close(quit)
	if mode, was := <-open; was {
		t.Errorf("the socket was there as %v", mode)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}
