package judge

import (
	"bytes"
	"errors"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rebound-mqtt/rebound/harness/ledger"
	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/reports"
)

var update = flag.Bool("update", false, "write the fixture folder and its golden report anew")

// TestGolden judges the committed folder; its report must not change unseen.
func TestGolden(t *testing.T) {
	dir, golden := filepath.Join("testdata", "run"), filepath.Join("testdata", "report.json")
	if *update {
		f := newFolder()
		f.lose(1, 0, 9, 10) // sent at 1000 and 1100 ms: one in the outage, one after
		f.lose(2, 1, 9)
		f.breakOff(3, 3000)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		for name, file := range f.fs(t) {
			if err := os.WriteFile(filepath.Join(dir, name), file.Data, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	got := bytesOf(t, os.DirFS(dir))
	if *update {
		if err := os.WriteFile(golden, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("the report of the committed folder changed (-want +got):\n%s", diff)
	}
}

func bytesOf(t *testing.T, dir fs.FS) []byte {
	t.Helper()
	r, err := Judge(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := reports.WriteJSON(&b, r); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// breakOff ends a client's second connection at t by nothing; it comes back.
func (f *folder) breakOff(client int, t timeline.Instant) {
	for i := range f.conns {
		if c := &f.conns[i]; c.Client == client && c.N == 2 {
			c.End, c.EndKind, c.Scripted = t*ms, timeline.EndEOF, false
		}
	}
	f.last(client, 3, t+10)
}

func TestCleanRunPasses(t *testing.T) {
	r := newFolder().judge(t)
	for _, c := range r.Checks {
		want := reports.Valid
		switch c.Name {
		case "publish-after-pubrel", "retained-on-resume", "takeover", "will", "leak": // nothing of the kind is in the plan
			want = reports.NotApplicable
		}
		if c.Verdict != want {
			t.Errorf("check %s is %s: %s", c.Name, c.Verdict, c.Detail)
		}
	}
	for _, x := range r.Expectations {
		if x.Verdict != reports.Valid {
			t.Errorf("%s is %s: %s %s", x.Text, x.Verdict, x.Shown, x.Why)
		}
	}
	if r.Verdict != reports.Valid || r.ExitCode != 0 || !r.Run.Complete {
		t.Errorf("verdict %s, exit %d, complete %v", r.Verdict, r.ExitCode, r.Run.Complete)
	}
	if r.Connect.Connected != clients || r.Connect.Latency.N != clients || r.Harness.Fitness != "fit" {
		t.Errorf("connect %+v, harness %s", r.Connect, r.Harness.Fitness)
	}
	if len(r.Warnings) != 1 || !strings.Contains(r.Warnings[0], "low-n") {
		t.Errorf("warnings %q, want the low-n of p50 over %d values", r.Warnings, clients)
	}
}

// TestSameFilesSameBytes judges one folder several times over: map order, the
// clock and the environment have no part in the report.
func TestSameFilesSameBytes(t *testing.T) {
	f := newFolder()
	f.lose(1, 0, 9, 10)
	f.breakOff(3, 3000)
	dir := f.fs(t)
	first := bytesOf(t, dir)
	t.Setenv("TZ", "Asia/Tokyo")
	for range 5 {
		if !bytes.Equal(first, bytesOf(t, dir)) {
			t.Fatal("the same files gave another report.json")
		}
	}
}

// TestAllFormats writes the report in every format: its histograms decode and
// its tags are good.
func TestAllFormats(t *testing.T) {
	f := newFolder()
	f.lose(1, 0, 9)
	if err := reports.WriteAll(t.TempDir(), f.judge(t)); err != nil {
		t.Error(err)
	}
}

// TestBrokenEvidence takes each file away or cuts it: the report then says
// that it is incomplete, and never passes.
func TestBrokenEvidence(t *testing.T) {
	for name, bend := range map[string]func(f *folder){
		"no env":          func(f *folder) { f.drop = []string{"env.json"} },
		"no events":       func(f *folder) { f.drop = []string{"events.jsonl.gz"} },
		"no accounts":     func(f *folder) { f.drop = []string{"accounts.jsonl.gz"} },
		"no health":       func(f *folder) { f.canary = nil },
		"cut env":         func(f *folder) { f.cut = []string{"env.json"} },
		"cut events":      func(f *folder) { f.cut = []string{"events.jsonl.gz"} },
		"cut accounts":    func(f *folder) { f.cut = []string{"accounts.jsonl.gz"} },
		"cut health":      func(f *folder) { f.cut = []string{"health.csv"} },
		"health ends":     func(f *folder) { f.short = true },
		"no findings":     func(f *folder) { f.end.Findings = 2 },
		"an event gone":   func(f *folder) { f.end.Events = f.events() + 1 },
		"an event twice":  func(f *folder) { f.end.Events = f.events() - 1 },
		"no closing mark": func(f *folder) { f.end = timeline.Mark{} },
	} {
		t.Run(name, func(t *testing.T) {
			f := newFolder()
			bend(f)
			r := f.judge(t)
			if r.Run.Complete || r.Verdict != reports.Unknown || r.ExitCode != 3 {
				t.Errorf("complete %v, verdict %s, exit %d", r.Run.Complete, r.Verdict, r.ExitCode)
			}
			if c := find(t, r, "assumptions"); c.Verdict != reports.Unknown || c.Detail == "" {
				t.Errorf("assumptions %s %q", c.Verdict, c.Detail)
			}
		})
	}
}

// TestCountedEvents: the number that the closing mark gives is no breach by itself.
func TestCountedEvents(t *testing.T) {
	f := newFolder()
	f.end.Events = f.events()
	if r := f.judge(t); !r.Run.Complete || r.Verdict != reports.Valid {
		t.Errorf("complete %v, verdict %s", r.Run.Complete, r.Verdict)
	}
}

func TestNoEvidence(t *testing.T) {
	for name, f := range map[string]*folder{"cut": newFolder(), "missing": newFolder()} {
		if name == "cut" {
			f.plan.Summary = "\xff"
		}
		dir := f.fs(t)
		if name == "cut" {
			dir["plan.yaml"].Data = []byte("schema_version: [")
		} else {
			delete(dir, "plan.yaml")
		}
		if _, err := Judge(dir, Options{}); !errors.Is(err, ErrNoEvidence) {
			t.Errorf("plan %s: %v, want ErrNoEvidence", name, err)
		}
	}
	if _, err := Judge(fstest.MapFS{}, Options{}); !errors.Is(err, ErrNoEvidence) {
		t.Errorf("empty folder: %v, want ErrNoEvidence", err)
	}
}

// TestExitCodes holds the merge of verdicts to the exit code.
func TestExitCodes(t *testing.T) {
	defect := reports.KnownDefect{Check: "lost", Condition: "acknowledged-while-resuming", Reference: "issue 545", Versions: "2.7.8, 2.7.9"}
	for name, c := range map[string]struct {
		bend    func(f *folder)
		verdict reports.Verdict
		exit    int
	}{
		"clean":                                {func(*folder) {}, reports.Valid, 0},
		"interrupted":                          {func(f *folder) { f.end.Interrupted = true }, reports.Unknown, 130},
		"interrupted, failed":                  {func(f *folder) { f.end.Interrupted = true; f.breakOff(3, 3000) }, reports.Invalid, 130},
		"aborted":                              {func(f *folder) { f.end.Aborted = "connect timed out" }, reports.Unknown, 3},
		"invalid check":                        {func(f *folder) { f.breakOff(3, 3000) }, reports.Invalid, 1},
		"invalid and unknown":                  {func(f *folder) { f.breakOff(3, 3000); f.canary = nil }, reports.Invalid, 1},
		"known defect":                         {func(f *folder) { f.loseResuming(2, 9); f.know(defect) }, reports.Invalid, 0},
		"the same loss, not known":             {func(f *folder) { f.loseResuming(2, 9) }, reports.Invalid, 1},
		"known defect, strict":                 {func(f *folder) { f.loseResuming(2, 9); f.know(defect); f.env.Strict = true }, reports.Invalid, 1},
		"known defect of another version":      {func(f *folder) { f.loseResuming(2, 9); f.know(defect); f.env.Target.Version = "2.8.0" }, reports.Invalid, 1},
		"known defect and an unknown":          {func(f *folder) { f.loseResuming(2, 9); f.know(defect); f.end.Aborted = "x" }, reports.Invalid, 3},
		"a loss that the defect can't explain": {func(f *folder) { f.lose(2, 1, 4); f.know(defect) }, reports.Invalid, 1},
		"one explained, one not":               {func(f *folder) { f.loseResuming(2, 9); f.lose(3, 1, 4); f.know(defect) }, reports.Invalid, 1},
		"a defect without a known condition": {func(f *folder) {
			f.loseResuming(2, 9)
			f.know(reports.KnownDefect{Check: "lost", Condition: "anything", Reference: "x"})
		}, reports.Invalid, 1},
		"failed expectation": {func(f *folder) { f.plan.Expect[0] = expectation("outage.p50", "each", "below", "1ms", "s", 0.001) }, reports.Invalid, 1},
		"failed expectation that warns": {func(f *folder) {
			f.plan.Expect[0] = expectation("outage.p50", "each", "below", "1ms", "s", 0.001)
			f.plan.Expect[0].OnFail = "warn"
		},
			reports.Invalid, 0},
		"expectation without samples": {func(f *folder) {
			f.plan.Expect = append(f.plan.Expect, expectation("unknown.metric", "", "equals", "0", "", 0))
		},
			reports.Unknown, 3},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFolder()
			c.bend(f)
			r := f.judge(t)
			if r.Verdict != c.verdict || r.ExitCode != c.exit {
				t.Errorf("verdict %s, exit %d; want %s, %d", r.Verdict, r.ExitCode, c.verdict, c.exit)
			}
		})
	}
}

func (f *folder) know(d reports.KnownDefect) {
	f.env.Target.Abilities.KnownDefects = append(f.env.Target.Abilities.KnownDefects, d)
}

// loseResuming loses a message of one client that was acknowledged only while
// the client's session was being resumed.
func (f *folder) loseResuming(client int, seq uint64) {
	f.lose(client, 1, seq)
	for i := range f.conns {
		c := &f.conns[i]
		if c.Client != client || c.N != 2 {
			continue
		}
		c.SessionPresent = true
		for _, r := range f.records {
			if s := r.Stream; s != nil && s.ID == uint32(10*client)+1 {
				s.Open[len(s.Open)-1].Acked = c.Connack
			}
		}
	}
}

func TestKnownDefectIsMarked(t *testing.T) {
	f := newFolder()
	f.know(reports.KnownDefect{Check: "lost", Condition: "acknowledged-while-resuming", Reference: "issue 545"})
	if r := f.judge(t); warns(r, "by a known defect") {
		t.Errorf("a defect that did not show explains something: %q", r.Warnings)
	}
	f.loseResuming(2, 9)
	r := f.judge(t)
	if c := find(t, r, "lost"); c.Known != "issue 545" || c.Verdict != reports.Invalid || !warns(r, "issue 545") {
		t.Errorf("check %+v, warnings %q", c, r.Warnings)
	}
	for _, x := range r.Expectations {
		if (x.Metric == "lost.qos1") != (x.Known != "") {
			t.Errorf("expectation %s: %s, known %q", x.Text, x.Verdict, x.Known)
		}
	}
}

func warns(r *reports.Report, words string) bool {
	return strings.Contains(strings.Join(r.Warnings, "\n"), words)
}

// TestPlanted plants one fault at a time in a clean run: exactly the check that
// stands for it turns invalid.
func TestPlanted(t *testing.T) {
	for name, c := range map[string]struct {
		bend  func(f *folder)
		turns string
	}{
		"a lost QoS 1 message":              {func(f *folder) { f.lose(2, 1, 9) }, "lost"},
		"a connection that ends by nothing": {func(f *folder) { f.breakOff(3, 3000) }, "unscripted"},
		"a control connection that ends": {func(f *folder) {
			c := f.ended(0, 1, 5, 2000)
			c.Fleet = ControlFleet
		}, "unscripted"},
		"a kick that does nothing": {func(f *folder) {
			f.conns = f.conns[2:] // client 0
			f.last(0, 1, 10)
		}, "kick-effective"},
		"a client that never returns": {func(f *folder) {
			for i := range f.conns {
				if f.conns[i].Client == 3 && f.conns[i].N == 2 {
					f.conns = append(f.conns[:i], f.conns[i+1:]...)
					return
				}
			}
		}, "never-returned"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFolder()
			c.bend(f)
			r := f.judge(t)
			for _, k := range r.Checks {
				if (k.Verdict == reports.Invalid) != (k.Name == c.turns) {
					t.Errorf("check %s is %s: %s", k.Name, k.Verdict, k.Detail)
				}
			}
			if r.ExitCode != 1 {
				t.Errorf("exit %d, want 1", r.ExitCode)
			}
		})
	}
}

// TestNeverReturnedHidesNothing: the client that never returns is censored, and
// the percentiles that it makes unreachable are not reached.
func TestNeverReturnedHidesNothing(t *testing.T) {
	f := newFolder()
	f.conns = f.conns[:len(f.conns)-1] // the last client's way back
	r := f.judge(t)
	w := r.Waves[0]
	if w.Back != clients-1 || w.Censored != 1 || w.Outage.P99 != nil || w.Outage.P50 == nil || w.Outage.Censored != 1 {
		t.Errorf("back %d, censored %d, outage %+v", w.Back, w.Censored, w.Outage)
	}
	last := r.Recovery[len(r.Recovery)-1]
	if last.Back != 0.75 || last.Censored != 1 || last.Seconds != 3 {
		t.Errorf("last step of the recovery %+v, want 75 %% back and one censored at 3 s", last)
	}
}

// TestLosses joins lost messages with outages: message k of a stream was sent
// at (100 + 100 k) ms, the outages run from 1000 ms to 1020 + 2c ms.
func TestLosses(t *testing.T) {
	f := newFolder()
	f.lose(1, 0, 8, 9, 10) // 900, 1000, 1100: the second lies in the outage
	f.lose(2, 1, 9)
	r := f.judge(t)
	w := r.Waves[0]
	if w.LossQoS0.N != clients || *w.LossQoS0.Max != 1 || *w.LossQoS0.Mean != 0.25 || *w.LossQoS1.Max != 1 {
		t.Errorf("loss per outage, zeros included: QoS 0 %+v, QoS 1 %+v", w.LossQoS0, w.LossQoS1)
	}
	if m := r.Messages[0]; m.Lost != 3 || m.LostAway != 1 {
		t.Errorf("QoS 0: lost %d, away %d, want 3 and 1", m.Lost, m.LostAway)
	}
	if len(r.Losses) != 4 || r.LossExamples[0].Verdict != string(ledger.Lost) {
		t.Errorf("%d rows, first example %+v", len(r.Losses), r.LossExamples[0])
	}
	away := 0
	for _, l := range r.Losses {
		if l.OutageFrom != nil {
			away++
			if *l.OutageFrom != 1 || l.Phase != "storm" {
				t.Errorf("row %+v", l)
			}
		}
	}
	if away != 2 {
		t.Errorf("%d rows in an outage, want 2", away)
	}
}

// TestGap: the gap of an outage runs from its first to its last lost message.
func TestGap(t *testing.T) {
	var l lossOf
	if l.gap() != 0 {
		t.Error("no loss has a gap")
	}
	for _, at := range []timeline.Instant{500, 300, 900} {
		l = l.with(at)
	}
	if l.n != 3 || l.gap() != 600 {
		t.Errorf("n %d, gap %d", l.n, l.gap())
	}
}

func TestStarvedEndIsChargedToTheHarness(t *testing.T) {
	f := newFolder()
	f.breakOff(3, 3000)
	for i := range f.conns {
		f.conns[i].KeepAlive, f.conns[i].MaxOutGap = 1, int64(2*time.Second)
	}
	if c := find(t, f.judge(t), "unscripted"); c.Verdict != reports.Invalid {
		t.Errorf("a silent client of a fit harness: %s", c.Verdict)
	}
	f.canary["drain"] = 2 * time.Second
	if c := find(t, f.judge(t), "unscripted"); c.Verdict != reports.Unknown {
		t.Errorf("a silent client of an unfit harness: %s", c.Verdict)
	}
}
