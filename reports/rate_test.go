package reports

import (
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestInterval(t *testing.T) {
	for _, c := range []struct {
		k, n      int64
		low, high float64
	}{
		{0, 0, 0, 1},
		{0, 1, 0, 0.95},
		{0, 3000, 0, 0.000998}, // the rule of three: 3/n
		{1, 10, 0.01788, 0.40415},
		{5, 10, 0.23659, 0.76341},
		{10, 10, 0.74113, 1},
	} {
		low, high := Interval(c.k, c.n)
		if math.Abs(low-c.low) > 1e-4 || math.Abs(high-c.high) > 1e-4 {
			t.Errorf("%d of %d: %g to %g, want %g to %g", c.k, c.n, low, high, c.low, c.high)
		}
	}
}

func TestIntervalHoldsTheShare(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Int64Range(1, 1_000_000).Draw(t, "n")
		k := rapid.Int64Range(0, n).Draw(t, "k")
		low, high := Interval(k, n)
		share := float64(k) / float64(n)
		if low < 0 || high > 1 || low > share+1e-12 || high < share-1e-12 {
			t.Errorf("%d of %d: %g to %g", k, n, low, high)
		}
	})
}

func TestRate(t *testing.T) {
	for _, c := range []struct {
		k, n int64
		want string
	}{
		{0, 0, "0 of 0"}, {0, 812, "0 of 812 (< 0.37 %)"}, {3, 812, "3 of 812 (0.13–1.1 %)"}, {0, 3_000_000, "0 of 3,000,000 (< 0.0001 %)"},
	} {
		if got := rate(c.k, c.n); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}

// TestLossRate: the bound is over those whose fate is known, and there is none
// where that is nobody.
func TestLossRate(t *testing.T) {
	m := Messages{Expected: 1000, Delivered: 812, LegalLoss: 100, Undetermined: 80, Scripted: 8}
	if got := m.lossRate(); got != "0 of 812 (< 0.37 %)" {
		t.Error(got)
	}
	if got := (Messages{Expected: 235, Undetermined: 235}).lossRate(); got != "0 of 0" {
		t.Error(got)
	}
}

// TestPooledHorizon: "> 30 s" of all waves would say more than anybody was
// watched for, where only the last wave has that long and its clients were back.
func TestPooledHorizon(t *testing.T) {
	r := &Report{
		Waves: []Wave{{Phase: "walk", Wave: 1, Censored: 3, Horizon: 2}, {Phase: "walk", Wave: 2, Horizon: 30}},
		Total: Wave{Censored: 3, Horizon: 2, Outage: Quantile{Censored: 3}},
	}
	var out strings.Builder
	if err := Terminal(&out, r, TerminalOptions{}); err != nil {
		t.Fatal(err)
	}
	_, all, _ := strings.Cut(out.String(), "all waves")
	if !strings.Contains(all, "p90 > 2 s") || strings.Contains(all, "30 s") {
		t.Errorf("%s", all)
	}
}
