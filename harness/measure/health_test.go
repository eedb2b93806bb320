package measure

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func v2(values ...int64) string {
	h := NewHist(Nanoseconds)
	for _, v := range values {
		h.Record(v)
	}
	return h.Encode()
}

func sampleRows() []HealthRow {
	return []HealthRow{
		{Phase: "connect", Start: 1, End: 1_000_000_001, Canary: v2(1e6, 2e6), Echo: v2(5e5), Sched: v2(1e4), Goroutines: 40, CPU: 9, Heap: 1 << 20},
		{Phase: "storm", Start: 1_000_000_001, End: 1_500_000_000, Canary: v2(9e6), CanaryOverflow: 1, CanaryP99: ptr(int64(9_003_007)),
			Goroutines: 90, Runnable: ptr(int64(3)), GCPauses: 2, GCPauseMax: 40_000, CPU: 11, Throttled: ptr(int64(5)), FDs: ptr(int64(77)), Heap: 2 << 20,
			ListenOverflows: ptr(int64(1)), ListenDrops: ptr(int64(2)), SynRetrans: ptr(int64(3)), Timeouts: ptr(int64(4)), Retrans: ptr(int64(5)),
			Sockets: ptr(int64(6)), TimeWait: ptr(int64(7)), BrokerCPU: ptr(int64(10_000)), BrokerFDs: ptr(int64(8))},
		{Phase: "", Start: 1_500_000_000, End: 1_500_000_000, ListenOverflows: ptr(int64(0))},
	}
}

