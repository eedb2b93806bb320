package fault

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/rebound-mqtt/rebound/harness/fleet"
	"github.com/rebound-mqtt/rebound/harness/kernel"
	"github.com/rebound-mqtt/rebound/harness/measure"
	"github.com/rebound-mqtt/rebound/scenarios"
)

func TestMain(m *testing.M) {
	kernel.Child()
	goleak.VerifyTestMain(m)
}

// TestKinds demands for each row: a doc, a schema that composes, functions, and
// an example in the shipped library.
func TestKinds(t *testing.T) {
	parts := scenarios.Parts{Faults: Parts()}
	for _, p := range fleet.Policies() {
		parts.Policies = append(parts.Policies, p.Name)
	}
	for _, m := range measure.Metrics() {
		parts.Metrics = append(parts.Metrics, scenarios.MetricPart{Name: m.Name, Unit: m.Unit})
	}
	schema, err := scenarios.Compose(parts)
	if err != nil {
		t.Fatal(err)
	}
	examples := map[string]bool{}
	for _, s := range scenarios.Library() {
		sc, err := scenarios.Load(s.File(), s.Data, schema)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range sc.Phases {
			for _, f := range p.Faults {
				examples[f.Kind] = true
			}
		}
	}
	for _, k := range Kinds() {
		if k.Doc == "" || !strings.HasSuffix(k.Doc, ".") || !json.Valid(k.Schema) || k.Plan == nil || k.New == nil {
			t.Errorf("%s: the row is not complete", k.Name)
		}
		if !examples[k.Name] {
			t.Errorf("%s: no shipped scenario shows it", k.Name)
		}
		if found, err := Find(k.Name); err != nil || found.Name != k.Name {
			t.Errorf("Find(%s): %v", k.Name, err)
		}
	}
	if _, err := Find("none"); !errors.Is(err, ErrUnknownKind) {
		t.Errorf("%v", err)
	}
}

// TestPick: the same seed gives the same victims, another seed others, each
// client at most once, and every client as likely as the next.
func TestPick(t *testing.T) {
	if a, b := fmt.Sprint(pick(1000, 50, 7)), fmt.Sprint(pick(1000, 50, 7)); a != b {
		t.Errorf("the same seed gave %s and %s", a, b)
	}
	if fmt.Sprint(pick(1000, 50, 7)) == fmt.Sprint(pick(1000, 50, 8)) {
		t.Error("two seeds gave the same victims")
	}
	hits := make([]int, 20)
	for seed := range uint64(4000) {
		seen := map[int]bool{}
		for _, c := range pick(20, 5, seed) {
			if seen[c] || c < 0 || c >= 20 {
				t.Fatalf("seed %d: client %d twice or out of range", seed, c)
			}
			seen[c] = true
			hits[c]++
		}
	}
	for c, n := range hits { // 1000 expected, standard deviation 27
		if n < 850 || n > 1150 {
			t.Errorf("client %d was picked %d times of 4000, want about 1000", c, n)
		}
	}
	// Pinned: plans of one seed must not change with a release.
	if got := fmt.Sprint(pick(10, 10, 1)); got != "[2 3 8 4 5 6 1 9 0 7]" {
		t.Errorf("seed 1 now gives %s", got)
	}
}

func TestCountOf(t *testing.T) {
	for _, tc := range []struct {
		share   float64
		n, want int
	}{{1, 7, 7}, {0.05, 1000, 50}, {0.05, 9, 1}, {0.001, 10, 1}, {0, 10, 0}, {0.5, 3, 2}, {0.5, 0, 0}} {
		if got := countOf(tc.share, tc.n); got != tc.want {
			t.Errorf("%v of %d is %d, want %d", tc.share, tc.n, got, tc.want)
		}
	}
}
