package bench

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/rebound-mqtt/rebound/harness"
	"github.com/rebound-mqtt/rebound/scenarios"
)

func TestMain(m *testing.M) { os.Exit(Main(m, os.Stdout)) }

func BenchmarkStorm(b *testing.B) {
	for _, name := range []string{"kick-all", "kick-paced"} {
		for _, clients := range []int{100, 1000} {
			b.Run(fmt.Sprintf("scenario=%s/clients=%d/regime=first", name, clients), func(b *testing.B) {
				Storm(b, load(b, name), clients)
			})
		}
	}
}

// TestIterationsStartInFirstRegime runs two iterations as the benchmark does
// and shows that nobody slept in the backoff, and that a wave which follows
// another one closely is refused.
func TestIterationsStartInFirstRegime(t *testing.T) {
	sc := load(t, "kick-all")
	for n := range 2 {
		r, err := wave(t.Context(), sc, 20, uint64(n), t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		if err := usable(r); err != nil {
			t.Error(err)
		}
	}

	planted := load(t, "kick-all")
	for i := range planted.Phases {
		if len(planted.Phases[i].Faults) > 0 {
			planted.Phases[i].Repeat = scenarios.Repeat{Times: 2, Every: 500 * time.Millisecond}
		}
	}
	r, err := wave(t.Context(), planted, 20, 1, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := usable(r); err == nil {
		t.Errorf("two waves half a second apart passed as first regime: %+v", r.Waves)
	}
}

func load(tb testing.TB, name string) *scenarios.Scenario {
	tb.Helper()
	sc, _, err := harness.LoadScenario(name, harness.DefaultTables())
	if err != nil {
		tb.Fatal(err)
	}
	shorten(sc)
	return sc
}
