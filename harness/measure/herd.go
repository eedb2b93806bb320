package measure

import (
	"slices"

	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/reports"
)

// herdBin is the width over which CONNECTs are counted: 10 ms.
const herdBin = 10_000_000

// Herd gives the shape of one wave's stampede from the instants of its CONNECTs,
// in any order; zero instants never happened and are left out. The bins start
// at the first CONNECT, and the mean goes over the bins from the first to the
// last. Amplification is CONNECTs per hit: 0 without hits, where it is not known.
func Herd(connects []timeline.Instant, hits int) reports.Herd {
	at := slices.DeleteFunc(slices.Clone(connects), func(i timeline.Instant) bool { return i == 0 })
	h := reports.Herd{Connects: len(at)}
	if len(at) == 0 {
		return h
	}
	slices.Sort(at)
	bin, n := timeline.Instant(0), 0
	for _, i := range at {
		b := (i - at[0]) / herdBin
		if b != bin {
			bin, n = b, 0
		}
		n++
		h.Peak = max(h.Peak, n)
	}
	bins := float64(bin + 1)
	h.PeakToMean = float64(h.Peak) * bins / float64(len(at))
	if hits > 0 {
		h.Amplification = float64(len(at)) / float64(hits)
	}
	return h
}
