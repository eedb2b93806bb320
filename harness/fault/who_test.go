package fault

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/rebound-mqtt/rebound/scenarios"
)

// sites is a fleet of 100 with 30 clients at site a, none at site c.
func sites(seed uint64) []scenarios.PlanFleet {
	f := scenarios.PlanFleet{Clients: 100, Fleet: scenarios.Fleet{
		Name: "devices", Labels: map[string]map[string]float64{
			"site": {"a": 0.3, "b": 0.699, "c": 0.001}, "role": {"lead": 0.1, "hand": 0.9},
		},
	}}
	f.SetLabels(seed)
	return []scenarios.PlanFleet{f}
}

func planIn(t *testing.T, fleets []scenarios.PlanFleet, params string, seed uint64) (scenarios.PlanFault, error) {
	t.Helper()
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(params), &doc); err != nil {
		t.Fatal(err)
	}
	return planClose(scenarios.FaultSpec{Kind: "close", Params: doc.Content[0], Pos: scenarios.Pos{File: "x.yaml", Line: 1, Column: 1}}, fleets, seed)
}

func clientsOf(pf scenarios.PlanFault) []int {
	var out []int
	for _, v := range pf.Victims {
		out = append(out, v.Client)
	}
	return out
}

func TestWho(t *testing.T) {
	fleets := sites(5)
	at := func(site string) []int { return fleets[0].With("site", site) }
	for _, tc := range []struct {
		params, rule string
		n            int
		of           []int // nil = all
	}{
		{"{}", "share 100%", 100, nil},
		{"{who: {label: {site: a}}}", "share 100% of site=a", 30, at("a")},
		{"{who: {label: {site: b}, share: 10%}}", "share 10% of site=b", 7, at("b")},
		{"{who: {label: {site: a}, count: 4}}", "count 4 of site=a", 4, at("a")},
		{"{who: {count: 4, seeded: 9}}", "count 4, seeded 9", 4, nil},
		{"{who: {list: [7, 3, 10-12, 13]}}", "list 7, 3, 10-13", 6, []int{7, 3, 10, 11, 12, 13}},
	} {
		pf, err := planIn(t, fleets, tc.params, 1)
		if err != nil || pf.Params["who"] != tc.rule || len(pf.Victims) != tc.n {
			t.Errorf("%s: %v, %d victims, %v", tc.params, pf.Params, len(pf.Victims), err)
			continue
		}
		for _, c := range clientsOf(pf) {
			if tc.of != nil && !slices.Contains(tc.of, c) {
				t.Errorf("%s: client %d is none of %v", tc.params, c, tc.of)
			}
		}
	}
	if pf, _ := planIn(t, fleets, "{who: {list: [7, 3]}, spread: 2s}", 1); fmt.Sprint(pf.Victims) != "[{7 0s} {3 1s}]" {
		t.Errorf("a list is not hit in its order: %v", pf.Victims)
	}
	both, err := planIn(t, fleets, "{who: {label: {site: a, role: hand}}}", 1)
	for _, c := range clientsOf(both) {
		if !slices.Contains(at("a"), c) || !slices.Contains(fleets[0].With("role", "hand"), c) {
			t.Errorf("client %d has not both labels", c)
		}
	}
	if n := len(both.Victims); err != nil || n == 0 || n > 30 || both.Params["who"] != "share 100% of site=a, role=hand" {
		t.Errorf("%d victims, %v, %v", n, both.Params, err)
	}
}

// TestSeeded: the pick of two faults with equal seeds is the same whatever the
// run; that of the smaller one is a part of the larger one's.
func TestSeeded(t *testing.T) {
	fleets := sites(5)
	pick := func(who string, seed uint64) []int {
		pf, err := planIn(t, fleets, "{who: {"+who+"}}", seed)
		if err != nil {
			t.Fatal(err)
		}
		return clientsOf(pf)
	}
	a, b := pick("share: 10%, seeded: 7", 1), pick("share: 20%, seeded: 7", 2)
	if !slices.Equal(a, b[:10]) {
		t.Errorf("%v and %v", a, b)
	}
	if slices.Equal(pick("share: 10%", 1), pick("share: 10%", 2)) || slices.Equal(a, pick("share: 10%, seeded: 8", 1)) {
		t.Error("another seed, the same victims")
	}
}

