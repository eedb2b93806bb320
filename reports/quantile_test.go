package reports

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A percentile must not be printable without its counts: quantile.go alone
// reads the percentiles, and what it gives out carries n and censored.
func TestQuantilesAreReadInOneFile(t *testing.T) {
	names, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if name == "quantile.go" || strings.HasSuffix(name, "_test.go") {
			continue
		}
		src, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range percentileReads(t, name, string(src)) {
			t.Errorf("%s: go through quantile.go", found)
		}
	}
	if got := percentileReads(t, "planted.go", "package p\nfunc f(q Q) any { return q.P99 }"); len(got) != 1 {
		t.Errorf("planted read not found: %q", got)
	}
}

func percentileReads(t *testing.T, name, src string) (found []string) {
	t.Helper()
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, name, src, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok && strings.HasPrefix(sel.Sel.Name, "P") && strings.Trim(sel.Sel.Name[1:], "0123456789") == "" {
			found = append(found, fset.Position(sel.Pos()).String())
		}
		return true
	})
	return found
}

func TestQuantileLine(t *testing.T) {
	full := Quantile{N: 1000, P50: f(0.161), P90: f(0.188), P99: f(0.205), Max: f(0.211)}
	some := full
	some.N, some.Censored, some.P99 = 990, 10, nil
	low := full
	low.N, low.LowN, low.Overflow = 100, []string{"p99", "p999"}, 2
	for _, tt := range []struct {
		name    string
		q       Quantile
		horizon float64
		color   bool
		want    string
	}{
		{"all known", full, 60, false, "p50 161 ms   p90 188 ms   p99 205 ms   max 211 ms   (n=1,000)"},
		{"not reached", some, 60, false, "p50 161 ms   p90 188 ms   p99 > 60 s   max > 60 s   (n=990, 10 censored)"},
		{"no horizon", some, 0, false, "p50 161 ms   p90 188 ms   p99 not reached   max not reached   (n=990, 10 censored)"},
		{"few", low, 60, false, "p50 161 ms   p90 188 ms   p99 205 ms   max 211 ms   (n=100, 2 above range, too few for p99)"},
		{"few in colour", low, 60, true, "p50 161 ms   p90 188 ms   \x1b[90mp99 205 ms\x1b[0m   max 211 ms   (n=100, 2 above range, too few for p99)"},
		{"none", Quantile{}, 60, false, "no values   (n=0)"},
		{"all censored", Quantile{Censored: 7}, 60, false, "p50 > 60 s   p90 > 60 s   p99 > 60 s   max > 60 s   (n=0, 7 censored)"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.q.line(percentileMarks, seconds, tt.horizon, ink(tt.color), ""); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestNumbers(t *testing.T) {
	for _, tt := range []struct {
		got, want string
	}{
		{seconds(0), "0 s"}, {seconds(812e-6), "812 µs"}, {seconds(0.0021), "2.1 ms"}, {seconds(0.161), "161 ms"}, {seconds(1.2345), "1.23 s"},
		{seconds(0.99949), "999 ms"}, {seconds(0.9996), "1 s"}, {seconds(0.0009996), "1 ms"}, {seconds(9.996), "10 s"}, {seconds(12), "12 s"},
		{seconds(100), "100 s"}, {seconds(99.96), "100 s"}, {seconds(12345), "12,345 s"}, {seconds(-0.02), "-20 ms"}, {seconds(2e-8), "0.02 µs"},
		{roundSeconds(60), "60 s"}, {roundSeconds(0.5), "500 ms"},
		{commas(0), "0"}, {commas(999), "999"}, {commas(1000), "1,000"}, {commas(-1234567), "-1,234,567"}, {commas(uint64(1) << 63), "9,223,372,036,854,775,808"},
		{millis(0), "0"}, {millis(0.000001), "<0.01"}, {millis(0.012), "12"}, {millis(12.5), "12,500"},
		{plural(1, "client"), "1 client"}, {plural(2000, "client"), "2,000 clients"},
		{percent(100, 110), "+10.0 %"}, {percent(0, 5), ""}, {plain("a\x1b[31m\nb\u202e"), "a?[31m b?"}, {clip("abcdef", 4), "abc…"},
	} {
		if tt.got != tt.want {
			t.Errorf("got %q, want %q", tt.got, tt.want)
		}
	}
}

// TestMediansSayTheirN: a part that is known of a few must not pass for one of all, and the
// others not for one of a few.
func TestMediansSayTheirN(t *testing.T) {
	q := func(v float64, n int64) Quantile { return Quantile{N: n, P50: &v} }
	got := medians(map[string]Quantile{"lag": q(0.001, 677), "close": q(0.002, 10), "dial": q(0.003, 677)})
	if want := "lag 1 · close 2 (n=10) · dial 3   (median ms, n=677)"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got := medians(nil); got != "no values (n=0)" {
		t.Errorf("of nothing: %q", got)
	}
}
