package reports

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"
)

// MaxSummary is the size that summary.md never exceeds, in bytes: CI pages
// drop a summary that is too long.
const MaxSummary = 64 << 10

// Limits of lists in summary.md; report.json has all.
const (
	maxRows       = 40
	maxHistograms = 12
	maxCell       = 300 // characters
)

// WriteSummary writes summary.md.
func WriteSummary(w io.Writer, r *Report) error {
	s := &summary{r: r}
	for _, section := range []func() error{
		s.head, s.tenSeconds, s.expectations, s.checks, s.victims, s.extents, s.times, s.waterfall,
		s.histograms, s.messages, s.unscripted, s.warnings, s.health, s.whatRan, s.examples, s.files,
	} {
		if err := section(); err != nil {
			return err
		}
	}
	_, err := w.Write(cut(s.buf.Bytes()))
	return err
}

// cut shortens a page to MaxSummary at the end of a line, and says so.
func cut(b []byte) []byte {
	if len(b) <= MaxSummary {
		return b
	}
	const note = "\n\n*Cut here: this page is kept below 64 KiB. The rest is in report.json.*\n"
	const fence = "````\n"
	b = b[:MaxSummary-len(note)-len(fence)]
	b = b[:bytes.LastIndexByte(b, '\n')+1]
	if bytes.Count(b, []byte("````"))%2 == 1 {
		b = append(b, fence...)
	}
	return append(b, note...)
}

type summary struct {
	r   *Report
	buf bytes.Buffer
}

func (s *summary) printf(format string, args ...any) { fmt.Fprintf(&s.buf, format, args...) }

// block writes text between fences. Four backticks: what comes from outside
// may hold three, and four are taken out of it.
func (s *summary) block(text string) {
	s.printf("````text\n%s````\n\n", strings.ReplaceAll(text, "````", "''''"))
}

// table writes a Markdown table, aligned in its source too. right names the
// columns that are numbers by a "r" at their place.
func (s *summary) table(align string, head []string, rows [][]string) {
	left := len(rows) - maxRows
	if left > 0 {
		rows = rows[:maxRows]
	}
	width := make([]int, len(head))
	for _, row := range append([][]string{head}, rows...) {
		for i, cell := range row {
			width[i] = max(width[i], 3, utf8.RuneCountInString(cell))
		}
	}
	write := func(row []string) {
		for i, cell := range row {
			if isRight(align, i) {
				cell = padLeft(cell, width[i])
			} else {
				cell = padRight(cell, width[i])
			}
			s.printf("| %s ", cell)
		}
		s.printf("|\n")
	}
	write(head)
	for i := range head {
		if isRight(align, i) {
			s.printf("| %s: ", strings.Repeat("-", width[i]-1))
		} else {
			s.printf("| %s ", strings.Repeat("-", width[i]))
		}
	}
	s.printf("|\n")
	for _, row := range rows {
		write(row)
	}
	if left > 0 {
		s.printf("\n%s: see report.json.\n", plural(int64(left), "more row"))
	}
	s.printf("\n")
}

func isRight(align string, i int) bool {
	if i >= len(align) {
		i = len(align) - 1
	}
	return i >= 0 && align[i] == 'r'
}

// md makes text from outside safe for one cell or line of Markdown.
func md(text string) string {
	return mdEscape.Replace(oneLine(text, maxCell))
}

var mdEscape = strings.NewReplacer("\\", "\\\\", "|", "\\|", "<", "&lt;", "*", "\\*", "`", "\\`", "[", "\\[")

func (s *summary) head() error {
	r := s.r
	ok, all := r.held()
	s.printf("# %s · %s\n\n", r.word(), md(r.Run.Scenario))
	if r.Run.Summary != "" {
		s.printf("%s\n\n", md(r.Run.Summary))
	}
	excused := ""
	if n := r.excused(); n > 0 {
		excused = fmt.Sprintf(" · %s excused", commas(n))
	}
	s.printf("**%s** · exit code %d · %s of %s hold%s · %s\n\n", r.word(), r.ExitCode, commas(ok), plural(int64(all), "expectation"), excused, r.checkCount())
	for _, c := range r.Checks {
		if r.failsBy(c) {
			s.printf("- check **%s** is invalid: %s\n", md(c.Name), md(c.Detail))
		}
	}
	for _, e := range r.Expectations {
		if r.failsOn(e) {
			s.printf("- expected %s, measured **%s**\n", md(e.Text), md(e.shown()))
		}
	}
	if r.Run.Aborted != "" {
		s.printf("- aborted: %s\n", md(r.Run.Aborted))
	}
	if !r.Run.Complete {
		s.printf("- incomplete: the evidence ends without its closing mark\n")
	}
	if b := s.buf.Bytes(); !bytes.HasSuffix(b, []byte("\n\n")) {
		s.printf("\n")
	}
	return nil
}

