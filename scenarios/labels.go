package scenarios

import (
	"hash/fnv"
	"maps"
	"math"
	"math/rand/v2"
	"regexp"
	"slices"
)

// labelForm is the form of a label's name and of its values.
var labelForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)

// labels reads the labels of a fleet: for each the shares of its values.
func labels(f *Fields) map[string]map[string]float64 {
	if len(f.vals) == 0 {
		return nil
	}
	out := map[string]map[string]float64{}
	for _, name := range f.Keys() {
		if !labelForm.MatchString(name) {
			f.at(name).Fail("", "label %s: want a name of letters, digits, ., _ and -", quote(name))
		}
		values := f.Sub(name)
		shares, sum, complete := map[string]float64{}, 0.0, len(values.vals) > 0
		for _, value := range values.Keys() {
			if !labelForm.MatchString(value) {
				values.at(value).Fail("", "value %s: want a name of letters, digits, ., _ and -", quote(value))
			}
			share := values.Share(value, 0)
			if values.ok(value) && share == 0 {
				values.Fail(value, "%s is 0%%: no client would have it", value)
			}
			complete = complete && values.ok(value)
			shares[value] = share
			sum += share
		}
		if complete && math.Abs(sum-1) > 1e-9 {
			f.Fail(name, "the shares of label %s add up to %s, want 100%%", name, FormatShare(sum))
		}
		out[name] = shares
	}
	return out
}

// SetLabels counts the labels of a fleet out, each by largest remainder, and
// keeps the seed that decides which client has which.
func (f *PlanFleet) SetLabels(seed uint64) {
	if len(f.Labels) == 0 {
		return
	}
	f.LabelSeed, f.Labelled = seed, map[string]map[string]int{}
	for name, shares := range f.Labels {
		f.Labelled[name] = countOut(shares, f.Clients)
	}
}

// countOut splits n by largest remainder; of equal ones the first name wins.
func countOut(shares map[string]float64, n int) map[string]int {
	names := slices.Sorted(maps.Keys(shares))
	out := make(map[string]int, len(names))
	left := n
	for _, v := range names {
		out[v] = int(shares[v]*float64(n) + 1e-9)
		left -= out[v]
	}
	rest := func(v string) float64 { return shares[v]*float64(n) - float64(out[v]) }
	slices.SortStableFunc(names, func(a, b string) int {
		switch d := rest(a) - rest(b); {
		case d > 1e-9:
			return -1
		case d < -1e-9:
			return 1
		}
		return 0
	})
	for i := 0; left > 0; i, left = i+1, left-1 {
		out[names[i%len(names)]]++
	}
	return out
}

// With gives the clients whose label has a value, by index, lowest first.
func (f *PlanFleet) With(label, value string) []int {
	h := fnv.New64a()
	h.Write([]byte(label)) // a hash never fails to write
	order := rand.New(rand.NewPCG(f.LabelSeed, h.Sum64())).Perm(f.Clients)
	from := 0
	for _, v := range slices.Sorted(maps.Keys(f.Labelled[label])) {
		n := f.Labelled[label][v]
		if v == value {
			return slices.Sorted(slices.Values(order[from : from+n]))
		}
		from += n
	}
	return nil
}
