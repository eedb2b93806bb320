package reports

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestAnnotationsWorstFirst(t *testing.T) {
	got := strings.Join(Annotations(fail(t)), "\n") + "\n"
	want := `::error title=rebound kick-all check unscripted::invalid: 1,000 ends of 1,000 clients that no fault explains
::error title=rebound kick-all check lost::invalid: 3 acknowledged QoS 1 messages were never delivered
::error title=rebound kick-all expectation::expected outage.p99 fleet=devices phase=storm wave=each below 5s, measured > 60 s
::error title=rebound kick-all expectation::expected censored equals 0, measured 10
::error title=rebound kick-all expectation::expected lost.qos1 equals 0, measured 3
::error title=rebound kick-all check balance::unknown: QoS 1: 12 slots stand in no set
`
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
	if got := Annotations(pass(t), ramp(t)); got != nil {
		t.Errorf("runs that passed: %q", got)
	}
}

func TestAnnotationsOfHowARunEnded(t *testing.T) {
	edit := func(f func(*Report)) *Report { r := pass(t); f(r); return r }
	for _, tt := range []struct {
		r    *Report
		want string
	}{
		{edit(func(r *Report) { r.Run.Interrupted, r.ExitCode = true, 130 }), "INTERRUPTED, exit code 130"},
		{edit(func(r *Report) { r.Run.Complete = false }), "UNKNOWN: the evidence ends without its closing mark"},
		{edit(func(r *Report) { r.Run.Aborted, r.ExitCode = "connect timed out", 3 }), "UNKNOWN, aborted: connect timed out"},
		{edit(func(r *Report) { r.ExitCode = 7 }), "ERROR, exit code 7"},
		{edit(func(r *Report) { r.ExitCode = 3 }), "UNKNOWN, exit code 3"},
	} {
		if got := Annotations(tt.r); len(got) != 1 || got[0] != "::error title=rebound kick-all::"+tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
}

func TestAnnotationsAreFewAndStayOnTheirLine(t *testing.T) {
	r := pass(t)
	r.Verdict, r.ExitCode = Invalid, ExitFail
	for i := range 30 {
		r.Checks = append(r.Checks, Check{Name: fmt.Sprintf("n%d", i), Verdict: Invalid, Count: int64(i), Detail: "100 % of a,b:c\r\n::warning::d\x1b[31m" + strings.Repeat("x", 4000)})
	}
	got := Annotations(r, r)
	if len(got) != MaxAnnotations {
		t.Errorf("%d annotations", len(got))
	}
	for i, line := range got {
		title := fmt.Sprintf("::error title=rebound kick-all%%2C run %d check n%d::", i%2+1, 29-i/2)
		if !strings.HasPrefix(line, title) || strings.ContainsAny(line, "\r\n\x1b") || !strings.Contains(line, "100 %25 of a,b:c") || len(line) > 500 {
			t.Errorf("%d: %q", i, line)
		}
	}
	if got, want := WorkflowError("a:b,c%", "d:e,f%\r\n"), "::error title=a%3Ab%2Cc%25::d:e,f%25%0D%0A"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
