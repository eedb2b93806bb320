package reports

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// readLog reads a log with the library's own reader.
func readLog(t *testing.T, log []byte) []*hdrhistogram.Histogram {
	t.Helper()
	reader := hdrhistogram.NewHistogramLogReader(bytes.NewReader(log))
	var out []*hdrhistogram.Histogram
	for {
		h, err := reader.NextIntervalHistogram()
		if err != nil {
			t.Fatal(err)
		}
		if h == nil {
			return out
		}
		out = append(out, h)
	}
}

func TestLogsReadBack(t *testing.T) {
	for name, r := range fixtures(t) {
		var times, losses bytes.Buffer
		if err := errors.Join(writeReconnectLog(&times, r), writeLossLog(&losses, r)); err != nil {
			t.Fatal(err)
		}
		got := map[string]*hdrhistogram.Histogram{}
		for _, h := range append(readLog(t, times.Bytes()), readLog(t, losses.Bytes())...) {
			key := fmt.Sprintf("%s %d", h.Tag(), h.StartTimeMs())
			if got[key] != nil {
				t.Errorf("%s: %s stands twice", name, key)
			}
			got[key] = h
		}
		for _, h := range r.Histograms {
			want, err := h.decode()
			if err != nil {
				t.Fatal(err)
			}
			start := int64(1795515300250 + h.Start*1000 + 0.5)
			back := got[fmt.Sprintf("%s %d", h.Tag(), start)]
			switch {
			case back == nil:
				t.Errorf("%s: %s at %d is not there", name, h.Tag(), start)
			case back.TotalCount() != want.TotalCount() || back.ValueAtQuantile(50) != want.ValueAtQuantile(50) ||
				back.ValueAtQuantile(99) != want.ValueAtQuantile(99) || !back.Equals(want):
				t.Errorf("%s: %s read back is another", name, h.Tag())
			case back.EndTimeMs() != int64(1795515300250+h.End*1000+0.5):
				t.Errorf("%s: %s ends at %d", name, h.Tag(), back.EndTimeMs())
			}
		}
	}
}

func TestZeroLossIsInTheLog(t *testing.T) {
	var b bytes.Buffer
	if err := writeLossLog(&b, pass(t)); err != nil {
		t.Fatal(err)
	}
	for _, h := range readLog(t, b.Bytes()) {
		if h.Tag() == "devices.storm.loss.qos1" && h.TotalCount() == 1000 && h.Max() == 0 {
			return
		}
	}
	t.Error("1,000 outages without loss are not in loss.hlog")
}

// The lines of a tag must add up to the whole: never the whole and its waves.
func TestSeriesNeverCountTwice(t *testing.T) {
	h := func(wave int, n, overflow int64) Histogram {
		return Histogram{Fleet: "f", Phase: "p", Metric: "m", Wave: wave, N: n, Overflow: overflow}
	}
	c := func(h Histogram, censored int64) Histogram {
		h.Censored = censored
		return h
	}
	for _, tt := range []struct {
		name        string
		in          []Histogram
		n, censored int64
		parts       int
	}{
		{"whole alone", []Histogram{h(0, 5, 0)}, 5, 0, 1},
		{"waves alone", []Histogram{h(1, 2, 0), h(2, 3, 1)}, 5, 0, 2},
		{"both, adding up", []Histogram{h(0, 5, 1), h(1, 2, 0), h(2, 3, 1)}, 5, 0, 2},
		{"both, the whole has more", []Histogram{h(0, 9, 0), h(1, 2, 0), h(2, 3, 0)}, 9, 0, 1},
		{"censored of each wave", []Histogram{c(h(0, 5, 0), 3), c(h(1, 2, 0), 1), c(h(2, 3, 0), 2)}, 5, 3, 2},
		{"a wave from which nobody was back has no histogram", []Histogram{c(h(0, 5, 0), 30), h(2, 5, 0)}, 5, 30, 1},
	} {
		got := allSeries(tt.in)
		if len(got) != 1 || got[0].N != tt.n || got[0].Censored != tt.censored || len(got[0].parts) != tt.parts {
			t.Errorf("%s: %+v", tt.name, got)
		}
	}
}

