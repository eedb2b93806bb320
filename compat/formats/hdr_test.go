package formats

import (
	"encoding/json"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/google/go-cmp/cmp"
)

// interval is a line of a log as hdr-histogram-js reads it; times in ms of the
// epoch, values in ns or counts.
type interval struct {
	Tag   string  `json:"tag"`
	Start float64 `json:"start"`
	End   float64 `json:"end"`
	N     int64   `json:"n"`
	P50   int64   `json:"p50"`
	P99   int64   `json:"p99"`
}

// foreign is what hdr-histogram-js makes of the logs of a folder.
type foreign struct {
	Intervals []interval        `json:"intervals"`
	Texts     map[string]string `json:"texts"` // percentile text by tag
}

func readByNode(t *testing.T, dir string) foreign {
	t.Helper()
	node := program(t, "node", "apt-get install nodejs npm")
	if _, err := os.Stat("../node/node_modules/hdr-histogram-js"); err != nil {
		missing(t, "hdr-histogram-js: npm ci in compat/node")
	}
	cmd := exec.Command(node, "../node/hdr.js", filepath.Join(dir, "reconnect.hlog"), filepath.Join(dir, "loss.hlog"))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var f foreign
	if err := json.Unmarshal(out, &f); err != nil {
		t.Fatal(err)
	}
	return f
}

// Each line of the logs is a histogram of report.json, with the same tag, start,
// count, p50 and p99; and the lines of a tag add up to the whole of its phase.
func TestLogsReadAsTheReport(t *testing.T) {
	each(t, func(t *testing.T, dir string, r report) {
		at, err := time.Parse(time.RFC3339, r.Run.StartedAt)
		if err != nil {
			t.Fatal(err)
		}
		got := readByNode(t, dir)
		sum := map[string]int64{}
		for _, i := range got.Intervals {
			sum[i.Tag] += i.N
			found := 0
			for _, h := range encoded(t, dir) {
				if start := float64(at.UnixMilli()) + h.Start*1e3; h.tag() == i.Tag && math.Abs(start-i.Start) <= 1 && h.N == i.N {
					hdr := h.decode(t)
					if p50, p99 := hdr.ValueAtQuantile(50), hdr.ValueAtQuantile(99); p50 == i.P50 && p99 == i.P99 {
						found++
					} else {
						t.Errorf("%s: p50 %d, p99 %d; in report.json %d and %d", i.Tag, i.P50, i.P99, p50, p99)
					}
				}
			}
			if found == 0 {
				t.Errorf("%s at %.0f with %d values is not in report.json", i.Tag, i.Start, i.N)
			}
		}
		want := map[string]int64{}
		for _, h := range r.Histograms {
			if h.Wave == 0 {
				want[h.tag()] += h.N
			}
		}
		if d := cmp.Diff(want, sum); d != "" || len(want) == 0 {
			t.Errorf("values by tag (-report.json +logs):\n%s", d)
		}
	})
}

// The percentile texts are those that hdr-histogram-js writes of the logs.
func TestPercentileTextsAreTheSame(t *testing.T) {
	each(t, func(t *testing.T, dir string, _ report) {
		texts := readByNode(t, dir).Texts
		files, err := filepath.Glob(filepath.Join(dir, "hgrm", "*.hgrm"))
		if err != nil || len(files) != len(texts) || len(files) == 0 {
			t.Errorf("%d files of %d tags: %v", len(files), len(texts), err)
		}
		for _, file := range files {
			tag := strings.TrimSuffix(filepath.Base(file), ".hgrm")
			if d := cmp.Diff(rows(t, texts[tag], 3), rows(t, string(readFile(t, filepath.Dir(file), filepath.Base(file))), 4)); d != "" {
				t.Errorf("%s (-hdr-histogram-js +ours):\n%s", tag, d)
			}
		}
	})
}

var spaces = regexp.MustCompile(` +`)

// rows reads a percentile text as its published plotter does: lines of four
// columns that are split by spaces and do not begin with #. Value, percentile
// and count; the fourth column follows from the second, and hdr-histogram-js
// leaves it out of the last line, where it is infinite.
func rows(t *testing.T, text string, columnsAtLeast int) [][3]float64 {
	t.Helper()
	var out [][3]float64
	for _, line := range strings.Split(text, "\n") {
		columns := spaces.Split(strings.TrimSpace(line), -1)
		if len(columns) > 4 || len(columns) < columnsAtLeast || strings.HasPrefix(line, "#") || columns[0] == "Value" {
			continue
		}
		var row [3]float64
		for i := range row {
			v, err := strconv.ParseFloat(columns[i], 64)
			if err != nil {
				t.Fatalf("%q: %v", line, err)
			}
			row[i] = v
		}
		row[1] = math.Round(row[1]*1e6) / 1e6 // one writes twelve digits, the other six
		out = append(out, row)
	}
	return out
}

// coded is a histogram of report.json with its values.
type coded struct {
	histogram
	V2 string `json:"v2"`
}

func (c coded) decode(t *testing.T) *hdrhistogram.Histogram {
	t.Helper()
	h, err := hdrhistogram.Decode([]byte(c.V2))
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func encoded(t *testing.T, dir string) []coded {
	t.Helper()
	var r struct {
		Histograms []coded `json:"histograms"`
	}
	if err := json.Unmarshal(readFile(t, dir, "report.json"), &r); err != nil {
		t.Fatal(err)
	}
	return r.Histograms
}