// checkCount says how the checks stand.
func (r *Report) checkCount() string {
	n := map[Verdict]int{}
	for _, c := range r.Checks {
		n[c.Verdict]++
	}
	text := fmt.Sprintf("checks: %d valid, %d invalid, %d unknown", n[Valid], n[Invalid], n[Unknown])
	if n[NotApplicable] > 0 {
		text += fmt.Sprintf(", %d not applicable", n[NotApplicable])
	}
	return text
}

func (s *summary) tenSeconds() error {
	var buf bytes.Buffer
	if err := Terminal(&buf, s.r, TerminalOptions{}); err != nil {
		return err
	}
	s.block(buf.String())
	return nil
}

func (s *summary) expectations() error {
	s.printf("## Expectations\n\n")
	if len(s.r.Expectations) == 0 {
		s.printf("None: this run gates nothing.\n\n")
		return nil
	}
	var rows [][]string
	for _, e := range s.r.Expectations {
		why := e.Why
		if e.OnFail == "warn" {
			why = strings.TrimPrefix(why+"; warns only", "; ")
		}
		rows = append(rows, []string{strong(e.Verdict), md(e.Text), md(e.shown()), md(why)})
	}
	s.table("llrl", []string{"verdict", "expectation", "measured", "why"}, rows)
	return nil
}

// strong is a verdict that catches the eye when it is not good.
func strong(v Verdict) string {
	if v == Invalid || v == Unknown {
		return "**" + string(v) + "**"
	}
	return string(v)
}

func (s *summary) checks() error {
	s.printf("## Checks\n\n")
	if len(s.r.Checks) == 0 {
		s.printf("None ran.\n\n")
		return nil
	}
	var rows [][]string
	for _, c := range s.r.Checks {
		detail := md(c.Detail)
		if c.Known != "" {
			detail = strings.TrimPrefix(detail+"; known defect: "+md(c.Known), "; ")
		}
		rows = append(rows, []string{strong(c.Verdict), md(c.Name), commas(c.Count), commas(c.Warnings), md(c.charged()), detail})
	}
	s.table("llrrll", []string{"verdict", "check", "findings", "warnings", "charged to", "detail"}, rows)
	for _, c := range s.r.Checks {
		s.sample("Examples of "+md(c.Name), c.Examples)
		s.sample("Warnings of "+md(c.Name), c.Warned)
	}
	return nil
}

// sample lists the first few of many.
func (s *summary) sample(title string, list []string) {
	if len(list) == 0 {
		return
	}
	s.printf("%s:\n\n", title)
	for _, e := range list[:min(len(list), 5)] {
		s.printf("- %s\n", md(e))
	}
	s.printf("\n")
}

// everyWave is each wave with its label, and the total where there are several.
func (s *summary) everyWave(do func(w Wave, label string)) {
	for _, w := range s.r.Waves {
		do(w, md(s.r.waveLabel(w)))
	}
	if len(s.r.Waves) > 1 {
		total := s.r.Total
		total.Horizon = s.r.horizon()
		do(total, "all waves")
	}
}

func (s *summary) victims() error {
	if len(s.r.Waves) == 0 {
		return nil
	}
	s.printf("## Victims\n\nVictims = back + censored + unaffected + absent. Censored clients were not back when their wave's\n" +
		"horizon ended, were stopped, or were hit again before they were back; they are never left out.\n\n")
	var rows, outcomes [][]string
	s.everyWave(func(w Wave, label string) {
		spread, regime := seconds(w.Spread), md(w.Regime)
		if w.Wave == 0 {
			spread, regime = "–", "–"
		}
		rows = append(rows, []string{label, commas(w.Victims), commas(w.Back), commas(w.Censored), commas(w.Unaffected), commas(w.Absent),
			spread, roundSeconds(w.Horizon), regime})
		outcomes = append(outcomes, []string{label, commas(w.Hit), commas(w.LateHit), commas(w.NoOp), commas(w.Missed), commas(w.NoEffect),
			commas(w.Failed), commas(w.RodeOut), commas(w.Herd.Connects), commas(w.Herd.Peak), oneDigit(w.Herd.PeakToMean),
			fmt.Sprintf("%.2f", w.Herd.Amplification), fmt.Sprintf("%.2f", w.Attempts), commas(w.SlowBackoff)})
	})
	s.table("lrrrrrrrl", []string{"wave", "victims", "back", "censored", "unaffected", "absent", "spread", "horizon", "regime"}, rows)
	s.printf("What became of each issued action, and the herd at the tap:\n\n")
	s.table("lr", []string{"wave", "hit", "late hit", "no-op", "missed", "no effect", "failed", "rode out", "CONNECTs", "peak/10 ms",
		"peak ÷ mean", "amplification", "dials per back", "slept"}, outcomes)
	return s.calls()
}

