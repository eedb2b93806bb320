package measure

import (
	"bytes"
	"compress/zlib"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/rebound-mqtt/rebound/reports"
)

func TestCountsReadBackExactly(t *testing.T) {
	for _, v := range []int64{0, 1, 2, 3, 31, 100, 511, 512, 1000, 1023, 1024, 2047} {
		h := NewHist(Count)
		h.Record(v)
		if got, ok := h.Quantile(0.5); !ok || got != v {
			t.Errorf("count %d reads back as %d, %v", v, got, ok)
		}
		s := h.Summary(0)
		if *s.P50 != float64(v) || *s.Max != float64(v) || *s.Mean != float64(v) {
			t.Errorf("count %d: summary p50 %v max %v mean %v", v, *s.P50, *s.Max, *s.Mean)
		}
	}
}

// The reason for two units: in the range of times small counts are one value.
func TestCountsNeedTheirOwnRange(t *testing.T) {
	times := hdrhistogram.New(1_000, 3_600_000_000_000, digits)
	for _, v := range []int64{1, 3, 31} {
		times.Reset()
		if err := times.RecordValue(v); err != nil {
			t.Fatal(err)
		}
		if got := times.ValueAtPercentile(50); got != 511 {
			t.Errorf("a count of %d in the range of times reads back as %d, want 511", v, got)
		}
	}
}

func TestTimesKeepThreeDigits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := rapid.Int64Range(0, 3_600_000_000_000).Draw(t, "ns")
		h := NewHist(Nanoseconds)
		h.Record(v)
		got, ok := h.Quantile(1)
		if diff := math.Abs(float64(got - v)); !ok || diff > max(512, float64(v)/1000) {
			t.Fatalf("%d ns reads back as %d", v, got)
		}
	})
}

func TestOutsideTheRangeIsOverflow(t *testing.T) {
	for _, tc := range []struct {
		unit Unit
		v    int64
		over int64
	}{
		{Nanoseconds, -1, 1}, {Nanoseconds, math.MinInt64, 1}, {Nanoseconds, 0, 0},
		{Nanoseconds, 3_600_000_000_000, 0}, {Nanoseconds, 3_600_000_000_001, 1}, {Nanoseconds, math.MaxInt64, 1},
		{Count, -1, 1}, {Count, 10_000_000, 0}, {Count, 10_000_001, 1},
	} {
		h := NewHist(tc.unit)
		h.Record(tc.v)
		if h.N() != 1 || h.Overflow() != tc.over {
			t.Errorf("%s %d: N %d overflow %d, want 1 and %d", tc.unit, tc.v, h.N(), h.Overflow(), tc.over)
		}
	}
}

// A quantile that falls into the overflow is not known: it is never read from
// the values that happened to fit.
func TestOverflowHidesNoQuantile(t *testing.T) {
	h := NewHist(Nanoseconds)
	h.RecordN(1e9, 95)
	h.RecordN(math.MaxInt64, 5)
	s := h.Summary(0)
	if s.N != 100 || s.Overflow != 5 || s.P50 == nil || s.P90 == nil {
		t.Errorf("p50 and p90 of 95 good values: %+v", s)
	}
	if s.P99 != nil || s.P999 != nil || s.Max != nil || s.Mean != nil {
		t.Errorf("quantiles inside the overflow must be nil: %+v", s)
	}
}

func TestQuantileIsTheSmallestValueWithItsShareBelow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOfN(rapid.Int64Range(0, 2047), 1, 200).Draw(t, "values")
		q := rapid.SampledFrom([]float64{0.1, 0.5, 0.9, 0.99, 0.999, 1}).Draw(t, "q")
		h := NewHist(Count)
		for _, v := range values {
			h.Record(v)
		}
		slices.Sort(values)
		want := values[rank(q, int64(len(values)))-1]
		if got, ok := h.Quantile(q); !ok || got != want {
			t.Fatalf("q%v of %v = %d, want %d", q, values, got, want)
		}
	})
}

func TestRank(t *testing.T) {
	for _, tc := range []struct {
		q    float64
		n    int64
		want int64
	}{{0.5, 1, 1}, {0.5, 2, 1}, {0.5, 4, 2}, {0.5, 5, 3}, {0.9, 10, 9}, {0.9, 16, 15}, {0.99, 100, 99}, {0.99, 101, 100}, {1, 7, 7}, {0, 7, 1}} {
		if got := rank(tc.q, tc.n); got != tc.want {
			t.Errorf("rank(%v, %d) = %d, want %d", tc.q, tc.n, got, tc.want)
		}
	}
}

