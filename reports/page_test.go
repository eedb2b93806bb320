package reports_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	htmlpkg "html"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/rebound-mqtt/rebound/internal/samples"
	"github.com/rebound-mqtt/rebound/reports"
)

const maxPage = 2_000_000

func sample(t testing.TB, s samples.Size) *reports.Report {
	t.Helper()
	r, err := samples.Storm(s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func html(t testing.TB, r *reports.Report) string {
	t.Helper()
	var b bytes.Buffer
	if err := reports.WriteHTML(&b, r); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestPageGolden(t *testing.T) {
	reports.Golden(t, "page/fail.html", []byte(html(t, sample(t, samples.Size{Clients: 40, Waves: 2, Censored: 4}))))
}

// TestPageIsTheSameEachTime: equal reports give equal bytes, whatever the order
// of maps.
func TestPageIsTheSameEachTime(t *testing.T) {
	first := html(t, sample(t, samples.Size{Clients: 40, Waves: 3, Censored: 1}))
	for range 5 {
		if html(t, sample(t, samples.Size{Clients: 40, Waves: 3, Censored: 1})) != first {
			t.Fatal("two pages of one report differ")
		}
	}
}

// TestLargePage holds the page of 100 waves of 10,000 clients below 2 MB.
func TestLargePage(t *testing.T) {
	if testing.Short() {
		t.Skip("a million outages")
	}
	for _, size := range []samples.Size{{Clients: 10_000, Waves: 100, Censored: 3}, {Clients: 100, Waves: 1000, Censored: 3}} {
		page := html(t, sample(t, size))
		t.Logf("%d waves of %d clients: %d bytes", size.Waves, size.Clients, len(page))
		if len(page) > maxPage {
			t.Errorf("the page has %d bytes, more than %d", len(page), maxPage)
		}
		if n := strings.Count(page, `id="recovery-`); n < 100 {
			t.Errorf("%d curves for %d waves", n, size.Waves)
		}
	}
}

func BenchmarkLargePage(b *testing.B) {
	r := sample(b, samples.Size{Clients: 10_000, Waves: 100, Censored: 3})
	for b.Loop() {
		b.SetBytes(int64(len(html(b, r))))
	}
}

// TestHostileTexts: what comes from outside stays text.
func TestHostileTexts(t *testing.T) {
	r, err := samples.Hostile()
	if err != nil {
		t.Fatal(err)
	}
	page := html(t, r)
	for _, bad := range []string{"<img", "<script>document", "</script></style>", "\x00", "\x1b", "\u202e"} {
		if strings.Contains(page, bad) {
			t.Errorf("%q stands in the page", bad)
		}
	}
	if n := strings.Count(page, "&lt;img"); n < 40 {
		t.Errorf("the text is shown %d times only: is the test still poisoning?", n)
	}
	if !strings.Contains(page, `\u003c/script\u003e\u003c/style\u003e`) {
		t.Error("no hostile text stands in the data of the charts: is the test still poisoning?")
	}
	drawings(t, page, 10)
}

// drawings parses each SVG of the page: it must be well-formed, and have the
// title and description that its label names.
func drawings(t *testing.T, page string, least int) {
	t.Helper()
	found := regexp.MustCompile(`(?s)<svg class="chart.*?</svg>`).FindAllString(page, -1)
	if len(found) < least {
		t.Fatalf("%d charts", len(found))
	}
	for _, s := range found {
		d := xml.NewDecoder(strings.NewReader(s))
		for {
			if _, err := d.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("%v in %.300s", err, s)
			}
		}
		if strings.Contains(s, "NaN") || strings.Contains(s, "Inf") {
			t.Errorf("a coordinate that is none: %.300s", s)
		}
		label := regexp.MustCompile(`aria-labelledby="(\S+) (\S+)"`).FindStringSubmatch(s)
		if label == nil || !strings.Contains(s, `id="`+label[1]+`"`) || !strings.Contains(s, `id="`+label[2]+`"`) {
			t.Errorf("no title or description: %.200s", s)
		}
	}
}

// TestPageStructure: a figure with a chart has its table, its
// own or that of its group, and each id is used once.
func TestPageStructure(t *testing.T) {
	page := html(t, sample(t, samples.Size{Clients: 400, Waves: 20, Censored: 2}))
	ids := map[string]bool{}
	for _, m := range regexp.MustCompile(` id="([^"]+)"`).FindAllStringSubmatch(page, -1) {
		if ids[m[1]] {
			t.Errorf("id %s twice", m[1])
		}
		ids[m[1]] = true
	}
	for _, m := range regexp.MustCompile(`href="#([^"]+)"`).FindAllStringSubmatch(page, -1) {
		if !ids[m[1]] {
			t.Errorf("a link to %s, which is not there", m[1])
		}
	}
	for _, figure := range regexp.MustCompile(`(?s)<figure id="[^"]+-chart">.*?</figure>`).FindAllString(page, -1) {
		if !strings.Contains(figure, "<table>") {
			t.Errorf("no table behind %.80s", figure)
		}
	}
	for _, id := range []string{"recovery-chart", "waterfall-chart", "worst-chart", "percentiles-chart", "histogram-1", "latency-chart", "load-chart", "victims-chart", "actions-chart", "herd-chart",
		"attempts-chart", "collateral-chart", "messages-chart", "loss-1", "windows-chart", "sessions-chart", "faults-chart"} {
		if !ids[id] {
			t.Errorf("no chart %s", id)
		}
	}
	markup := regexp.MustCompile(`(?s)<script>.*?</script>|<style>.*?</style>`).ReplaceAllString(page, "")
	if bad := regexp.MustCompile(`(?:src|href)="(?:https?:)?//| style="| on[a-z]+="|<link|<iframe|<img`).FindString(markup); bad != "" {
		t.Errorf("the page reaches out, or has style or handlers that its policy forbids: %s", bad)
	}
}

// TestVendored: uPlot 1.6.32 is what its makers published, byte for byte.
func TestVendored(t *testing.T) {
	for file, want := range map[string]string{
		"uPlot.iife.min.js": "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f",
		"uPlot.min.css":     "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04",
		"LICENSE":           "8f989229699b4fe2f1a0432d0e9edc338a8a911e250e2d1b01ecd770a5f5b1bd",
	} {
		b, err := os.ReadFile(filepath.Join("page", "uplot", file))
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprintf("%x", sha256.Sum256(b)); got != want {
			t.Errorf("%s has SHA-256 %s, want %s", file, got, want)
		}
	}
}

// TestPolicy: the hashes of the policy are those of exactly what stands in the
// page, and nothing else is allowed.
func TestPolicy(t *testing.T) {
	page := html(t, sample(t, samples.Size{Clients: 40, Waves: 1}))
	m := regexp.MustCompile(`http-equiv="Content-Security-Policy" content="([^"]+)"`).FindStringSubmatch(page)
	if m == nil {
		t.Fatal("no policy")
	}
	policy := htmlpkg.UnescapeString(m[1])
	for _, want := range []string{"default-src 'none'", "base-uri 'none'", "form-action 'none'"} {
		if !strings.Contains(policy, want) {
			t.Errorf("no %s in %s", want, policy)
		}
	}
	if strings.Contains(policy, "unsafe") || strings.Contains(policy, "*") {
		t.Errorf("too wide: %s", policy)
	}
	for _, tag := range []string{"style", "script"} {
		found := regexp.MustCompile(`(?s)<`+tag+`>(.*?)</`+tag+`>`).FindAllStringSubmatch(page, -1)
		if len(found) == 0 {
			t.Errorf("no %s", tag)
		}
		for _, f := range found {
			sum := sha256.Sum256([]byte(f[1]))
			if h := "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"; !strings.Contains(policy, h) {
				t.Errorf("%s %.40q is not allowed", tag, f[1])
			}
		}
	}
}

// sides are runs of two versions, the new one slower by a factor.
func sides(t testing.TB, n int, slower float64) (base, next []*reports.Report) {
	for i := range n {
		base = append(base, sample(t, samples.Size{Clients: 320, Waves: 2, Seed: i}))
		next = append(next, sample(t, samples.Size{Clients: 320, Waves: 2, Seed: i, Slow: slower}))
	}
	return base, next
}

func compareHTML(t testing.TB, c reports.Comparison) string {
	t.Helper()
	for _, f := range reports.CompareFormats() {
		if f.Name == "html" {
			var b bytes.Buffer
			if err := f.Write(&b, c); err != nil {
				t.Fatal(err)
			}
			return b.String()
		}
	}
	t.Fatal("compare has no format html")
	return ""
}

func TestComparePageGolden(t *testing.T) {
	base, next := sides(t, 5, 1.5)
	worse := reports.Compare(base, next, reports.CompareOptions{})
	if worse.Verdict != reports.Worse {
		t.Fatalf("50 %% slower is %s: %v %v", worse.Verdict, worse.Why, worse.Refused)
	}
	reports.Golden(t, "page/compare-worse.html", []byte(compareHTML(t, worse)))
	few, next2 := sides(t, 2, 1.5)
	next2[0].Run.Clients = 17
	reports.Golden(t, "page/compare-refused.html", []byte(compareHTML(t, reports.Compare(few, next2, reports.CompareOptions{}))))
}

func TestComparePageStructure(t *testing.T) {
	base, next := sides(t, 5, 1.5)
	c := reports.Compare(base, next, reports.CompareOptions{})
	page := compareHTML(t, c)
	drawings(t, page, 1+2*len(c.Overlays))
	if len(c.Overlays) < 3 {
		t.Errorf("%d overlays", len(c.Overlays))
	}
	for i, o := range c.Overlays {
		if !strings.Contains(page, fmt.Sprintf(`<figure id="overlay-%d">`, i+1)) || !strings.Contains(page, fmt.Sprintf(`<figure id="overlay-%d-difference">`, i+1)) {
			t.Errorf("no chart of %s %s %d", o.Curve, o.Phase, o.Wave)
		}
	}
}

// TestLargeComparePage: ten runs a side of a hundred waves stay below 2 MB.
func TestLargeComparePage(t *testing.T) {
	if testing.Short() {
		t.Skip("two thousand waves")
	}
	var base, next []*reports.Report
	for i := range 10 {
		base = append(base, sample(t, samples.Size{Clients: 300, Waves: 100, Seed: i}))
		next = append(next, sample(t, samples.Size{Clients: 300, Waves: 100, Seed: i + 3, Slow: 1.1, Censored: 1}))
	}
	page := compareHTML(t, reports.Compare(base, next, reports.CompareOptions{}))
	t.Logf("%d bytes", len(page))
	if len(page) > maxPage {
		t.Errorf("the page has %d bytes, more than %d", len(page), maxPage)
	}
}

func TestHostileCompare(t *testing.T) {
	hostile, err := samples.Hostile()
	if err != nil {
		t.Fatal(err)
	}
	for _, next := range []*reports.Report{hostile, sample(t, samples.Size{Clients: 40, Waves: 2})} {
		page := compareHTML(t, reports.Compare([]*reports.Report{hostile}, []*reports.Report{next}, reports.CompareOptions{}))
		for _, bad := range []string{"<img", "<script>document", "</script></style>", "\x00", "\x1b", "\u202e"} {
			if strings.Contains(page, bad) {
				t.Errorf("%q stands in the page", bad)
			}
		}
		if !strings.Contains(page, "&lt;/script") {
			t.Error("no hostile text is shown: is the test still poisoning?")
		}
	}
}
