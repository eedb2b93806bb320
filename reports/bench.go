package reports

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
)

// writeBench writes bench.txt of one run.
func writeBench(w io.Writer, r *Report) error { return writeBenchSet(w, []*Report{r}) }

// writeBenchSet writes bench.txt of a set.
func writeBenchSet(w io.Writer, reports []*Report) error {
	_, err := io.WriteString(w, BenchLines(reports))
	return err
}

// BenchLines writes runs in the Go benchmark format for benchstat: a line for
// the connect, each wave and the whole of each run. Equal names of several runs
// are the samples of a set; the waves of one run have names of their own, for
// they are no independent samples. A file-level key stands only for what two
// runs worth comparing share, since benchstat splits its tables on any other.
//
// A quantile that was not reached has no value and is left out: beside it
// stands censored-clients. Runs that are incomplete or interrupted give a
// comment and no line.
func BenchLines(reports []*Report) string {
	var sb strings.Builder
	sb.WriteString("# rebound: Go benchmark format; compare two files with benchstat, from runs made with --repeat\n")
	for _, u := range benchUnits {
		sb.WriteString(u.line())
	}
	keys := ""
	for _, r := range reports {
		if k := benchKeys(r); k != keys {
			sb.WriteString("\n" + k + "\n")
			keys = k
		}
		if !r.Run.Complete || r.Run.Interrupted {
			fmt.Fprintf(&sb, "# run %s is incomplete: no lines\n", plain(r.Run.ID))
			continue
		}
		fmt.Fprintf(&sb, "# run %s seed %d rebound %s\n", plain(r.Run.ID), r.Run.Seed, plain(r.Rebound))
		benchRun(&sb, r)
	}
	return sb.String()
}

// benchUnit is one unit of bench.txt.
type benchUnit struct {
	name  string
	exact bool // any difference counts, no statistics
	best  string
}

func (u benchUnit) line() string {
	s := "Unit " + u.name
	if u.best != "" {
		s += " better=" + u.best
	}
	if u.exact {
		s += " assume=exact"
	}
	return s + "\n"
}

var benchUnits = []benchUnit{
	{"p50-connect-ns", false, "lower"}, {"p90-connect-ns", false, "lower"}, {"p99-connect-ns", false, "lower"}, {"max-connect-ns", false, "lower"},
	{"p50-outage-ns", false, "lower"}, {"p90-outage-ns", false, "lower"}, {"p99-outage-ns", false, "lower"}, {"max-outage-ns", false, "lower"},
	{"rmta-ns", false, "lower"},
	{"amplification", false, "lower"}, {"peak-connects", false, "lower"},
	{"connected-clients", true, "higher"}, {"victims-clients", true, ""}, {"back-clients", true, "higher"}, {"censored-clients", true, "lower"},
	{"unaffected-clients", true, "lower"}, {"absent-clients", true, "lower"},
	{"lost-qos0-msgs", false, "lower"}, {"lost-qos1-msgs", true, "lower"}, {"lost-qos2-msgs", true, "lower"},
	{"duplicated-msgs", false, "lower"}, {"reordered-msgs", true, "lower"}, {"unexpected-msgs", true, "lower"},
	{"unscripted-ends", true, "lower"},
}

// benchKeys are the file-level keys: those that go test itself prints.
func benchKeys(r *Report) string {
	e := r.Environment
	var lines []string
	for _, kv := range [][2]string{{"goos", e.OS}, {"goarch", e.Arch}, {"cpu", e.CPU}} {
		if v := strings.TrimSpace(plain(kv[1])); v != "" {
			lines = append(lines, kv[0]+": "+v)
		}
	}
	return strings.Join(append(lines, "pkg: rebound"), "\n")
}

// benchLine is one benchmark line in the making.
type benchLine struct {
	name   string
	values []string
}

func (b *benchLine) add(v float64, unit string) {
	b.values = append(b.values, strconv.FormatFloat(v, 'f', -1, 64)+" "+unit)
}

func (b *benchLine) count(v int64, unit string) { b.add(float64(v), unit) }

// ns adds a time, when it is known.
func (b *benchLine) ns(s *float64, unit string) {
	if s != nil {
		b.add(math.Round(*s*1e9), unit)
	}
}

func (b *benchLine) quantiles(q Quantile, what string) {
	for _, e := range q.each() {
		if e.Name != "p999" { // no run of ours has clients enough for it
			b.ns(q.reached(e.Name), e.Name+"-"+what+"-ns")
		}
	}
}

func (b *benchLine) writeTo(sb *strings.Builder, procs int) {
	if len(b.values) == 0 {
		return
	}
	// The -procs of go test is always there: without it a name that ends in
	// "-2" would be read as one.
	fmt.Fprintf(sb, "%s-%d 1 %s\n", b.name, max(1, procs), strings.Join(b.values, " "))
}

func benchRun(sb *strings.Builder, r *Report) {
	base := fmt.Sprintf("BenchmarkRebound/scenario=%s/clients=%d", benchName(r.Run.Scenario), r.Run.Clients)
	procs := r.Environment.GOMAXPROCS

	c := benchLine{name: base + "/phase=connect"}
	c.quantiles(r.Connect.Latency, "connect")
	c.count(int64(r.Connect.Connected), "connected-clients")
	c.writeTo(sb, procs)

	for _, w := range r.Waves {
		b := benchLine{name: base + "/phase=" + benchName(w.Phase)}
		if r.wavesOf(w.Phase) > 1 {
			b.name += fmt.Sprintf("/wave=%d", w.Wave)
		}
		b.wave(w)
		b.writeTo(sb, procs)
	}

	b := benchLine{name: base}
	if len(r.Waves) > 1 { // of a single wave it would say the same twice
		b.wave(r.Total)
	}
	b.messages(r)
	b.writeTo(sb, procs)
}

func (b *benchLine) wave(w Wave) {
	b.quantiles(w.Outage, "outage")
	b.ns(w.RMTA, "rmta-ns")
	b.count(int64(w.Victims), "victims-clients")
	b.count(int64(w.Back), "back-clients")
	b.count(int64(w.Censored), "censored-clients")
	b.count(int64(w.Unaffected), "unaffected-clients")
	b.count(int64(w.Absent), "absent-clients")
	b.add(w.Herd.Amplification, "amplification")
	b.count(int64(w.Herd.Peak), "peak-connects")
}

func (b *benchLine) messages(r *Report) {
	var duplicated, reordered, unexpected int64
	for _, m := range r.Messages {
		b.count(m.Lost, fmt.Sprintf("lost-qos%d-msgs", m.QoS))
		duplicated, reordered, unexpected = duplicated+m.Duplicated, reordered+m.Reordered, unexpected+m.Unexpected
	}
	b.count(duplicated, "duplicated-msgs")
	b.count(reordered, "reordered-msgs")
	b.count(unexpected, "unexpected-msgs")
	b.count(int64(r.Unscripted.Ends+r.Unscripted.Control), "unscripted-ends")
}

// benchName makes a name safe for a part of a benchmark's name.
func benchName(s string) string {
	return strings.Map(func(r rune) rune {
		if r <= ' ' || r == '/' || r == '=' || r == 0x7f || r > 0x7e {
			return '_'
		}
		return r
	}, s)
}
