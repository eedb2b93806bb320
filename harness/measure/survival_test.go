package measure

import (
	"math"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

// weeks of remission under 6-MP: the classic example of 21 patients, of whom 9
// relapsed (Freireich and others, 1963). A week is a second here.
func remission() []Obs {
	var obs []Obs
	for _, w := range []int64{6, 6, 6, 7, 10, 13, 16, 22, 23} {
		obs = append(obs, Obs{Time: w * 1e9, Back: true})
	}
	for _, w := range []int64{6, 9, 10, 11, 17, 19, 20, 25, 32, 32, 34, 35} {
		obs = append(obs, Obs{Time: w * 1e9})
	}
	return obs
}

func TestKaplanMeierPublished(t *testing.T) {
	c := KaplanMeier(remission())
	type row struct {
		T              int64
		S              float64
		Risk, Censored int
		Low, High      float64
	}
	// Product limits by hand: 18/21, ×16/17, ×14/15, ×11/12, ×10/11, ×6/7, ×5/6;
	// limits as printed in textbooks for the log-log scale.
	want := []row{
		{6, 0.8571, 21, 1, 0.6197, 0.9516},
		{7, 0.8067, 17, 1, 0.5631, 0.9228},
		{10, 0.7529, 15, 3, 0.5032, 0.8894},
		{13, 0.6902, 12, 4, 0.4316, 0.8491},
		{16, 0.6275, 11, 4, 0.3675, 0.8049},
		{22, 0.5378, 7, 7, 0.2678, 0.7468},
		{23, 0.4482, 6, 7, 0.1881, 0.6801},
	}
	var got []row
	before := 1.0
	for _, s := range c.Steps {
		if s.S < before {
			got = append(got, row{s.T / 1e9, s.S, s.AtRisk, s.Censored, s.Low, s.High})
		}
		before = s.S
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateApprox(0, 0.00006)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if c.N != 21 || c.Back != 9 {
		t.Errorf("N %d, back %d", c.N, c.Back)
	}
	if ns, ok := c.Quantile(0.5); !ok || ns != 23e9 {
		t.Errorf("median %d, %v; want 23 s", ns, ok)
	}
	if _, ok := c.Quantile(0.9); ok {
		t.Error("p90 reached, though 45 % were never seen to end")
	}
	if rm := c.RMTA(35e9) / 1e9; math.Abs(rm-23.2874) > 0.0001 {
		t.Errorf("area to 35 s = %v, want 23.2874", rm)
	}
	last := c.Steps[len(c.Steps)-1]
	if last.Censored != 12 || last.AtRisk != 1 {
		t.Errorf("last step %+v", last)
	}
}

func TestRMTA(t *testing.T) {
	s := func(v int64) int64 { return v * 1e9 }
	for _, tc := range []struct {
		name    string
		obs     []Obs
		horizon int64
		want    float64
	}{
		{"nobody", nil, 10, 0},
		{"all back: the mean", []Obs{{s(1), true}, {s(2), true}, {s(6), true}}, 10, 3},
		{"all censored: the horizon", []Obs{{s(10), false}, {s(10), false}}, 10, 10},
		{"half back", []Obs{{s(2), true}, {s(10), false}}, 10, 2 + 0.5*8},
		// S stays flat from the last censoring to the horizon.
		{"censored before the horizon", []Obs{{s(2), true}, {s(4), false}}, 10, 2 + 0.5*8},
		{"back after the horizon", []Obs{{s(20), true}}, 10, 10},
		{"horizon at the step", []Obs{{s(10), true}}, 10, 10},
		{"no horizon", []Obs{{s(1), true}}, 0, 0},
	} {
		if got := KaplanMeier(tc.obs).RMTA(s(tc.horizon)) / 1e9; math.Abs(got-tc.want) > 1e-9 {
			t.Errorf("%s: %v, want %v", tc.name, got, tc.want)
		}
	}
}

func TestFraction(t *testing.T) {
	c := KaplanMeier([]Obs{{1, true}, {1, true}, {3, true}, {5, false}})
	for at, want := range map[int64]float64{0: 0, 1: 0.5, 2: 0.5, 3: 0.75, 4: 0.75, 99: 0.75} {
		if got := c.Fraction(at); got != want {
			t.Errorf("fraction back at %d = %v, want %v", at, got, want)
		}
	}
	if got := KaplanMeier(nil).Fraction(5); got != 0 {
		t.Errorf("fraction of nobody = %v", got)
	}
}

func TestKaplanMeierEdges(t *testing.T) {
	if _, ok := KaplanMeier(nil).Quantile(0.5); ok {
		t.Error("nobody reached a median")
	}
	c := KaplanMeier([]Obs{{-5, true}, {0, true}})
	if len(c.Steps) != 1 || c.Steps[0].T != 0 || c.Steps[0].S != 0 {
		t.Errorf("times below 0: %+v", c.Steps)
	}
	// All back at one instant: S goes from 1 to 0, where no interval exists.
	if s := c.Steps[0]; s.Low != 0 || s.High != 1 {
		t.Errorf("interval at 0: %v to %v", s.Low, s.High)
	}
	// A return and a censoring at one instant: the censored one was still at risk.
	c = KaplanMeier([]Obs{{7, false}, {7, true}})
	if s := c.Steps[0]; s.AtRisk != 2 || s.S != 0.5 || s.Censored != 1 {
		t.Errorf("tie: %+v", s)
	}
}

func drawObs(t *rapid.T, back *rapid.Generator[bool]) []Obs {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Obs {
		return Obs{Time: rapid.Int64Range(0, 60e9).Draw(t, "time"), Back: back.Draw(t, "back")}
	}), 1, 120).Draw(t, "obs")
}