func TestSummary(t *testing.T) {
	if diff := cmp.Diff(reports.Quantile{Censored: 3}, NewHist(Nanoseconds).Summary(3)); diff != "" {
		t.Errorf("empty: (-want +got)\n%s", diff)
	}
	h := NewHist(Nanoseconds)
	h.RecordN(2_000_000_000, 300)
	s := h.Summary(0)
	if s.N != 300 || math.Abs(*s.P99-2) > 0.002 || math.Abs(*s.Mean-2) > 0.002 {
		t.Errorf("300 times 2 s: %+v", s)
	}
	zero := NewHist(Nanoseconds)
	zero.Record(0)
	if got := *zero.Summary(0).P50; got != 0 {
		t.Errorf("a time of 0 reads back as %v s", got)
	}
}

func TestLowN(t *testing.T) {
	for _, tc := range []struct {
		n    int64
		want []string
	}{
		{0, nil},
		{1, []string{"p50", "p90", "p99", "p999"}},
		{5, []string{"p90", "p99", "p999"}},
		{28, []string{"p90", "p99", "p999"}},
		{29, []string{"p99", "p999"}},
		{298, []string{"p99", "p999"}},
		{299, []string{"p999"}},
		{2994, []string{"p999"}},
		{2995, nil},
	} {
		if diff := cmp.Diff(tc.want, lowN(tc.n)); diff != "" {
			t.Errorf("%d values: (-want +got)\n%s", tc.n, diff)
		}
	}
	for _, q := range []struct {
		q float64
		n int
	}{{0.5, 5}, {0.9, 29}, {0.99, 299}, {0.999, 2995}} {
		if 1-math.Pow(q.q, float64(q.n)) < 0.95 || 1-math.Pow(q.q, float64(q.n-1)) >= 0.95 {
			t.Errorf("q %v: %d is not the smallest number with 1 - q^n >= 0.95", q.q, q.n)
		}
	}
}

func TestMerge(t *testing.T) {
	a, b := NewHist(Count), NewHist(Count)
	a.Record(1)
	a.Record(-1)
	b.Record(31)
	b.AddOverflow(4)
	a.Merge(b)
	a.Merge(nil)
	if a.N() != 7 || a.Overflow() != 5 {
		t.Errorf("N %d overflow %d", a.N(), a.Overflow())
	}
	if v, ok := a.Quantile(2.0 / 7); !ok || v != 31 {
		t.Errorf("the second value is %d, want 31", v)
	}
	if b.N() != 5 {
		t.Errorf("the merged histogram changed: N %d", b.N())
	}
	defer func() {
		if recover() == nil {
			t.Error("merging times into counts must not pass")
		}
	}()
	a.Merge(NewHist(Nanoseconds))
}

// What the library drops in a merge is counted.
func TestMergeCountsDropped(t *testing.T) {
	a, wide := NewHist(Count), NewHist(Count)
	wide.hdr = hdrhistogram.New(1, 1_000_000_000, digits)
	if err := wide.hdr.RecordValues(900_000_000, 3); err != nil {
		t.Fatal(err)
	}
	a.Merge(wide)
	if a.N() != 3 || a.Overflow() != 3 {
		t.Errorf("N %d overflow %d, want 3 and 3", a.N(), a.Overflow())
	}
}

func TestEncodeRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		unit := rapid.SampledFrom([]Unit{Nanoseconds, Count}).Draw(t, "unit")
		_, high := unit.span()
		h := NewHist(unit)
		for _, v := range rapid.SliceOfN(rapid.Int64Range(0, high), 0, 50).Draw(t, "values") {
			h.Record(v)
		}
		got, err := DecodeHist(unit, h.Encode())
		if err != nil {
			t.Fatal(err)
		}
		if !got.hdr.Equals(h.hdr) || got.N() != h.N() {
			t.Fatal("not equal after a round trip")
		}
	})
}

func TestReportRoundTrip(t *testing.T) {
	h := NewHist(Count)
	h.Record(0)
	h.Record(3)
	h.Record(-1)
	r := h.To(reports.Histogram{Fleet: "devices", Phase: "storm", Metric: "loss"})
	if r.Tag() != "devices.storm.loss" || r.Unit != "count" || r.N != 3 || r.Overflow != 1 {
		t.Errorf("%+v", r)
	}
	back, err := HistOf(r)
	if err != nil || back.N() != 3 || back.Overflow() != 1 {
		t.Errorf("N %d overflow %d: %v", back.N(), back.Overflow(), err)
	}
	r.Unit = "furlong"
	if _, err := HistOf(r); !errors.Is(err, ErrHistogram) {
		t.Errorf("unit furlong: %v", err)
	}
}

