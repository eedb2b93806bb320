package reports

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// The library's own check of tags looks only at their middle and lets " b"
// pass, which breaks the line of a log.
var tagRE = regexp.MustCompile(`^[A-Za-z0-9_.-]+$`)

// Units of a Histogram.
const (
	unitNS    = "ns"
	unitCount = "count"
)

// AboutLoss says that the histogram belongs in loss.hlog: it holds counts, or
// the length of gaps in what was delivered (metrics gap… and loss…).
func (h Histogram) AboutLoss() bool {
	return h.Unit == unitCount || strings.HasPrefix(h.Metric, "gap") || strings.HasPrefix(h.Metric, "loss")
}

// decode gives the histogram itself, and holds it against what it says of itself.
func (h Histogram) decode() (*hdrhistogram.Histogram, error) {
	if !tagRE.MatchString(h.Tag()) {
		return nil, fmt.Errorf("%w: %q", ErrTag, h.Tag())
	}
	if h.Unit != unitNS && h.Unit != unitCount {
		return nil, fmt.Errorf("%w: %s has unit %q, not ns or count", ErrHistogram, h.Tag(), h.Unit)
	}
	hdr, err := hdrhistogram.Decode([]byte(h.V2))
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrHistogram, h.Tag(), err)
	}
	if n := hdr.TotalCount(); n != h.N {
		return nil, fmt.Errorf("%w: %s says n=%d and holds %d", ErrHistogram, h.Tag(), h.N, n)
	}
	return hdr, nil
}

// series is all histograms of one tag: the intervals that add up to the whole.
type series struct {
	Histogram             // of the whole: N and Overflow summed, V2 empty
	parts     []Histogram // in order of time, never empty
}

// allSeries groups histograms by tag, sorted. Where a tag has both the whole
// phase (wave 0) and its waves, the waves are the parts if they add up to the
// whole; else the whole alone is, so that adding lines never counts twice and
// never leaves any out.
func allSeries(hs []Histogram) []series {
	byTag := map[string][]Histogram{}
	for _, h := range hs {
		byTag[h.Tag()] = append(byTag[h.Tag()], h)
	}
	var out []series
	for _, group := range byTag {
		parts := withoutDoubles(group)
		slices.SortStableFunc(parts, func(a, b Histogram) int {
			return cmp.Or(cmp.Compare(a.Start, b.Start), cmp.Compare(a.Wave, b.Wave))
		})
		s := series{Histogram: parts[0], parts: parts}
		s.V2, s.Wave, s.N, s.Overflow, s.Censored = "", 0, 0, 0, 0
		for _, p := range parts {
			s.N, s.Overflow, s.Censored, s.End = s.N+p.N, s.Overflow+p.Overflow, s.Censored+p.Censored, max(s.End, p.End)
		}
		for _, h := range group {
			if h.Wave == 0 { // a wave without any value may have no histogram, and its censored count all the same
				s.Censored = max(s.Censored, h.Censored)
			}
		}
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b series) int { return cmp.Compare(a.Tag(), b.Tag()) })
	return out
}

func withoutDoubles(group []Histogram) []Histogram {
	var whole, waves []Histogram
	var nWhole, nWaves int64
	for _, h := range group {
		if h.Wave == 0 {
			whole, nWhole = append(whole, h), nWhole+h.N+h.Overflow
		} else {
			waves, nWaves = append(waves, h), nWaves+h.N+h.Overflow
		}
	}
	if len(whole) == 0 || len(waves) > 0 && nWaves == nWhole {
		return waves
	}
	return whole
}

// merged is the whole of a series.
func (s series) merged() (*hdrhistogram.Histogram, error) {
	var all *hdrhistogram.Histogram
	for _, p := range s.parts {
		h, err := p.decode()
		if err != nil {
			return nil, err
		}
		if all == nil {
			all = h
			continue
		}
		if dropped := all.Merge(h); dropped > 0 {
			return nil, fmt.Errorf("%w: %s: %d values of one interval are above the range of another", ErrHistogram, s.Tag(), dropped)
		}
	}
	return all, nil
}