// Without censoring the curve is the plain share, exactly, and its quantiles
// are those of the sorted times.
func TestNoCensoringIsEmpirical(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		obs := drawObs(t, rapid.Just(true))
		c := KaplanMeier(obs)
		var times []int64
		for _, o := range obs {
			times = append(times, o.Time)
		}
		slices.Sort(times)
		sum := 0.0
		for i, at := range times {
			sum += float64(at)
			if i+1 < len(times) && times[i+1] == at {
				continue
			}
			if got, want := 1-c.Fraction(at), float64(len(times)-i-1)/float64(len(times)); math.Abs(got-want) > 1e-15 {
				t.Fatalf("S(%d) = %v, want %v", at, got, want)
			}
		}
		for _, p := range []float64{0.5, 0.9, 0.99, 1} {
			want := times[rank(p, int64(len(times)))-1]
			if got, ok := c.Quantile(p); !ok || got != want {
				t.Fatalf("q%v = %d, want %d", p, got, want)
			}
		}
		if mean := sum / float64(len(times)); math.Abs(c.RMTA(60e9)-mean) > 1e-6*60e9 {
			t.Fatalf("area %v, want the mean %v", c.RMTA(60e9), mean)
		}
	})
}

func TestAllCensoredIsNeverReached(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		obs := drawObs(t, rapid.Just(false))
		c := KaplanMeier(obs)
		if _, ok := c.Quantile(0.01); ok || c.Back != 0 {
			t.Fatal("a quantile is reached though nobody came back")
		}
		if c.RMTA(60e9) != 60e9 {
			t.Fatalf("area %v, want the horizon", c.RMTA(60e9))
		}
		s := SurvivalSummary(obs, 60e9)
		if s.N != 0 || s.Censored != int64(len(obs)) || s.P50 != nil || s.Max != nil || s.Mean != nil {
			t.Fatalf("%+v", s)
		}
	})
}

// k clients that never return before one common horizon: a quantile is reached
// exactly when it lies below their share, and none gets better by their absence.
func TestCensoredHidesNoPercentile(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		back := drawObs(t, rapid.Just(true))
		k := rapid.IntRange(1, 40).Draw(t, "k")
		obs := slices.Clone(back)
		for range k {
			obs = append(obs, Obs{Time: 60e9})
		}
		with, without := KaplanMeier(obs), KaplanMeier(back)
		for _, p := range []float64{0.1, 0.5, 0.9, 0.99, 1} {
			at, ok := with.Quantile(p)
			if want := rank(p, int64(len(obs))) <= int64(len(back)); ok != want {
				t.Fatalf("q%v with %d of %d censored: reached %v, want %v", p, k, len(obs), ok, want)
			}
			if least, _ := without.Quantile(p); ok && at < least {
				t.Fatalf("q%v = %d with censored clients, %d without", p, at, least)
			}
		}
		if s := SurvivalSummary(obs, 60e9); s.Max != nil || s.Mean != nil || s.N != int64(len(back)) || s.Censored != int64(k) {
			t.Fatalf("%+v", s)
		}
		if with.RMTA(60e9) < without.RMTA(60e9) {
			t.Fatal("the area shrank with censored clients")
		}
	})
}

func TestCurveHolds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		obs := drawObs(t, rapid.Bool())
		c := KaplanMeier(obs)
		s, at, censored := 1.0, int64(-1), 0
		for _, st := range c.Steps {
			if st.S > s || st.T <= at || st.Censored < censored {
				t.Fatalf("not monotone at %+v", st)
			}
			if st.Low < 0 || st.Low > st.S+1e-12 || st.High < st.S-1e-12 || st.High > 1 {
				t.Fatalf("interval %v to %v of %v", st.Low, st.High, st.S)
			}
			s, at, censored = st.S, st.T, st.Censored
		}
		if c.Back+censored != len(obs) {
			t.Fatalf("%d back + %d censored of %d", c.Back, censored, len(obs))
		}
	})
}

func TestSurvivalSummary(t *testing.T) {
	var obs []Obs
	for i := range 400 {
		obs = append(obs, Obs{Time: int64(i+1) * 1e6, Back: true})
	}
	s := SurvivalSummary(obs, 60e9)
	if s.N != 400 || s.Censored != 0 || math.Abs(*s.P50-0.2) > 0.0005 || s.Mean == nil || !slices.Equal(s.LowN, []string{"p999"}) {
		t.Errorf("nothing censored: %+v", s)
	}
	// One of 400 stays away: p99 is read from the curve, max is not reached.
	obs[399].Time = 61e9
	s = SurvivalSummary(obs, 60e9)
	if s.N != 399 || s.Censored != 1 || *s.P99 != 0.396 || s.Max != nil || s.P999 != nil {
		t.Errorf("one back after the horizon: %+v", s)
	}
	if obs[399].Time != 61e9 {
		t.Error("the caller's observations were changed")
	}
}
