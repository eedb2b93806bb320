package reports

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
	"unicode/utf8"
)

// TerminalOptions of the ten-second summary.
type TerminalOptions struct {
	Color bool   // ANSI colours
	Path  string // named in the last line, as the place to read on
}

// maxWaveBlocks is how many waves the terminal shows one by one.
const maxWaveBlocks = 5

// maxWarnings is how many warnings the terminal shows.
const maxWarnings = 3

// maxDetail is the longest detail of a check or expectation on the terminal, in characters.
const maxDetail = 300

// Terminal writes the ten-second summary of a run.
func Terminal(w io.Writer, r *Report, o TerminalOptions) error {
	t := &terminal{r: r, ink: ink(o.Color), width: len("unscripted") + 1}
	for _, wave := range r.shownWaves() {
		t.width = max(t.width, utf8.RuneCountInString(r.waveLabel(wave))+2)
	}
	t.header()
	t.connect()
	t.storms()
	t.extents()
	t.messages()
	t.unscripted()
	t.harness()
	t.troubles()
	t.last(o.Path)
	_, err := w.Write(t.buf.Bytes())
	return err
}

type terminal struct {
	r     *Report
	ink   ink
	width int
	buf   bytes.Buffer
}

// row writes one line: a label of fixed width and its text.
func (t *terminal) row(label, text string) {
	line := padRight(label, t.width) + text
	t.buf.WriteString(strings.TrimRight(line, " ") + "\n")
}

func (t *terminal) header() {
	r := t.r
	broker := strings.Join(strings.Fields(r.Target.Broker+" "+r.Target.Version+" "+r.Target.Kind), " ")
	parts := []string{"rebound " + r.Rebound, r.Run.Scenario, broker,
		strings.TrimSpace(r.Driver.Name + " " + r.Driver.Version), plural(int64(r.Run.Clients), "client"), fmt.Sprintf("seed %d", r.Run.Seed)}
	if r.Target.Closer == "fin" {
		parts = append(parts, "kick fin")
	}
	t.buf.WriteString(t.ink.bold(plain(strings.Join(parts, " · "))) + "\n")
}

func (t *terminal) connect() {
	c := t.r.Connect
	text := fmt.Sprintf("%s of %s in %s", commas(c.Connected), commas(c.Clients), seconds(c.Seconds))
	if c.Rate > 0 {
		text += fmt.Sprintf(" (%s/s)", number(math.Round(c.Rate)))
	}
	t.row("connect", t.ink.redIf(c.Connected < c.Clients, text))
	if len(t.r.Waves) == 0 {
		t.row("", c.Latency.line(percentileMarks, seconds, 0, t.ink, "", canaryNote(t.r.canaryOf("connect"))))
	}
}

func (t *terminal) storms() {
	shown := t.r.shownWaves()
	for _, w := range shown {
		t.wave(w, t.r.waveLabel(w))
	}
	more := len(t.r.Waves) - len(shown)
	if more > 0 {
		t.row("…", plural(int64(more), "more wave"))
	}
	if len(t.r.Waves) > 1 {
		total := t.r.Total
		total.Horizon = t.r.horizon()
		t.wave(total, "all waves")
	}
}

// shownWaves are the waves that get a block of their own.
func (r *Report) shownWaves() []Wave { return r.Waves[:min(len(r.Waves), maxWaveBlocks)] }

// waveLabel names a wave by its phase, and by its number where the phase has several.
func (r *Report) waveLabel(w Wave) string {
	label := oneLine(w.Phase, 24)
	if r.wavesOf(w.Phase) > 1 {
		label += fmt.Sprintf(" %d", w.Wave)
	}
	return label
}

// wavesOf counts the waves of a phase.
func (r *Report) wavesOf(phase string) int {
	n := 0
	for i := range r.Waves { // by index: a Wave is large
		if r.Waves[i].Phase == phase {
			n++
		}
	}
	return n
}

