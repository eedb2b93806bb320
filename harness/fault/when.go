package fault

import (
	"math"
	"math/rand/v2"
	"time"

	"github.com/rebound-mqtt/rebound/scenarios"
)

// poissonStream keeps the gaps of a Poisson process apart from other uses of
// one seed.
const poissonStream = 0x706f_6973_736f_6e

// when says how a fault lays its victims out in time, from the start of the
// wave: the first at after, the others evenly over spread, or at rate, or as a
// Poisson process of a rate.
type when struct {
	after, spread time.Duration
	rate, poisson float64 // victims per second; 0 = not given
}

func readWhen(f *scenarios.Fields, kind string) when {
	w := when{f.Duration("after", 0), f.Duration("spread", 0), f.Rate("rate", 0), f.Rate("poisson", 0)}
	last := ""
	for _, key := range []string{"spread", "rate", "poisson"} {
		if f.Has(key) && last != "" {
			f.Fail(key, "%s has at most one of spread, rate and poisson", kind)
			break
		}
		if f.Has(key) {
			last = key
		}
	}
	return w
}

// describe is the reverse of readWhen, for the reader of the plan.
func (w when) describe(params map[string]string) {
	params["after"] = w.after.String()
	switch {
	case w.rate > 0:
		params["rate"] = scenarios.FormatRate(w.rate)
	case w.poisson > 0:
		params["poisson"] = scenarios.FormatRate(w.poisson)
	default:
		params["spread"] = w.spread.String()
	}
}

// offsets gives the instant of each of n victims, from the start of the wave.
func (w when) offsets(n int, seed uint64) []time.Duration {
	rng := rand.New(rand.NewPCG(seed, poissonStream))
	out := make([]time.Duration, n)
	at := 0.0 // seconds
	for i := range out {
		switch {
		case w.rate > 0:
			at = float64(i) / w.rate
		case w.poisson > 0: // the gaps are exponential, the one before the first too
			at += rng.ExpFloat64() / w.poisson
		default:
			out[i] = w.after + time.Duration(float64(w.spread)*float64(i)/float64(n))
			continue
		}
		out[i] = w.after + time.Duration(min(at*float64(time.Second), math.MaxInt64/4))
	}
	return out
}