// calls tells what it took to have the connections closed, where an API did.
func (s *summary) calls() error {
	said := false
	s.everyWave(func(w Wave, label string) {
		if w.API == nil {
			return
		}
		said = true
		s.printf("- %s: %s calls of the API in %s tries, %s throttled, %s failed\n", label,
			commas(w.API.Calls), commas(w.API.Tries), commas(w.API.Throttled), commas(w.API.Failed))
	})
	if said {
		s.printf("\n")
	}
	return nil
}

// quantileTable starts with a label and ends with the counts.
func (s *summary) quantileTable(first string, rows [][]string) {
	s.table("lr", append([]string{first}, cellHeads...), rows)
}

func (s *summary) times() error {
	r := s.r
	s.printf("## Times\n\nValues in brackets have too few clients behind them (p99 needs 299, p99.9 needs 2,995).\n\n")
	var rows [][]string
	add := func(label string, q Quantile, sc scale, horizon float64) {
		if q.N > 0 || q.Censored > 0 {
			rows = append(rows, append([]string{label}, q.cells(sc, horizon)...))
		}
	}
	rows = append(rows, append([]string{"connect"}, r.Connect.Latency.cells(seconds, 0)...))
	s.everyWave(func(w Wave, label string) {
		rows = append(rows, append([]string{"outage, " + label}, w.Outage.cells(seconds, w.Horizon)...))
		add("back curve, "+label, w.BackCurve, seconds, w.Horizon)
		add("API answer, "+label, w.Answer, seconds, 0)
		add("probes needed, "+label, w.ProbeNeeded, number, 0)
		if w.ProberAway != nil {
			add("prober away, "+label, *w.ProberAway, seconds, 0)
		}
		add("lost per outage QoS 0, "+label, w.LossQoS0, number, 0)
		add("lost per outage QoS 1, "+label, w.LossQoS1, number, 0)
		add("lost per outage QoS 2, "+label, w.LossQoS2, number, 0)
	})
	add("unscripted outage", r.Unscripted.Outage, seconds, r.longestHorizon())
	s.quantileTable("what", rows)
	s.everyWave(func(w Wave, label string) {
		s.printf("- %s: %s over %s (mean time away of all hit clients, the censored included)\n", label, w.rmta(), roundSeconds(w.Horizon))
	})
	if len(r.Waves) > 0 {
		s.printf("\n")
	}
	return nil
}

func (s *summary) waterfall() error {
	if len(s.r.Waves) == 0 {
		return nil
	}
	s.printf("## Waterfall\n\nMedians; for each client the parts add up to its outage exactly. Backoff is the client's choice, not the broker's.\n\n")
	var waves []string
	s.everyWave(func(w Wave, label string) { waves = append(waves, padRight(label, 12)+" "+medians(w.Waterfall)) })
	s.block(strings.Join(waves, "\n") + "\n")
	return nil
}

func (s *summary) histograms() error {
	var shown []series
	for _, x := range allSeries(s.r.Histograms) {
		if x.Metric == "outage" || len(s.r.Waves) == 0 && x.Metric == "connect" || x.Unit == unitCount && strings.HasPrefix(x.Metric, "loss") {
			shown = append(shown, x)
		}
	}
	if len(shown) == 0 {
		return nil
	}
	s.printf("## Histograms\n\n")
	slices.SortStableFunc(shown, func(a, b series) int { // outages first
		return b2i(a.Metric != "outage") - b2i(b.Metric != "outage")
	})
	for _, x := range shown[:min(len(shown), maxHistograms)] {
		h, err := x.merged()
		if err != nil {
			return err
		}
		title, censored := x.title(), int64(0)
		switch x.Metric {
		case "outage":
			censored = int64(x.Censored)
			title += fmt.Sprintf(": n=%s back, %s censored", commas(x.N), commas(censored))
		case "connect":
			title += ": n=" + commas(x.N)
		default:
			title += fmt.Sprintf(": n=%s, those without loss included", plural(x.N, "outage"))
		}
		s.printf("%s\n\n", md(title))
		s.block(bars(x.Histogram, h, censored))
	}
	if left := len(shown) - maxHistograms; left > 0 {
		s.printf("%s: see hgrm/.\n\n", plural(int64(left), "more histogram"))
	}
	return nil
}

// title names a series for people.
func (x series) title() string {
	what := map[string]string{
		"outage":    "Outage",
		"connect":   "Connect, from the intended start to subscriptions in place",
		"loss.qos0": "Messages lost per outage, QoS 0",
		"loss.qos1": "Messages lost per outage, QoS 1",
		"loss.qos2": "Messages lost per outage, QoS 2",
	}[x.Metric]
	if what == "" {
		what = x.Metric
	}
	return fmt.Sprintf("%s, fleet %s, phase %s", what, x.Fleet, x.Phase)
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}