func (t *terminal) wave(w Wave, label string) {
	text := plural(int64(w.Victims), "victim")
	if w.Wave > 0 {
		text += " in " + seconds(w.Spread)
	}
	text += fmt.Sprintf(" · %s back · %s · %s unaffected · %s absent", commas(w.Back),
		t.ink.redIf(w.Censored > 0, commas(w.Censored)+" censored"), commas(w.Unaffected), commas(w.Absent))
	t.row(label, text)
	if odd := w.oddOutcomes(); odd != "" {
		t.row("outcomes", odd)
	}
	if w.Wave > 0 { // the start of several waves is no one instant
		t.row("back", w.BackCurve.line(shareMarks, seconds, w.Horizon, t.ink, w.rmta()))
		t.row("outage", w.Outage.line(percentileMarks, seconds, w.Horizon, t.ink, "", canaryNote(t.r.canaryOf(w.Phase))))
	} else {
		t.row("outage", w.Outage.line(percentileMarks, seconds, w.Horizon, t.ink, w.rmta(), canaryNote(t.r.Harness.Canary)))
	}
	t.row("waterfall", medians(w.Waterfall)+w.proberAway())
	herd := fmt.Sprintf("peak %s CONNECTs/10 ms · %s × mean · amplification %.2f", commas(w.Herd.Peak), oneDigit(w.Herd.PeakToMean), w.Herd.Amplification)
	if w.Regime != "" && w.Regime != "n/a" {
		herd += " · regime " + plain(w.Regime)
	}
	t.row("herd", herd)
}

func oneDigit(v float64) string { return fmt.Sprintf("%.1f", v) }

// rmta writes the restricted mean time away.
func (w Wave) rmta() string {
	if w.RMTA == nil {
		return "RMTA unknown"
	}
	return "RMTA " + seconds(*w.RMTA)
}

// oddOutcomes writes the outcomes of a wave unless all are plain hits.
func (w Wave) oddOutcomes() string {
	if w.LateHit+w.NoOp+w.Missed+w.NoEffect+w.Failed+w.RodeOut == 0 {
		return ""
	}
	return w.outcomes()
}

// outcomes writes what became of each issued action.
func (w Wave) outcomes() string {
	return fmt.Sprintf("%s hit · %s late hit · %s no-op · %s missed · %s no effect · %s failed · %s rode out", commas(w.Hit),
		commas(w.LateHit), commas(w.NoOp), commas(w.Missed), commas(w.NoEffect), commas(w.Failed), commas(w.RodeOut))
}

func (t *terminal) messages() {
	msgs := slices.Clone(t.r.Messages)
	slices.SortStableFunc(msgs, func(a, b Messages) int { return b.QoS - a.QoS })
	label := "messages"
	for _, m := range msgs {
		if m.Streams == 0 && m.Scheduled == 0 && m.Attempted == 0 && m.Unexpected == 0 {
			continue
		}
		t.row(label, fmt.Sprintf("QoS %d  %s", m.QoS, t.balance(m)))
		if m.Balance != "" {
			t.row("", t.ink.red("does not add up: "+oneLine(m.Balance, maxDetail)))
		}
		label = ""
	}
}

// balance writes the closing balance of one QoS: what always matters, then
// what is there.
func (t *terminal) balance(m Messages) string {
	parts := []string{commas(m.Attempted) + " attempted"}
	add := func(n int64, what string, bad bool) {
		if n != 0 {
			parts = append(parts, t.ink.redIf(bad, commas(n)+" "+what))
		}
	}
	if m.QoS == 0 {
		parts = append(parts, commas(m.LostAway)+" lost while away (counted)")
		add(m.Lost-m.LostAway, "lost otherwise (counted)", false)
		add(m.Duplicated, "duplicated", true)
		add(m.Reordered, "reordered", true)
	} else {
		// The smallest loss rate that the run can show stands beside a loss of none.
		parts = append(parts, commas(m.Acknowledged)+" acknowledged", t.ink.redIf(m.Lost > 0, strings.Replace(m.lossRate(), " of", " lost of", 1)),
			t.ink.redIf(m.Forbidden > 0, commas(m.Duplicated)+" duplicated"),
			t.ink.redIf(m.Reordered > 0, commas(m.Reordered)+" reordered"))
	}
	add(m.Unexpected, "unexpected", true)
	add(m.NotRedelivered, "not redelivered", true)
	add(m.LostInClient, "lost in the client", true)
	add(m.Stuck, "stuck", true)
	add(m.Misrouted, "misrouted", true)
	add(m.WrongQoS, "at the wrong QoS", true)
	add(m.Scripted, "excused by a frame fault", false)
	add(m.LegalLoss, "lost with their session (legal)", false)
	add(m.Undetermined, "undetermined", false)
	add(m.Missed, "slots missed", false)
	add(m.Refused, "refused by the library", false)
	add(m.Queued, "still queued", false)
	return strings.Join(parts, " · ")
}

func (t *terminal) unscripted() {
	if text := t.r.Unscripted.text(); text != "" {
		t.row("unscripted", t.ink.red(text))
	}
}

