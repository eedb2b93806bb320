package reports

import (
	"encoding/json"
	"math"
	"strconv"

	"github.com/rebound-mqtt/rebound/reports/svg"
)

// plotData is a chart for the script of the page, which draws it anew with
// zoom, hover and a common cursor.
type plotData struct {
	Unit   string       `json:"unit"`  // of Y: s | "" | %
	XUnit  string       `json:"xunit"` // s | percentile
	Group  string       `json:"group"` // charts of one group have one cursor and one zoom
	Log    [2]bool      `json:"log"`   // X, Y
	X      [2]short     `json:"x"`     // ends of the axes
	Y      [2]short     `json:"y"`
	Height float64      `json:"height"`
	YLabel string       `json:"ylabel"`
	XLabel string       `json:"xlabel"`
	Bands  []plotBand   `json:"bands"`
	Series []plotSeries `json:"series"`
}

type plotBand struct {
	From short `json:"from"`
	To   short `json:"to"`
}

type plotSeries struct {
	Name  string  `json:"name"`
	Style int     `json:"style"`
	Kind  string  `json:"kind"`
	X     []short `json:"x"`
	Y     []value `json:"y"`
	Low   []value `json:"low,omitempty"`
}

// short is a number with seven significant digits, value one with five; what is
// not a number is null.
type (
	short float64
	value float64
)

// MarshalJSON implements json.Marshaler.
func (s short) MarshalJSON() ([]byte, error) { return rounded(float64(s), 7) }

// MarshalJSON implements json.Marshaler.
func (v value) MarshalJSON() ([]byte, error) { return rounded(float64(v), 5) }

func rounded(v float64, digits int) ([]byte, error) {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return []byte("null"), nil
	}
	near, err := strconv.ParseFloat(strconv.FormatFloat(v, 'g', digits, 64), 64)
	if err != nil {
		return nil, err
	}
	return json.Marshal(near)
}

func numbers[T ~float64](vs []float64) []T {
	out := make([]T, len(vs))
	for i, v := range vs {
		out[i] = T(v)
	}
	return out
}

func plot(x svg.XY, unit, group string) *plotData {
	d := &plotData{Unit: unit, XUnit: map[bool]string{true: "percentile", false: "s"}[x.X.Scale == svg.Percentile], Group: group, Log: [2]bool{x.X.Scale == svg.Log, x.Y.Scale == svg.Log},
		X: [2]short{short(x.X.Min), short(x.X.Max)}, Y: [2]short{short(x.Y.Min), short(x.Y.Max)}, Height: x.Height,
		XLabel: x.X.Label, YLabel: x.Y.Label, Bands: []plotBand{}}
	for _, b := range x.Bands {
		d.Bands = append(d.Bands, plotBand{short(b.From), short(b.To)})
	}
	for _, s := range x.Series {
		d.Series = append(d.Series, plotSeries{Name: oneLine(s.Name, 60), Style: s.Style, Kind: s.Kind.String(),
			X: numbers[short](s.X), Y: numbers[value](s.Y), Low: numbers[value](s.Low)})
	}
	return d
}
