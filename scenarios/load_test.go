package scenarios_test

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rebound-mqtt/rebound/harness/fault"
	"github.com/rebound-mqtt/rebound/scenarios"
)

var update = flag.Bool("update", false, "write the golden files anew")

// testParts stands in for the harness's tables; the faults are the real ones.
func testParts() scenarios.Parts {
	parts := scenarios.Parts{Faults: fault.Parts(), Policies: []string{"paho", "immediate", "fixed", "full-jitter", "decorrelated", "percent-jitter", "truncated-exponential", "none"}}
	for unit, names := range map[string]string{
		"s": "outage.p50 outage.p90 outage.p99 outage.max back.p50 back.p99 back.all rmta connect.p99 waterfall.notice.p99",
		"":  "censored victims unaffected absent unscripted lost.qos0 lost.qos1 lost.qos2 duplicated.qos1 duplicated.qos2 reordered unexpected missed_slots herd.amplification herd.peak_to_mean",
	} {
		for _, n := range strings.Fields(names) {
			parts.Metrics = append(parts.Metrics, scenarios.MetricPart{Name: n, Unit: unit, Live: n == "unscripted" || n == "censored"})
		}
	}
	// A map has no order, and the schema shows the metrics in theirs.
	sortMetrics(parts.Metrics)
	return parts
}

func sortMetrics(m []scenarios.MetricPart) {
	for i := range m {
		for j := i; j > 0 && m[j].Name < m[j-1].Name; j-- {
			m[j], m[j-1] = m[j-1], m[j]
		}
	}
}

func testSchema(t testing.TB) scenarios.Schema {
	t.Helper()
	s, err := scenarios.Compose(testParts())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

// TestBadFiles holds the message, line and column of every mistake of a corpus
// of broken files; the caret below each source line makes a golden checkable
// by eye.
func TestBadFiles(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.yaml")
	if err != nil || len(files) < 40 {
		t.Fatalf("%d broken files, %v", len(files), err)
	}
	schema := testSchema(t)
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			sc, err := scenarios.Load(filepath.Base(file), data, schema)
			var errs scenarios.Errors
			if sc != nil || !errors.As(err, &errs) || !errors.Is(err, scenarios.ErrInvalid) {
				t.Fatalf("Load gave %v, %v", sc, err)
			}
			golden(t, strings.TrimSuffix(file, ".yaml")+".golden", err.Error()+"\n")
		})
	}
}

func TestGoodFiles(t *testing.T) {
	files, err := filepath.Glob("testdata/good/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	schema := testSchema(t)
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		sc, err := scenarios.Load(file, data, schema)
		if err != nil {
			t.Fatalf("%v", err)
		}
		again, err := scenarios.Load(file, data, schema)
		if err != nil || !cmp.Equal(sc, again) {
			t.Errorf("%s: equal input gave another value: %v", file, cmp.Diff(sc, again))
		}
		golden(t, strings.TrimSuffix(file, ".yaml")+".golden", render(sc))
	}
}

// render shows a scenario for a golden, pointers followed.
func render(sc *scenarios.Scenario) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %q seed %d clients %d hash %s\n", sc.Name, sc.Summary, sc.Seed, sc.Clients, scenarios.Hash(sc))
	for _, f := range sc.Fleets {
		w := f.Will
		f.Will = nil
		fmt.Fprintf(&b, "fleet %+v\n", f)
		if w != nil {
			fmt.Fprintf(&b, "  will %+v\n", *w)
		}
	}
	for _, tr := range sc.Traffic {
		fmt.Fprintf(&b, "traffic %+v\n", tr)
	}
	for _, p := range sc.Phases {
		fmt.Fprintf(&b, "phase %s for %s timeout %s %s repeat %+v", p.Name, p.For, p.Timeout, p.OnTimeout, p.Repeat)
		if p.Walk != nil {
			fmt.Fprintf(&b, " walk %+v", *p.Walk)
		}
		if u := p.Until; u != nil {
			switch {
			case u.Connected != nil:
				fmt.Fprintf(&b, " until connected %v", *u.Connected)
			case u.Back != nil:
				fmt.Fprintf(&b, " until back %v", *u.Back)
			case u.Quiet != nil:
				fmt.Fprintf(&b, " until quiet %v", *u.Quiet)
			default:
				fmt.Fprintf(&b, " until connected %d back %d drained %t count %v", u.ConnectedCount, u.BackCount, u.Drained, u.Count)
			}
		}
		b.WriteString("\n")
		for _, f := range p.Faults {
			fmt.Fprintf(&b, "  fault %s at %d:%d meaning %s\n", f.Kind, f.Pos.Line, f.Pos.Column, f.Meaning)
		}
	}
	for _, e := range sc.Expect {
		fmt.Fprintf(&b, "expect %s fleet %q phase %q wave %q below %v at_most %v at_least %v above %v equals %v on_fail %s at %d:%d\n",
			e.Metric, e.Fleet, e.Phase, e.Wave, e.Below, e.AtMost, e.AtLeast, e.Above, e.Equals, e.OnFail, e.Pos.Line, e.Pos.Column)
	}
	return b.String()
}
