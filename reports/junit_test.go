package reports

import (
	"bytes"
	"encoding/xml"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// readJUnit reads junit.xml with a decoder that refuses what is no XML.
func readJUnit(t rapid.TB, reports ...*Report) junitSuites {
	t.Helper()
	var b bytes.Buffer
	if err := writeJUnitSet(&b, reports); err != nil {
		t.Fatal(err)
	}
	var doc junitSuites
	if err := xml.Unmarshal(b.Bytes(), &doc); err != nil {
		t.Fatalf("%v\n%s", err, b.Bytes())
	}
	return doc
}

// sum adds up the counts of all suites, and holds them against the cases.
func (doc junitSuites) sum(t rapid.TB) (failures, errors, skipped int) {
	t.Helper()
	for _, s := range doc.Suites {
		again := junitSuite{Cases: s.Cases}
		again.count()
		if again.Tests != s.Tests || again.Failures != s.Failures || again.Errors != s.Errors || again.Skipped != s.Skipped {
			t.Errorf("%s: its counts are not those of its cases", s.Name)
		}
		failures, errors, skipped = failures+s.Failures, errors+s.Errors, skipped+s.Skipped
	}
	return failures, errors, skipped
}

func (doc junitSuites) named(t rapid.TB, name string) junitCase {
	t.Helper()
	for _, s := range doc.Suites {
		for _, c := range s.Cases {
			if c.Name == name {
				return c
			}
		}
	}
	t.Fatalf("no case %q", name)
	return junitCase{}
}

func TestJUnitCases(t *testing.T) {
	doc := readJUnit(t, fail(t))
	for _, tt := range []struct{ name, failure, skipped string }{
		{"assumptions", "", ""},
		{"lost", "invalid: 3 acknowledged QoS 1 messages were never delivered", ""},
		{"balance", "", "unknown: QoS 1: 12 slots stand in no set"},
		{"never-returned", "", ""}, // a known defect
		{"censored equals 0", "expected censored equals 0, measured 10", ""},
		{"outage.p99 fleet=devices phase=storm wave=each below 5s", "expected outage.p99 fleet=devices phase=storm wave=each below 5s, measured > 60 s", ""},
	} {
		c := doc.named(t, tt.name)
		if c.Error != nil || (c.Failure != nil) != (tt.failure != "") || (c.Skipped != nil) != (tt.skipped != "") ||
			c.Failure != nil && c.Failure.Message != tt.failure || c.Skipped != nil && c.Skipped.Message != tt.skipped {
			t.Errorf("%s: %+v %+v %+v", tt.name, c.Failure, c.Skipped, c.Error)
		}
	}
	if out := doc.Suites[1].Out; !strings.Contains(out, "never-returned: excused, invalid: ") {
		t.Errorf("what is excused is not said: %q", out)
	}
	strict := fail(t)
	strict.Run.Strict = true
	if c := readJUnit(t, strict).named(t, "never-returned"); c.Failure == nil {
		t.Error("a known defect passes a strict run")
	}
	if f, e, s := readJUnit(t, pass(t)).sum(t); f+e+s != 0 {
		t.Errorf("a pass has %d failures, %d errors, %d skipped", f, e, s)
	}
	for _, s := range readJUnit(t, ramp(t)).Suites {
		for _, c := range s.Cases {
			if c.Name == "kick-effective" {
				t.Error("a check that does not apply has a case")
			}
		}
	}
}

func TestJUnitNamesAreTheirOwn(t *testing.T) {
	r := pass(t)
	r.Expectations = append(r.Expectations, r.Expectations[0], r.Expectations[0])
	seen := map[string]bool{}
	for _, s := range readJUnit(t, r, r).Suites {
		for _, c := range s.Cases {
			if key := c.Class + " " + c.Name; seen[key] {
				t.Errorf("%s stands twice", key)
			} else {
				seen[key] = true
			}
		}
	}
}

// A CI server sees no exit code: no run that is not PASS may look green.
func TestJUnitIsNeverFalselyGreen(t *testing.T) {
	verdicts := rapid.SampledFrom([]Verdict{Valid, Invalid, Unknown, NotApplicable, "", "odd"})
	text := rapid.StringOf(rapid.RuneFrom([]rune("ab<&\"]>\x00\x1b\n\u202e\ufffe ")))
	rapid.Check(t, func(rt *rapid.T) {
		r := healthy()
		r.Verdict, r.ExitCode = verdicts.Draw(rt, "verdict"), rapid.SampledFrom([]int{0, 1, 2, 3, 4, 5, 6, 7, 130, -1}).Draw(rt, "exit")
		r.Run.Complete, r.Run.Interrupted = rapid.Bool().Draw(rt, "complete"), rapid.Bool().Draw(rt, "interrupted")
		r.Run.Strict, r.Run.Aborted = rapid.Bool().Draw(rt, "strict"), text.Draw(rt, "aborted")
		for i := range r.Checks {
			r.Checks[i].Verdict, r.Checks[i].Detail = verdicts.Draw(rt, "check"), text.Draw(rt, "detail")
			r.Checks[i].Known = rapid.SampledFrom([]string{"", "#1"}).Draw(rt, "known")
		}
		for i := range r.Expectations {
			r.Expectations[i].Verdict, r.Expectations[i].Text = verdicts.Draw(rt, "expectation"), text.Draw(rt, "text")
			r.Expectations[i].OnFail = rapid.SampledFrom([]string{"fail", "warn"}).Draw(rt, "on_fail")
		}
		failures, errors, skipped := readJUnit(rt, r).sum(rt)
		word := r.word()
		if word != "PASS" && failures+errors+skipped == 0 {
			rt.Errorf("%s is green", word)
		}
		if word != "PASS" && word != "UNKNOWN" && failures+errors == 0 {
			rt.Errorf("%s has only skipped cases", word)
		}
		if r.Run.Aborted != "" && errors == 0 {
			rt.Error("an aborted run has no error")
		}
	})
}
