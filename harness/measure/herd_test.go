package measure

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/reports"
)

func TestHerd(t *testing.T) {
	const ms = timeline.Instant(1e6)
	for _, tc := range []struct {
		name string
		at   []timeline.Instant
		hits int
		want reports.Herd
	}{
		{"nobody", nil, 5, reports.Herd{}},
		{"one", []timeline.Instant{7 * ms}, 1, reports.Herd{Connects: 1, Peak: 1, PeakToMean: 1, Amplification: 1}},
		{"never is left out", []timeline.Instant{0, 7 * ms, 0}, 1, reports.Herd{Connects: 1, Peak: 1, PeakToMean: 1, Amplification: 1}},
		{"all at once", []timeline.Instant{5, 5, 5, 5}, 2, reports.Herd{Connects: 4, Peak: 4, PeakToMean: 1, Amplification: 2}},
		// Bins from the first: [3,13) has 3, [13,23) none, [23,33) 1. Mean 4/3.
		{"unsorted", []timeline.Instant{23 * ms, 3 * ms, 12 * ms, 4 * ms}, 4, reports.Herd{Connects: 4, Peak: 3, PeakToMean: 2.25, Amplification: 1}},
		{"border of a bin", []timeline.Instant{1 * ms, 11*ms - 1, 11 * ms}, 3, reports.Herd{Connects: 3, Peak: 2, PeakToMean: 4.0 / 3, Amplification: 1}},
		{"no hits", []timeline.Instant{1}, 0, reports.Herd{Connects: 1, Peak: 1, PeakToMean: 1}},
	} {
		if diff := cmp.Diff(tc.want, Herd(tc.at, tc.hits), cmpopts.EquateApprox(1e-12, 0)); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", tc.name, diff)
		}
	}
}

func TestHerdHolds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		at := rapid.SliceOfN(rapid.Map(rapid.Int64Range(1, 1e9), func(v int64) timeline.Instant { return timeline.Instant(v) }), 1, 200).Draw(t, "at")
		h := Herd(at, len(at))
		if h.Peak < 1 || h.Peak > h.Connects || h.PeakToMean < 1-1e-9 || h.Amplification != 1 {
			t.Fatalf("%+v", h)
		}
	})
}