func sampleFile(t testing.TB) string {
	t.Helper()
	var b bytes.Buffer
	if err := WriteHealth(&b, sampleRows()); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestHealthRoundTrip(t *testing.T) {
	got, err := ReadHealth(strings.NewReader(sampleFile(t)))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(sampleRows(), got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestHealthColumns(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range HealthColumns() {
		if c.Name == "" || len(c.Doc) < 15 || seen[c.Name] {
			t.Errorf("column %q: doc %q, twice %v", c.Name, c.Doc, seen[c.Name])
		}
		seen[c.Name] = true
	}
}

// A file of a killed run gives its whole rows, wherever it was cut.
func TestHealthTruncated(t *testing.T) {
	file := sampleFile(t)
	whole := 0
	for cut := range len(file) {
		rows, err := ReadHealth(strings.NewReader(file[:cut]))
		whole = max(0, strings.Count(file[:cut], "\n")-1)
		switch {
		case len(rows) != whole:
			t.Fatalf("cut at %d: %d rows, want %d", cut, len(rows), whole)
		case cut == 0:
			if !errors.Is(err, ErrHealth) {
				t.Fatalf("an empty file: %v", err)
			}
		case file[cut-1] == '\n':
			if err != nil {
				t.Fatalf("cut at %d, after a whole line: %v", cut, err)
			}
		case !errors.Is(err, ErrTruncated):
			t.Fatalf("cut at %d: %v, want ErrTruncated", cut, err)
		}
	}
}

func TestHealthRefuses(t *testing.T) {
	head, rest, _ := strings.Cut(sampleFile(t), "\n")
	row, rest, _ := strings.Cut(rest, "\n")
	next, _, _ := strings.Cut(rest, "\n")
	edit := func(line string, column int, cell string) string {
		cells := strings.Split(line, ",")
		cells[column] = cell
		return strings.Join(cells, ",")
	}
	for name, body := range map[string]string{
		"other head":        "phase,start\n" + row + "\n",
		"no head":           row + "\n",
		"a cell too many":   head + "\n" + row + ",1\n",
		"a cell too few":    head + "\n" + row[:strings.LastIndexByte(row, ',')] + "\n",
		"negative":          head + "\n" + edit(row, 3, "-1") + "\n",
		"fraction":          head + "\n" + edit(row, 3, "1.5") + "\n",
		"plus":              head + "\n" + edit(row, 3, "+1") + "\n",
		"leading zero":      head + "\n" + edit(row, 3, "01") + "\n",
		"empty, not option": head + "\n" + edit(row, 3, "") + "\n",
		"too large":         head + "\n" + edit(row, 3, "9223372036854775808") + "\n",
		"word, optional":    head + "\n" + edit(row, 4, "x") + "\n",
		"phase":             head + "\n" + edit(row, 0, "a b") + "\n",
		"histogram":         head + "\n" + edit(row, len(HealthColumns())-1, "!") + "\n",
		"ends early":        head + "\n" + edit(row, 2, "0") + "\n",
		"order":             head + "\n" + next + "\n" + row + "\n",
		"carriage return":   head + "\n" + row + "\r\n",
		"empty line":        head + "\n\n" + row + "\n",
		"long line":         head + "\n" + strings.Repeat("a", maxHealthLine+1) + "\n",
	} {
		if rows, err := ReadHealth(strings.NewReader(body)); !errors.Is(err, ErrHealth) || rows != nil {
			t.Errorf("%s: %d rows, %v", name, len(rows), err)
		}
	}
	if _, err := ReadHealth(strings.NewReader(head + "\n" + row + "\nx,y\n")); err == nil || !strings.Contains(err.Error(), "line 3") {
		t.Errorf("%v, want the number of the line", err)
	}
}

func TestHealthWriterRefusesWhatIsNotReadBack(t *testing.T) {
	for name, row := range map[string]HealthRow{
		"comma in a phase":  {Phase: "a,b"},
		"newline":           {Phase: "a\nb"},
		"negative":          {Goroutines: -1},
		"no histogram text": {Canary: "a,b"},
	} {
		var b bytes.Buffer
		if err := WriteHealth(&b, []HealthRow{row}); err == nil {
			t.Errorf("%s: written as %q", name, b.String())
		}
	}
	want := errors.New("disk full")
	if _, err := NewHealthWriter(failing{want}); !errors.Is(err, want) {
		t.Errorf("head: %v", err)
	}
	if err := (&HealthWriter{w: failing{want}, columns: HealthColumns()}).Write(HealthRow{}); !errors.Is(err, want) {
		t.Errorf("row: %v", err)
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

func TestMergeHealth(t *testing.T) {
	h, err := MergeHealth(sampleRows(), nil)
	if err != nil {
		t.Fatal(err)
	}
	r := h.Report(Degraded)
	if h.Rows != 3 || r.Canary.N != 4 || r.Canary.Overflow != 1 || r.Echo.N != 1 || r.SchedP99 == nil {
		t.Errorf("%+v", r)
	}
	if r.Fitness != Degraded || r.Goroutines != 90 || r.FDs != 77 || r.HeapBytes != 2<<20 || r.CPUSeconds != 20e-6 || r.ListenDrops != 1 || r.SynRetrans != 3 || r.MissingHealth {
		t.Errorf("%+v", r)
	}
	storm, err := MergeHealth(sampleRows(), func(r *HealthRow) bool { return r.Phase == "storm" })
	if err != nil || storm.Rows != 1 || storm.Canary.N() != 2 {
		t.Errorf("storm: %d rows, %d values: %v", storm.Rows, storm.Canary.N(), err)
	}
	none, err := MergeHealth(nil, nil)
	if err != nil || !none.Report(Unknown).MissingHealth {
		t.Errorf("without rows: %+v, %v", none.Report(Unknown), err)
	}
	bad := sampleRows()
	bad[1].Canary = "AAAA"
	if _, err := MergeHealth(bad, nil); !errors.Is(err, ErrHistogram) || !strings.Contains(err.Error(), "canary_v2") {
		t.Errorf("a broken histogram: %v", err)
	}
}

func FuzzReadHealth(f *testing.F) {
	file := sampleFile(f)
	f.Add(file)
	f.Add(file[:len(file)-20])
	f.Add(healthHead() + "\n")
	f.Add(healthHead() + "\n" + strings.Repeat(",", len(HealthColumns())-1) + "\n")
	f.Fuzz(func(t *testing.T, s string) {
		rows, err := ReadHealth(strings.NewReader(s))
		if err != nil && !errors.Is(err, ErrTruncated) {
			if rows != nil {
				t.Fatal("rows with an error that is no truncation")
			}
			return
		}
		var again bytes.Buffer
		if err := WriteHealth(&again, rows); err != nil {
			t.Fatalf("read but not written: %v", err)
		}
		if err == nil && len(rows) > 0 && again.String() != s {
			t.Fatalf("%q comes back as %q", s, again.String())
		}
	})
}
