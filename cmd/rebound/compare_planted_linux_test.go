package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rebound-mqtt/rebound/harness"
	"github.com/rebound-mqtt/rebound/reports"
)

// slowed is a way to a broker whose first answer on each connection, the
// CONNACK, comes later by a delay.
func slowed(t *testing.T, broker string, by time.Duration) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		wg.Wait()
	})
	wg.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return // closed
			}
			wg.Go(func() { relay(client, broker, by) })
		}
	})
	return "tcp://" + l.Addr().String()
}

// relay joins a client and the broker until one of them ends.
func relay(client net.Conn, address string, by time.Duration) {
	defer client.Close() //nolint:errcheck // done with it
	broker, err := net.Dial("tcp", address)
	if err != nil {
		return
	}
	defer broker.Close() //nolint:errcheck // done with it
	ended := make(chan struct{}, 2)
	go func() {
		io.Copy(broker, client) //nolint:errcheck // until either side ends
		ended <- struct{}{}
	}()
	go func() {
		first := make([]byte, 4)
		if n, err := io.ReadFull(broker, first); err == nil {
			time.Sleep(by) // the planted delay
			if _, err := client.Write(first[:n]); err == nil {
				io.Copy(client, broker) //nolint:errcheck // until either side ends
			}
		}
		ended <- struct{}{}
	}()
	<-ended
	client.Close() //nolint:errcheck // ends the other half
	broker.Close() //nolint:errcheck // ends the other half
	<-ended
}

// planted is a broker in a process of its own with ways to it.
type planted struct {
	t                 *testing.T
	address, endpoint string
}

func plantedBroker(t *testing.T) planted {
	t.Helper()
	p, err := startProcess(t.TempDir(), os.Environ(), reboundPath(t), "broker")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.kill)
	said := func(re string) string {
		groups, err := p.await(&p.out, regexp.MustCompile(re))
		if err != nil {
			t.Fatal(err)
		}
		return groups[0]
	}
	return planted{t, said(`(?m)^mqtt +tcp://(\S+)`), said(`(?m)^endpoint +(http://\S+)`)}
}

// args are those of a run over one way.
func (p planted) args(way, out string, seed int) []string {
	return []string{"run", scenarioPath(p.t, "quick.yaml"), "--target", way, "--close-endpoint", p.endpoint, "--seed", fmt.Sprint(seed), "--out", out}
}

func (p planted) run(way string, seed int) string {
	p.t.Helper()
	out := filepath.Join(p.t.TempDir(), "run")
	if text, err := exec.Command(reboundPath(p.t), append(p.args(way, out, seed), "--quiet")...).CombinedOutput(); err != nil {
		p.t.Fatalf("%v\n%s", err, text)
	}
	return out
}

func compareRuns(t *testing.T, old, new []string) (reports.Comparison, string) {
	t.Helper()
	var sides [2][]*reports.Report
	for i, paths := range [][]string{old, new} {
		var err error
		if sides[i], err = readSide(paths); err != nil {
			t.Fatal(err)
		}
	}
	var out, errs bytes.Buffer
	c := reports.Compare(sides[0], sides[1], reports.CompareOptions{})
	if code := execute(slices.Concat([]string{"compare"}, old, []string{"--"}, new), &out, &errs); code != c.ExitCode {
		t.Errorf("exit %d, want %d\n%s", code, c.ExitCode, errs.String())
	}
	return c, out.String()
}

// A broker whose CONNACK comes 30 ms later is found by real runs, five against
// five by turns, and named in the phase and the part of the waterfall.
func TestPlantedSlowConnack(t *testing.T) {
	if testing.Short() {
		t.Skip("short: ten runs")
	}
	p := plantedBroker(t)
	fast, slow := slowed(t, p.address, 30*time.Millisecond), slowed(t, p.address, 60*time.Millisecond)
	const tries = 3
	for try := range tries {
		var old, new []string
		for i := range 5 {
			old, new = append(old, p.run(fast, i+1)), append(new, p.run(slow, i+1))
		}
		c, text := compareRuns(t, old, new)
		switch c.Verdict {
		case reports.Worse:
			if !regexp.MustCompile(`(?m)^where it got worse .*\n  storm waterfall\.connack\.p50 [^\n]*shift \+(2[5-9]|3[0-9])`).MatchString(text) {
				t.Errorf("the CONNACK of the storm is not what grew by 30 ms:\n%s", text)
			}
			if c.ExitCode != harness.ExitWorse {
				t.Errorf("exit %d", c.ExitCode)
			}
			return
		case reports.Saturated, reports.Inconclusive: // what a machine under load may make of it
			t.Logf("try %d of %d:\n%s", try+1, tries, text)
		default:
			t.Fatalf("30 ms slower is %s:\n%s", c.Verdict, text)
		}
	}
	t.Errorf("not found in %d tries", tries)
}

// A harness that is halted in the middle of the storm is called saturated, and
// the broker behind it never worse.
func TestPlantedStall(t *testing.T) {
	if testing.Short() {
		t.Skip("short: ten runs")
	}
	p := plantedBroker(t)
	way := slowed(t, p.address, 200*time.Millisecond)
	var old, new []string
	for i := range 5 {
		old, new = append(old, p.run(way, i+1)), append(new, p.halted(way, i+1))
	}
	c, text := compareRuns(t, old, new)
	if c.Verdict != reports.Saturated || c.ExitCode != harness.ExitUnknown {
		t.Errorf("a halted harness makes the broker %s:\n%s", c.Verdict, text)
	}
	if c.Gates[0].Shift == nil || *c.Gates[0].Shift < 0.2 {
		t.Errorf("the halt is not in the times, so nothing was tested:\n%s", text)
	}
}

// halted is a run whose process stands still while its clients come back.
func (p planted) halted(way string, seed int) string {
	p.t.Helper()
	out := filepath.Join(p.t.TempDir(), "run")
	run, err := startProcess(p.t.TempDir(), os.Environ(), reboundPath(p.t), p.args(way, out, seed)...)
	if err != nil {
		p.t.Fatal(err)
	}
	defer run.kill()
	if _, err := run.await(&run.err, regexp.MustCompile(`(?m)^ .* storm .*`)); err != nil {
		p.t.Fatal(err)
	}
	if err := run.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		p.t.Fatal(err)
	}
	time.Sleep(600 * time.Millisecond) // the planted halt
	if err := run.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		p.t.Fatal(err)
	}
	if _, err := run.wait(); err != nil {
		p.t.Fatal(err)
	}
	return out
}
