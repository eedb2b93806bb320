package reports

import (
	"fmt"
	"io"
	"strings"
)

// writeSetSummary writes summary.md of a set.
func writeSetSummary(w io.Writer, reports []*Report) error {
	_, err := io.WriteString(w, SetSummary(reports))
	return err
}

// SetSummary is the Markdown page of a set of runs (rebound run --repeat): a
// line for each run, the sums, and the worst exit code. It draws no statistics
// from them: bench.txt of the set goes to benchstat.
func SetSummary(reports []*Report) string {
	s := &summary{r: &Report{}}
	if len(reports) == 0 {
		return "# UNKNOWN · no runs\n\nThe set has no report.\n"
	}
	var codes []int
	words := map[string]int{}
	var rows [][]string
	for i, r := range reports {
		codes = append(codes, r.ExitCode)
		words[r.word()]++
		rows = append(rows, setRow(i+1, r))
	}
	worst := WorstExit(codes)
	first := reports[0]
	s.printf("# %s · %s\n\n", setWord(reports), md(first.Run.Scenario))
	s.printf("**%s of %s passed** · exit code %d, the worst · %s · %s %s %s · %s %s · rebound %s\n\n", commas(words["PASS"]),
		plural(int64(len(reports)), "run"), worst, plural(int64(first.Run.Clients), "client"),
		md(first.Target.Broker), md(first.Target.Version), md(first.Target.Kind), md(first.Driver.Name), md(first.Driver.Version), md(first.Rebound))
	s.table("rrlr", append([]string{"run", "seed", "result", "exit", "victims", "back", "censored", "unaffected", "absent", "lost QoS 1", "lost QoS 0", "unscripted", "RMTA"}, cellHeads...), rows)
	s.printf("Victims = back + censored + unaffected + absent; times are outages over all waves of a run, or of connects where no client was hit.\n" +
		"The run is the unit of evidence: clients of several runs are never pooled. `bench.txt` has a line a run for benchstat.\n")
	failures := false
	for i, r := range reports {
		for _, line := range r.failures() {
			if !failures {
				s.printf("\n## What did not hold\n\n")
				failures = true
			}
			s.printf("- run %d: %s\n", i+1, md(line))
		}
	}
	return string(cut(s.buf.Bytes()))
}

// setWord is the word of the run with the worst exit code; among equals one
// that is not PASS.
func setWord(reports []*Report) string {
	worst := reports[0]
	for _, r := range reports {
		a, b := exitRank(r.ExitCode), exitRank(worst.ExitCode)
		if a < b || a == b && worst.word() == "PASS" {
			worst = r
		}
	}
	return worst.word()
}

func setRow(n int, r *Report) []string {
	t, q, h := r.Total, r.Total.Outage, r.horizon()
	if len(r.Waves) == 0 {
		q, h = r.Connect.Latency, 0
	}
	lost := func(qos int) string {
		return commas(sumMessages(r, qos, func(m Messages) int64 { return m.Lost }))
	}
	rmta := "–"
	if t.RMTA != nil {
		rmta = seconds(*t.RMTA)
	}
	return append([]string{commas(n), fmt.Sprint(r.Run.Seed), r.word(), fmt.Sprint(r.ExitCode), commas(t.Victims), commas(t.Back),
		commas(t.Censored), commas(t.Unaffected), commas(t.Absent), lost(1), lost(0), commas(r.Unscripted.Ends + r.Unscripted.Control), rmta}, q.cells(seconds, h)...)
}

// failures says in words what did not hold in a run.
func (r *Report) failures() []string {
	var out []string
	for _, c := range r.Checks {
		if c.Verdict == Invalid || c.Verdict == Unknown {
			out = append(out, strings.TrimSuffix(fmt.Sprintf("check %s %s: %s", c.Name, c.Verdict, c.Detail), ": "))
		}
	}
	for _, e := range r.Expectations {
		if e.Verdict == Invalid || e.Verdict == Unknown {
			out = append(out, fmt.Sprintf("%s %s: measured %s", e.Text, e.Verdict, e.shown()))
		}
	}
	if r.Run.Aborted != "" {
		out = append(out, "aborted: "+r.Run.Aborted)
	}
	if !r.Run.Complete {
		out = append(out, "incomplete")
	}
	return out
}