// text writes the ends that no fault explains, "" where there are none.
func (u Unscripted) text() string {
	var parts []string
	if u.Ends > 0 {
		var kinds []string
		for _, k := range slices.Sorted(maps.Keys(u.Kinds)) {
			kinds = append(kinds, plain(k)+" "+commas(u.Kinds[k]))
		}
		text := plural(int64(u.Ends), "end") + " of " + plural(int64(u.Clients), "client")
		if len(kinds) > 0 {
			text += " (" + strings.Join(kinds, ", ") + ")"
		}
		parts = append(parts, text)
	}
	if u.Control > 0 {
		parts = append(parts, plural(int64(u.Control), "end")+" of the control fleet")
	}
	return strings.Join(parts, " · ")
}

func (t *terminal) harness() {
	fit := cmp.Or(t.r.Harness.Fitness, "unknown")
	var where []string
	named := false // the phases say the same as the whole
	for _, p := range t.r.Phases {
		if p.Fitness == "degraded" || p.Fitness == "saturated" {
			where = append(where, plain(p.Fitness)+" in "+plain(p.Name))
			named = named || p.Fitness == fit
		}
	}
	text := clip(strings.Join(where, ", "), maxDetail)
	if !named {
		text = strings.TrimSuffix(plain(fit)+" · "+text, " · ")
	}
	if t.r.Harness.MissingHealth {
		text += " · health samples are missing"
	}
	if fit != "fit" {
		text += " · canary " + t.r.Harness.Canary.line([]mark{{"p99", "p99"}}, seconds, 0, false, "")
	}
	switch fit {
	case "fit":
	case "saturated":
		text = t.ink.red(text)
	default:
		text = t.ink.yellow(text)
	}
	t.row("harness", text)
}

// troubles writes each check and expectation that does not hold, with its reason.
func (t *terminal) troubles() {
	for _, c := range t.r.Checks {
		if c.Verdict == Valid || c.Verdict == NotApplicable {
			continue
		}
		text := plain(c.Name) + " " + string(c.Verdict)
		if c.Detail != "" {
			text += ": " + oneLine(c.Detail, maxDetail)
		}
		if who := c.charged(); who != "" {
			text += " [" + who + "]"
		}
		if c.Known != "" {
			text += " (known defect: " + plain(c.Known) + ")"
		}
		t.row("check", t.verdict(c.Verdict, !t.r.failsBy(c), clip(text, maxDetail)))
	}
	for _, e := range t.r.Expectations {
		if e.Verdict == Valid || e.Verdict == NotApplicable {
			continue
		}
		text := fmt.Sprintf("%s %s: measured %s", plain(e.Text), e.Verdict, plain(e.shown()))
		if e.Why != "" {
			text += " (" + plain(e.Why) + ")"
		}
		if e.Known != "" {
			text += " (known defect)"
		}
		t.row("expect", t.verdict(e.Verdict, !t.r.failsOn(e), clip(text, maxDetail)))
	}
	if t.r.Run.Aborted != "" {
		t.row("aborted", t.ink.red(oneLine(t.r.Run.Aborted, maxDetail)))
	}
	if !t.r.Run.Complete {
		t.row("incomplete", t.ink.red("the evidence ends without its closing mark"))
	}
	for i, w := range t.r.Warnings {
		if i == maxWarnings {
			t.row("", t.ink.yellow("… "+plural(int64(len(t.r.Warnings)-i), "more warning")))
			break
		}
		t.row("warning", t.ink.yellow(oneLine(w, maxDetail)))
	}
}

// shown is the measured value as printed.
func (e Expectation) shown() string {
	if e.Shown == "" {
		return "nothing"
	}
	return e.Shown
}

func (t *terminal) verdict(v Verdict, mild bool, s string) string {
	if v == Invalid && !mild {
		return t.ink.red(s)
	}
	return t.ink.yellow(s)
}

func (t *terminal) last(path string) {
	word := t.r.word()
	ok, all := t.r.held()
	text := fmt.Sprintf("%s of %s", commas(ok), plural(int64(all), "expectation"))
	if all == 0 {
		text = "no expectations"
	}
	if n := t.r.excused(); n > 0 {
		text += fmt.Sprintf(" · %s excused", commas(n))
	}
	if path != "" {
		text += "   " + plain(path)
	}
	label := padRight(word, t.width)
	if utf8.RuneCountInString(word) >= t.width {
		label = word + " "
	}
	code := map[string]string{"PASS": "1;32", "FAIL": "1;31", "ERROR": "1;31"}[word]
	if code == "" {
		code = "1;33"
	}
	t.buf.WriteString(strings.Replace(label, word, t.ink.paint(code, word), 1) + text + "\n")
}
