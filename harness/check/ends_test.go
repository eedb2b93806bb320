package check

import (
	"testing"

	"github.com/rebound-mqtt/rebound/harness/ledger"
	"github.com/rebound-mqtt/rebound/harness/timeline"
)

// TestProvoked: a library that closes within a second of a breach has a reason.
func TestProvoked(t *testing.T) {
	broken := timeline.Finding{Rule: "dup-flag", ClientID: "c", N: 2, At: 10 * sec, Charge: broker}
	for what, tc := range map[string]struct {
		want   bool
		end    timeline.Instant
		change func(*timeline.Conn, *timeline.Finding)
	}{
		"at the instant of the breach":     {true, 10 * sec, nil},
		"a second after it":                {true, 11 * sec, nil},
		"later":                            {false, 11*sec + 1, nil},
		"before it":                        {false, 10*sec - 1, nil},
		"another connection's":             {false, 10 * sec, func(c *timeline.Conn, _ *timeline.Finding) { c.N = 1 }},
		"another client's":                 {false, 10 * sec, func(c *timeline.Conn, _ *timeline.Finding) { c.ClientID = "d" }},
		"a warning":                        {false, 10 * sec, func(_ *timeline.Conn, f *timeline.Finding) { f.Warn = true }},
		"its own":                          {false, 10 * sec, func(_ *timeline.Conn, f *timeline.Finding) { f.Charge = library }},
		"only counted":                     {false, 10 * sec, func(_ *timeline.Conn, f *timeline.Finding) { f.Count = 1 }},
		"the end itself":                   {false, 10 * sec, func(_ *timeline.Conn, f *timeline.Finding) { f.Rule = timeline.RuleEnd }},
		"session present, a second before": {true, 6 * sec, func(c *timeline.Conn, _ *timeline.Finding) { c.Clean, c.SessionPresent = true, true }},
		"session present, long before":     {false, 6*sec + 1, func(c *timeline.Conn, _ *timeline.Finding) { c.Clean, c.SessionPresent = true, true }},
		"session present, as is its right": {false, 6 * sec, func(c *timeline.Conn, _ *timeline.Finding) { c.SessionPresent = true }},
		"clean, and the session is new":    {false, 6 * sec, func(c *timeline.Conn, _ *timeline.Finding) { c.Clean = true }},
	} {
		c, f := timeline.Conn{ClientID: "c", N: 2, Connack: 5 * sec, End: tc.end}, broken
		if tc.change != nil {
			tc.change(&c, &f)
		}
		if got := (Evidence{Findings: []timeline.Finding{f}}).provoked(&c); got != tc.want {
			t.Errorf("%s: %v", what, got)
		}
	}
}

// TestFaultWords: a fault says what it is about, and when it was.
func TestFaultWords(t *testing.T) {
	for want, f := range map[string]Fault{
		"t #3 (stream 0, QoS 1) to s at 2.000 s": {Exception: &ledger.Exception{Topic: "t", Seq: 3, QoS: 1, Subscriber: "s", At: 2 * sec}},
		"suback on connection 4 of c at 2.000 s": {Finding: &timeline.Finding{Rule: "suback", ClientID: "c", N: 4, At: 2 * sec}},
		"suback on connection 4 of c at 2.000 s: refused": {Finding: &timeline.Finding{
			Rule: "suback", ClientID: "c", N: 4, At: 2 * sec, Detail: "refused",
		}},
		"connection 4 of c, dialled at 2.000 s": {Conn: &timeline.Conn{ClientID: "c", N: 4, Dial: 2 * sec}},
		"client c":                              {Client: "c"},
	} {
		if got := f.String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// TestLatestWill: a connection to which the broker wrote after the latest Will
// of its client was read has left none; at that very instant it may have.
func TestLatestWill(t *testing.T) {
	cl := Client{Conns: []*timeline.Conn{{N: 1, Will: true, Connect: sec, Connack: sec, Alive: 5 * sec, End: 6 * sec}}}
	for last, want := range map[timeline.Instant]int{5*sec - 1: 0, 5 * sec: 1, 5*sec + 1: 1} {
		if b := (Evidence{Stop: 9 * sec}).bill(&cl, nil, nil, last); b.may != want || b.ended != 1 {
			t.Errorf("a Will read at %s: %+v", clock(last), b)
		}
	}
}
