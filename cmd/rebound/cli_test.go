package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/rebound-mqtt/rebound/harness"
	"github.com/rebound-mqtt/rebound/scenarios"
)

// TestEachCommand walks the table of subcommands: each says what it is, at
// length and by example, and documents each flag.
func TestEachCommand(t *testing.T) {
	files, err := filepath.Glob("testdata/script/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	scripts := readAll(t, files)
	for _, c := range commands(streams{io.Discard, io.Discard}) {
		if c.Short == "" || c.Long == "" || c.Example == "" || c.RunE == nil || c.Args == nil {
			t.Errorf("%s: lacks one of Short, Long, Example, RunE, Args", c.Name())
		}
		if !strings.Contains(c.Example, "rebound "+c.Name()) {
			t.Errorf("%s: the example does not show it: %s", c.Name(), c.Example)
		}
		for _, line := range strings.Split(c.Long, "\n") {
			if len([]rune(line)) > 80 {
				t.Errorf("%s: a line of help is over 80 columns: %s", c.Name(), line)
			}
		}
		if !strings.Contains(scripts, "rebound "+c.Name()+" ") {
			t.Errorf("%s: no script runs it", c.Name())
		}
		var out bytes.Buffer
		if code := execute([]string{c.Name(), "--help"}, &out, io.Discard); code != 0 {
			t.Errorf("%s --help: exit %d", c.Name(), code)
		}
		c.Flags().VisitAll(func(f *pflag.Flag) {
			if f.Usage == "" || !strings.Contains(out.String(), "--"+f.Name+" ") {
				t.Errorf("%s --help does not explain --%s", c.Name(), f.Name)
			}
			if !strings.Contains(scripts, "--"+f.Name) {
				t.Errorf("%s: no script uses --%s", c.Name(), f.Name)
			}
		})
	}
}

// TestEachExitCode holds the help against the codes, and the scripts against
// both.
func TestEachExitCode(t *testing.T) {
	files, err := filepath.Glob("testdata/script/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	scripts := readAll(t, files)
	var documented []int
	for _, m := range regexp.MustCompile(`(?m)^  (\d+) +(.*)$`).FindAllStringSubmatch(long, -1) {
		code, _ := strconv.Atoi(m[1])
		documented = append(documented, code)
		tested := regexp.MustCompile(`(?m)^(\[\w+\] )?(exits|finish \w+) ` + m[1] + `\b`).MatchString(scripts)
		if later := strings.Contains(m[2], "not in this version"); tested == later {
			t.Errorf("exit code %d: documented as %q, shown by a script: %v", code, m[2], tested)
		}
	}
	want := []int{
		harness.ExitPass, harness.ExitFail, harness.ExitUsage, harness.ExitUnknown, harness.ExitUnreachable,
		harness.ExitWorse, harness.ExitPartial, harness.ExitFailedRun, harness.ExitInterrupted,
	}
	if !slices.Equal(documented, want) {
		t.Errorf("help documents the codes %v, there are %v", documented, want)
	}
}

func readAll(t *testing.T, files []string) string {
	t.Helper()
	var b strings.Builder
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		b.Write(text)
	}
	return b.String()
}

func TestGuard(t *testing.T) {
	var b bytes.Buffer
	code := guard(&b, func() int { panic("a bug") })
	if code != harness.ExitFailedRun || b.String() != "rebound: internal error, please report it: a bug\n" {
		t.Errorf("exit %d, says %q", code, b.String())
	}
	if code := guard(&b, func() int { return 3 }); code != 3 {
		t.Errorf("exit %d, want 3", code)
	}
}

func TestPrintError(t *testing.T) {
	many := errors.New("line" + strings.Repeat("\nline", 9))
	for _, c := range []struct {
		err  error
		want string
	}{
		{nil, ""},
		{exit{code: 3}, ""},
		{exit{5, errors.New("why")}, "rebound: why\n"},
		{usagef("x is %d", 3), "rebound: x is 3\n"},
		{fmt.Errorf("%w", scenarios.Errors{{Pos: scenarios.Pos{File: "a.yaml", Line: 1, Column: 2}, Msg: "no"}}), "a.yaml:1:2: no\n"},
		{many, "rebound: line\nline\nline\nline\n… and 6 lines like it\n"},
		{exit{7, leftIn{errors.New("why"), "note"}}, "rebound: why\nnote\n"},
		{leftIn{fmt.Errorf("%w: x", harness.ErrEvidence), "note"}, "rebound: evidence could not be written: x\nnote\nname a folder that can be written with --out\n"},
	} {
		var b bytes.Buffer
		printError(&b, c.err, true)
		if b.String() != c.want {
			t.Errorf("%#v prints\n%s\nwant\n%s", c.err, b.String(), c.want)
		}
	}
}

func TestHint(t *testing.T) {
	full := fmt.Errorf("write: %w", syscall.ENOSPC)
	unknown := fmt.Errorf("no endpoint: %w", &tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}})
	for _, c := range []struct {
		err  error
		out  bool
		want string
	}{
		{full, true, "--out$"}, {full, false, "^make room on that disk$"}, {unknown, false, "SSL_CERT_FILE=FILE"}, {errors.New("x"), true, "^$"},
	} {
		if got := hint(c.err, c.out); !regexp.MustCompile(c.want).MatchString(got) {
			t.Errorf("%v, --out %v: %q", c.err, c.out, got)
		}
	}
}