func TestBadHistograms(t *testing.T) {
	good := histogramOf(t, "a", "b", 1, "c", unitNS, 0, 1, []int64{5e6})
	edit := func(f func(*Histogram)) Histogram { h := good; f(&h); return h }
	for _, tt := range []struct {
		name string
		h    Histogram
		want error
	}{
		{"space in a tag", edit(func(h *Histogram) { h.Fleet = " b" }), ErrTag},
		{"slash in a tag", edit(func(h *Histogram) { h.Fleet = "../b" }), ErrTag},
		{"line break in a tag", edit(func(h *Histogram) { h.Metric = "c\n" }), ErrTag},
		{"no payload", edit(func(h *Histogram) { h.V2 = "" }), ErrHistogram},
		{"payload cut", edit(func(h *Histogram) { h.V2 = h.V2[:12] }), ErrHistogram},
		{"another count", edit(func(h *Histogram) { h.N = 2 }), ErrHistogram},
		{"unit", edit(func(h *Histogram) { h.Unit = "ms" }), ErrHistogram},
		{"ends before it starts", edit(func(h *Histogram) { h.End = -1 }), ErrHistogram},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := healthy()
			r.Histograms = []Histogram{tt.h}
			if err := errors.Join(writeReconnectLog(io.Discard, r), writeLossLog(io.Discard, r)); !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
}

// The published plotter splits on spaces and takes lines of four columns that
// do not begin with #.
func TestPercentileFilesReadBack(t *testing.T) {
	columns := regexp.MustCompile(` +`)
	for name, r := range fixtures(t) {
		files, err := percentileFiles(r)
		if err != nil {
			t.Fatal(err)
		}
		total := map[string]int64{}
		for _, s := range allSeries(r.Histograms) {
			total[s.Tag()+".hgrm"] = s.N
		}
		for _, file := range files {
			var b bytes.Buffer
			if err := file.Write(&b); err != nil {
				t.Fatal(err)
			}
			var last []string
			for _, line := range strings.Split(b.String(), "\n") {
				row := columns.Split(strings.TrimSpace(line), -1)
				if len(row) == 4 && !strings.HasPrefix(line, "#") {
					last = row
				}
			}
			if last == nil || last[1] != "1.000000" || last[2] != strconv.FormatInt(total[file.Name], 10) {
				t.Errorf("%s %s: last row %v, want the count %d", name, file.Name, last, total[file.Name])
			}
			if !strings.Contains(b.String(), "Censored") {
				t.Errorf("%s %s: no censored", name, file.Name)
			}
		}
	}
}

func TestBarsHoldEveryValue(t *testing.T) {
	counts := regexp.MustCompile(`│ +([0-9,]+)`)
	for _, tt := range []struct {
		name     string
		unit     string
		values   []int64
		overflow int64
		censored int64
	}{
		{"narrow", unitNS, spreadTimes(1000, 0.15, 0.16), 0, 0},
		{"wide", unitNS, spreadTimes(1000, 0.0001, 50), 0, 10},
		{"one", unitNS, []int64{123456789}, 1, 0},
		{"all the same", unitNS, []int64{1e9, 1e9, 1e9}, 0, 0},
		{"least", unitNS, []int64{1000, 1001}, 0, 0},
		{"nothing", unitNS, []int64{0, 0, 1}, 0, 0},
		{"from nothing", unitNS, []int64{0, 40, 5e6}, 0, 0},
		{"nobody back", unitNS, nil, 0, 5},
		{"zeros", unitCount, []int64{0, 0, 0}, 0, 0},
		{"counts", unitCount, []int64{0, 1, 2, 3, 4, 5, 9, 10, 19, 20, 99999, 10_000_000}, 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := histogramOf(t, "f", "p", 0, "m", tt.unit, 0, 1, tt.values)
			h.Overflow = tt.overflow
			hdr, err := h.decode()
			if err != nil {
				t.Fatal(err)
			}
			text := bars(h, hdr, tt.censored)
			var sum int64
			for _, m := range counts.FindAllStringSubmatch(text, -1) {
				n, _ := strconv.ParseInt(strings.ReplaceAll(m[1], ",", ""), 10, 64)
				sum += n
			}
			if want := int64(len(tt.values)) + tt.overflow + tt.censored; sum != want {
				t.Errorf("rows add up to %d of %d:\n%s", sum, want, text)
			}
			if rows := strings.Count(text, "\n"); rows > 35 {
				t.Errorf("%d rows", rows)
			}
		})
	}
	if bars(Histogram{}, hdrhistogram.New(1, 10, 3), 0) != "no values (n=0)\n" {
		t.Error("an empty histogram")
	}
}

// Whatever a histogram says of itself: a log is refused, or it reads back with
// the same tag, span and values.
func FuzzLog(f *testing.F) {
	f.Add("devices", "storm", "outage", unitNS, 7.05, 7.31, "2026-11-24T10:15:00.25Z", int64(5e6), int64(3), false)
	f.Add("a.b", "c_d", "loss.qos1", unitCount, 0.0, 1e6, "", int64(31), int64(1), false)
	f.Add("devices", "storm", "outage", unitNS, -1.0, 0.5, "1969-12-31T23:59:59Z", int64(1), int64(1), false)
	f.Add("x,y", "\n#", "Tag=z", unitNS, 0.0005, 1e300, "2026-11-24T10:15:00.9999Z", int64(1e12), int64(1), true)
	f.Fuzz(func(t *testing.T, fleet, phase, metric, unit string, start, end float64, at string, value, n int64, cutV2 bool) {
		hdr := hdrhistogram.New(1, 3600e9, 3)
		if hdr.RecordValues(value, max(1, n%1000)) != nil {
			return
		}
		v2, err := hdr.EncodeV2()
		if err != nil {
			t.Fatal(err)
		}
		h := Histogram{Fleet: fleet, Phase: phase, Metric: metric, Unit: unit, Start: start, End: end, N: hdr.TotalCount(), V2: string(v2)}
		if cutV2 {
			h.V2 = h.V2[:len(h.V2)/2]
		}
		r := healthy()
		r.Run.StartedAt, r.Histograms = at, []Histogram{h}
		var times, losses bytes.Buffer
		if err := errors.Join(writeReconnectLog(&times, r), writeLossLog(&losses, r)); err != nil {
			if !errors.Is(err, ErrTag) && !errors.Is(err, ErrHistogram) {
				t.Fatalf("refused for another reason: %v", err)
			}
			return
		}
		got := append(readLog(t, times.Bytes()), readLog(t, losses.Bytes())...)
		if len(got) != 1 {
			t.Fatalf("%d lines of one histogram", len(got))
		}
		base, offset := logBase(at)
		if back := got[0]; back.Tag() != h.Tag() || !back.Equals(hdr) || math.Abs(float64(back.StartTimeMs()-base)-(start+offset)*1e3) > 2 { // the line is rounded to ms, and the library's reader cuts what floats make of it
			t.Errorf("read back as %s at %d, was %s at %g", back.Tag(), back.StartTimeMs(), h.Tag(), start)
		}
	})
}