// TestLabels: counts by largest remainder, each client one value of a label,
// another seed other clients.
func TestLabels(t *testing.T) {
	for _, n := range []int{1, 7, 100, 1001} {
		f := sites(3)[0]
		f.Clients = n
		f.SetLabels(3)
		seen := map[int]bool{}
		for _, site := range []string{"a", "b", "c"} {
			clients := f.With("site", site)
			if len(clients) != f.Labelled["site"][site] {
				t.Errorf("%d of %d clients have site %s", len(clients), f.Labelled["site"][site], site)
			}
			for _, c := range clients {
				if seen[c] || c < 0 || c >= n {
					t.Errorf("client %d of %d twice or out of range", c, n)
				}
				seen[c] = true
			}
		}
		if len(seen) != n {
			t.Errorf("%d of %d clients have a site", len(seen), n)
		}
	}
	if got := fmt.Sprint(sites(3)[0].Labelled); got != "map[role:map[hand:90 lead:10] site:map[a:30 b:70 c:0]]" {
		t.Errorf("%s", got)
	}
	one, same, other := sites(3)[0], sites(3)[0], sites(4)[0]
	if !slices.Equal(one.With("site", "a"), same.With("site", "a")) || slices.Equal(one.With("site", "a"), other.With("site", "a")) {
		t.Error("the seed does not decide")
	}
}

func TestWhoErrors(t *testing.T) {
	fleets := sites(5)
	for params, want := range map[string]string{
		"{who: {list: [100]}}":                 "x.yaml:1:15: list: 100 is out of range: there are 100, counted from 0",
		"{who: {list: [5, 90-100]}}":           "x.yaml:1:18: list: 90-100 is out of range: there are 100, counted from 0",
		"{who: {list: [5-3]}}":                 "x.yaml:1:15: list: the range 5-3 is empty",
		"{who: {list: [5, 3-7]}}":              "x.yaml:1:18: list: 5 is there twice",
		"{who: {list: [0], label: {site: a}}}": "x.yaml:1:26: who: a list names its clients, label has no meaning beside it",
		"{who: {list: [0], seeded: 1}}":        "x.yaml:1:27: who: a list names its clients, seeded has no meaning beside it",
		"{who: {label: {sit: a}}}":             `x.yaml:1:21: label: fleet devices has no label "sit", it has role, site`,
		"{who: {label: {site: d}}}":            `x.yaml:1:22: label: site of fleet devices is a or b or c, never "d"`,
		"{who: {label: {site: c}}}":            "x.yaml:1:15: who names no victim: fleet devices has 0 clients with site=c",
		"{who: {label: {site: a}, count: 31}}": "x.yaml:1:33: count is 31, and fleet devices has 30 clients with site=a",
		"{who: {label: {site: a}, share: 0%}}": "x.yaml:1:7: who names no victim",
		"{who: {share: 10%, seeded: -1}}":      `x.yaml:1:28: seeded is "-1": want a whole number from 0`,
		"{poisson: 1/s, rate: 1/s}":            "x.yaml:1:11: close has at most one of spread, rate and poisson",
		"{poisson: 5}":                         `x.yaml:1:11: poisson is "5": want a rate`,
	} {
		_, err := planIn(t, fleets, params, 1)
		var errs scenarios.Errors
		if !errors.As(err, &errs) || !strings.HasPrefix(err.Error(), want) || len(errs) != 1 {
			t.Errorf("%s: %v, want %s", params, err, want)
		}
	}
	plain := []scenarios.PlanFleet{{Clients: 5, Fleet: scenarios.Fleet{Name: "devices"}}}
	if _, err := planIn(t, plain, "{who: {label: {site: a}}}", 1); err == nil || !strings.Contains(err.Error(), "fleet devices has no labels") {
		t.Errorf("%v", err)
	}
}

// TestPoisson: the gaps have the mean and the spread of an exponential
// distribution, and come from the seed.
func TestPoisson(t *testing.T) {
	offsets := when{after: time.Second, poisson: 100}.offsets(20_000, 1)
	if !slices.IsSorted(offsets) || offsets[0] <= time.Second {
		t.Errorf("first %s, sorted %t", offsets[0], slices.IsSorted(offsets))
	}
	before, sum, squares, short := time.Second, 0.0, 0.0, 0
	for _, o := range offsets {
		gap := (o - before).Seconds()
		before = o
		sum, squares = sum+gap, squares+gap*gap
		if gap < 0.01 {
			short++
		}
	}
	n := float64(len(offsets))
	mean := sum / n
	if deviation := squares/n - mean*mean; mean < 0.0097 || mean > 0.0103 || deviation < 0.9e-4 || deviation > 1.1e-4 {
		t.Errorf("mean %g s, variance %g s², want 0.01 and 1e-4", mean, deviation)
	}
	if share := float64(short) / n; share < 0.62 || share > 0.645 { // 1 - 1/e
		t.Errorf("%g of the gaps are below the mean", share)
	}
	if slices.Equal(offsets, when{after: time.Second, poisson: 100}.offsets(20_000, 2)) {
		t.Error("another seed, the same gaps")
	}
	pf, err := planIn(t, sites(1), "{poisson: 100/s}", 1)
	if err != nil || fmt.Sprint(pf.Params) != "map[after:0s poisson:100/s who:share 100%]" || pf.Victims[99].Offset < 500*time.Millisecond {
		t.Errorf("%v, %v", pf.Params, err)
	}
	if last := (when{rate: 1e-9}).offsets(1000, 1)[999]; last < 0 {
		t.Errorf("a slow rate wraps to %s", last)
	}
}