func TestExitCode(t *testing.T) {
	for _, c := range []struct {
		err  error
		want int
	}{
		{nil, 0}, {exitWith(0), 0}, {exitWith(3), 3}, {exit{130, errors.New("x")}, 130},
		{usagef("x"), 2}, {leftIn{errors.New("x"), ""}, 7}, {leftIn{usagef("x"), ""}, 2},
	} {
		if got := exitCode(c.err); got != c.want {
			t.Errorf("%#v: exit %d, want %d", c.err, got, c.want)
		}
	}
}

func TestProgress(t *testing.T) {
	status := func(phase string, victims, back int) harness.Status {
		return harness.Status{
			Phase: phase, Elapsed: 1500 * time.Millisecond, Clients: 1000, Connected: 990, Away: 10,
			Victims: victims, Back: back, KickRate: 250, LostQoS0: 3, LostQoS1: 1, Attempted: 7, Acked: 6, Delivered: 5,
			Canary: 1250 * time.Microsecond,
		}
	}
	const rest = " · 250 kicks/s · lost 3 QoS 0, 1 QoS 1 · sent 7 · acknowledged 6 · delivered 5 · canary 1.3ms"
	const storm = "   1.5s storm    connected 990/1000 · away 10 · back 50.0 %" + rest
	const drain = "   1.5s drain    connected 990/1000 · away 10" + rest

	var b bytes.Buffer
	p := newProgress(&b, false)
	p.status(status("storm", 4, 2))
	p.status(status("storm", 4, 4)) // held: the phase has had its line
	p.status(status("drain", 0, 0))
	p.finish()
	if want := storm + "\n" + strings.Replace(storm, "50.0", "100.0", 1) + "\n" + drain + "\n"; b.String() != want {
		t.Errorf("plain lines:\n%s\nwant\n%s", b.String(), want)
	}

	b.Reset()
	p.live, p.width = true, func() int { return 30 }
	p.status(status("storm", 4, 2))
	p.say("a word")
	p.finish()
	if want := "\r\x1b[K   1.5s storm    connected 9…\r\x1b[Ka word\n"; b.String() != want { // 29 of 30 columns
		t.Errorf("live line: %q\nwant %q", b.String(), want)
	}

	b.Reset()
	p = newProgress(&b, true)
	p.status(status("storm", 4, 2))
	p.say("a word")
	p.target(harness.TargetInfo{Addresses: []string{"tcp://127.0.0.1:1"}, Endpoint: "http://127.0.0.1:2"}, "dev-1")
	p.finish()
	if b.Len() != 0 {
		t.Errorf("quiet says %q", b.String())
	}
}

func TestCut(t *testing.T) {
	for _, c := range []struct {
		line    string
		columns int
		want    string
	}{
		{"a · b", 5, "a · b"}, {"a · b", 4, "a ·…"}, {"a · b", 1, "…"}, {"a · b", 0, "a · b"}, {"", 3, ""},
	} {
		if got := cut(c.line, c.columns); got != c.want {
			t.Errorf("cut(%q, %d) = %q, want %q", c.line, c.columns, got, c.want)
		}
	}
}