func TestDecodeHistRefuses(t *testing.T) {
	other := func(low, high int64, digits int) string {
		b, err := hdrhistogram.New(low, high, digits).Encode(hdrhistogram.V2CompressedEncodingCookieBase)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	low, high := Nanoseconds.span()
	for name, s := range map[string]string{
		"other lowest": other(low+1, high, digits), "other highest": other(low, high-1, digits), "other digits": other(low, high, digits-1),
		"empty": "", "no base64": "%%%", "short": "AAAA", "no zlib": base64.StdEncoding.EncodeToString(make([]byte, 64)),
		"other unit": NewHist(Count).Encode(), "wide range": other(1, math.MaxInt64/2, 5), "long": strings.Repeat("A", maxEncoded+1),
		"cut": NewHist(Nanoseconds).Encode()[:60],
	} {
		if _, err := DecodeHist(Nanoseconds, s); !errors.Is(err, ErrHistogram) {
			t.Errorf("%s: %v, want ErrHistogram", name, err)
		}
	}
}

// All buckets full fit below the limit that DecodeHist sets.
func TestFullHistogramDecodes(t *testing.T) {
	for _, u := range []Unit{Nanoseconds, Count} {
		h := NewHist(u)
		_, high := u.span()
		n := int64(1)
		for v := int64(0); v <= high; v = max(v+1, v+v/2048) {
			n = n*6364136223846793005 + 1442695040888963407
			h.RecordN(v, n&(1<<34-1)+1)
		}
		if _, err := DecodeHist(u, h.Encode()); err != nil {
			t.Errorf("%s: %d characters: %v", u, len(h.Encode()), err)
		}
	}
}

func FuzzDecodeHist(f *testing.F) {
	h := NewHist(Nanoseconds)
	h.Record(5e9)
	f.Add(h.Encode())
	f.Add(NewHist(Count).Encode())
	f.Add("HISTFAAA")
	var z bytes.Buffer
	w := zlib.NewWriter(&z)
	if err := binary.Write(w, binary.BigEndian, header{Digits: 3, Lowest: 1000, Highest: 3_600_000_000_000, Payload: 9}); err != nil {
		f.Fatal(err)
	}
	if err := w.Close(); err != nil {
		f.Fatal(err)
	}
	f.Add(base64.StdEncoding.EncodeToString(append(make([]byte, 8), z.Bytes()...)))
	f.Fuzz(func(t *testing.T, s string) {
		for _, u := range []Unit{Nanoseconds, Count} {
			h, err := DecodeHist(u, s)
			if err != nil {
				continue
			}
			again, err := DecodeHist(u, h.Encode())
			if err != nil || !again.hdr.Equals(h.hdr) {
				t.Fatalf("does not round-trip: %v", err)
			}
		}
	})
}

func TestRecorderLosesNothing(t *testing.T) {
	r := NewRecorder(Count)
	const workers, each = 8, 5_000
	stop := make(chan struct{})
	var records, swaps sync.WaitGroup
	got := NewHist(Count)
	swaps.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				got.Merge(r.Swap())
			}
		}
	})
	for w := range workers {
		records.Go(func() {
			for i := range each {
				r.Record(int64(i % (w + 2)))
			}
			r.Record(-1)
		})
	}
	records.Wait()
	close(stop)
	swaps.Wait()
	got.Merge(r.Swap())
	if got.N() != workers*(each+1) || got.Overflow() != workers {
		t.Errorf("N %d overflow %d, want %d and %d", got.N(), got.Overflow(), workers*(each+1), workers)
	}
	if n := r.Swap().N(); n != 0 {
		t.Errorf("%d values in an interval in which nothing was recorded", n)
	}
}

func TestRecorderSnapshotLeavesValuesIn(t *testing.T) {
	r := NewRecorder(Nanoseconds)
	r.Record(1e6)
	if a, b, c := r.Snapshot().N(), r.Snapshot().N(), r.Swap().N(); a != 1 || b != 1 || c != 1 {
		t.Errorf("snapshots %d and %d, swap %d, want 1 each", a, b, c)
	}
}

func TestRecordDoesNotAllocate(t *testing.T) {
	r := NewRecorder(Nanoseconds)
	if n := testing.AllocsPerRun(1000, func() { r.Record(123_456_789); r.Record(-1) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkHistRecord(b *testing.B) {
	h := NewHist(Nanoseconds)
	b.ReportAllocs()
	for v := int64(0); b.Loop(); v += 977 {
		h.Record(v & (1<<35 - 1))
	}
}

func BenchmarkRecorder(b *testing.B) {
	r := NewRecorder(Nanoseconds)
	b.ReportAllocs()
	for v := int64(0); b.Loop(); v += 977 {
		r.Record(v & (1<<35 - 1))
	}
}

func BenchmarkRecorderParallel(b *testing.B) {
	r := NewRecorder(Nanoseconds)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for v := int64(0); pb.Next(); v += 977 {
			r.Record(v & (1<<35 - 1))
		}
	})
}

func BenchmarkSwap(b *testing.B) {
	r := NewRecorder(Nanoseconds)
	for b.Loop() {
		r.Swap()
	}
}
