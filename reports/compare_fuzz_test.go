package reports

import (
	"bytes"
	"encoding/json"
	"io"
	"testing"
)

// Whatever two reports hold, a comparison of them is written in each form, and
// its JSON reads back.
func FuzzCompare(f *testing.F) {
	// Small seeds: large ones only slow the fuzzer down.
	one := `{"schema_version":1,"run":{"complete":true},"phases":[{"name":"a","fitness":"fit"}],
"waves":[{"phase":"a","wave":1,"rmta_seconds":1e300,"waterfall":{"dial":{"n":1,"p50":0}},"curve":[{"seconds":1,"fraction_back":1}]}],
"total":{"rmta_seconds":0.2,"outage":{"n":9,"p50":0.1,"p90":-2,"p99":1e308},"back_curve":{"censored":3}}}`
	other := `{"schema_version":1,"run":{"complete":true},"phases":[{"name":"a","fitness":"fit"}],"waves":[{"phase":"a","wave":1}],
"total":{"rmta_seconds":0,"outage":{"n":9,"p50":null,"p90":1,"p99":-1e308,"censored":1},"back_curve":{"n":1,"p99":1}},
"histograms":[{"phase":"a","metric":"outage","unit":"ns","v2":"HISTFAAA"}],"messages":[{"qos":1,"lost":-5}]}`
	f.Add([]byte(one), []byte(other), uint8(4))
	f.Add([]byte(other), []byte(one), uint8(0))
	f.Add([]byte(one), []byte(one), uint8(3))
	f.Fuzz(func(t *testing.T, a, b []byte, n uint8) {
		old, err := Read(bytes.NewReader(a))
		if err != nil {
			return
		}
		next, err := Read(bytes.NewReader(b))
		if err != nil {
			return
		}
		side := func(r *Report) (rs []*Report) {
			for range n%6 + 1 {
				c := *r
				c.Run.ID = ""
				rs = append(rs, &c)
			}
			return rs
		}
		c := Compare(side(old), side(next), CompareOptions{Allow: AllowNames()})
		s := CheckSelf(append(side(old), side(next)...), CompareOptions{Allow: AllowNames()})
		for _, format := range CompareFormats() {
			var out bytes.Buffer
			if err := format.Write(&out, c); err != nil {
				t.Fatalf("%s: %v", format.Name, err)
			}
			if format.Name == "json" && json.Unmarshal(out.Bytes(), &Comparison{}) != nil {
				t.Fatal("the JSON does not read back")
			}
			if err := format.Self(io.Discard, s); err != nil {
				t.Fatalf("self-check, %s: %v", format.Name, err)
			}
		}
		if c.Verdict == "" || s.Verdict == "" {
			t.Fatal("no verdict")
		}
	})
}
