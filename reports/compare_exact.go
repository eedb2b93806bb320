package reports

import (
	"slices"
	"strings"
)

// exactCount is a count that must not rise from 0.
type exactCount struct {
	name  string
	check string // check that judges the same findings; "" = none
	get   func(*Report) int64
}

// knownDefect gives the reference of the known defect that explains all that a
// check found in a run; "" if nothing does.
func (r *Report) knownDefect(check string) string {
	for _, c := range r.Checks {
		if check != "" && c.Name == check && c.Verdict == Invalid {
			return c.Known
		}
	}
	return ""
}

var exactCounts = []exactCount{
	{"lost.qos1", "lost", func(r *Report) int64 { return sumMessages(r, 1, func(m Messages) int64 { return m.Lost }) }},
	{"lost.qos2", "lost", func(r *Report) int64 { return sumMessages(r, 2, func(m Messages) int64 { return m.Lost }) }},
	{"censored", "", func(r *Report) int64 { return int64(r.Total.Censored) }},
	{"duplicated.qos2", "duplicated", func(r *Report) int64 { return sumMessages(r, 2, func(m Messages) int64 { return m.Forbidden }) }},
	{"reordered", "reordered", func(r *Report) int64 { return sumMessages(r, -1, func(m Messages) int64 { return m.Reordered }) }},
	{"not_redelivered", "not-redelivered", func(r *Report) int64 { return sumMessages(r, -1, func(m Messages) int64 { return m.NotRedelivered }) }},
	{"lost_in_client", "lost-in-client", func(r *Report) int64 { return sumMessages(r, -1, func(m Messages) int64 { return m.LostInClient }) }},
	{"stuck", "stuck", func(r *Report) int64 { return sumMessages(r, -1, func(m Messages) int64 { return m.Stuck }) }},
	{"misrouted", "misrouted", func(r *Report) int64 { return sumMessages(r, -1, func(m Messages) int64 { return m.Misrouted }) }},
	{"wrong_qos", "wrong-qos", func(r *Report) int64 { return sumMessages(r, -1, func(m Messages) int64 { return m.WrongQoS }) }},
	{"unexpected", "unexpected", func(r *Report) int64 { return sumMessages(r, -1, func(m Messages) int64 { return m.Unexpected }) }},
	{"unscripted", "", func(r *Report) int64 { return int64(r.Unscripted.Ends + r.Unscripted.Control) }},
	// Closes without effect leave fewer clients to come back: the times look better for it.
	{"kick_effective", "kick-effective", findingsOf("kick-effective")},
	{"leak", "leak", findingsOf("leak")},
	{"session faults", "", sessionFaults},
	{"wire rules", "", wireFaults},
}

// findingsOf counts the findings of a check that is invalid.
func findingsOf(check string) func(*Report) int64 {
	return func(r *Report) int64 {
		for _, c := range r.Checks {
			if c.Name == check && c.Verdict == Invalid {
				return max(1, c.Count)
			}
		}
		return 0
	}
}

// sumMessages adds a count over the QoS, or over all of them for -1.
func sumMessages(r *Report, qos int, get func(Messages) int64) int64 {
	var n int64
	for _, m := range r.Messages {
		if qos < 0 || m.QoS == qos {
			n += get(m)
		}
	}
	return n
}

// sessionFaults counts the findings of the invalid checks named session… that no
// known defect explains.
func sessionFaults(r *Report) int64 {
	var n int64
	for _, c := range r.Checks {
		if strings.HasPrefix(c.Name, "session") && c.Verdict == Invalid && c.Known == "" {
			n += max(1, c.Count)
		}
	}
	return n
}

// wireRules are the checks of single packets.
var wireRules = []string{
	"packet-id", "publish-after-pubrel", "resend-after-clean", "dup-flag", "first-packet", "resend-order", "retained-on-resume", "suback",
	"unknown-ack", "server-packet", "takeover", "will", "keep-alive", "deaf",
}

// wireFaults counts the findings of the invalid checks of single packets and
// connections that no known defect explains.
func wireFaults(r *Report) int64 {
	var n int64
	for _, c := range r.Checks {
		if slices.Contains(wireRules, c.Name) && c.Verdict == Invalid && c.Known == "" {
			n += max(1, c.Count)
		}
	}
	return n
}

// exactRules counts on both sides. What a known defect explains in a run is
// shown and decides nothing, on either side: an explained loss before is no
// leave for one that nothing explains.
func exactRules(base, next []*Report) []Rule {
	out := []Rule{}
	for _, e := range exactCounts {
		rule := Rule{Name: e.name}
		rule.Base, rule.BaseKnown, _ = e.sum(base)
		rule.Next, rule.NextKnown, rule.Known = e.sum(next)
		rule.Worse = rule.Base == rule.BaseKnown && rule.Next > rule.NextKnown
		out = append(out, rule)
	}
	return out
}

// sum adds a count over runs, all of it and what known defects explain.
func (e exactCount) sum(rs []*Report) (all, known int64, reference string) {
	for _, r := range rs {
		n := e.get(r)
		all += n
		if ref := r.knownDefect(e.check); ref != "" && n > 0 {
			known, reference = known+n, ref
		}
	}
	return all, known, reference
}

// flips gives the expectations whose worst verdict over a side changed.
func flips(base, next []*Report) []Flip {
	type state struct {
		verdict Verdict
		shown   string
	}
	worst := func(rs []*Report) (map[string]state, []string) {
		m, order := map[string]state{}, []string(nil)
		for _, r := range rs {
			for _, e := range r.Expectations {
				old, ok := m[e.Text]
				if !ok {
					order = append(order, e.Text)
				}
				if !ok || old.verdict.Merge(e.Verdict) != old.verdict {
					m[e.Text] = state{e.Verdict, e.shown()}
				}
			}
		}
		return m, order
	}
	before, order := worst(base)
	after, _ := worst(next)
	out := []Flip{}
	for _, text := range order {
		b, n := before[text], after[text]
		if n.verdict != "" && b.verdict != n.verdict {
			out = append(out, Flip{Text: text, From: b.verdict, To: n.verdict, Base: b.shown, Next: n.shown})
		}
	}
	return out
}
