package judge

import (
	"strings"
	"testing"
	"time"

	"github.com/rebound-mqtt/rebound/harness/measure"
	"github.com/rebound-mqtt/rebound/harness/timeline"
)

// latency is one row, in ms, with its messages.
func latency(start, end timeline.Instant, took ...time.Duration) timeline.Latency {
	h := measure.NewHist(measure.Nanoseconds)
	for _, v := range took {
		h.Record(int64(v))
	}
	return timeline.Latency{Start: start * ms, End: end * ms, Clients: 7, Values: h.Encode()}
}

// TestCollateralWindows: the storm of the folder is from 1000 to 1026 ms, and
// all have connected at 20 ms.
func TestCollateralWindows(t *testing.T) {
	const quick = time.Millisecond
	for name, c := range map[string]struct {
		row          timeline.Latency
		fault, quiet int64
	}{
		"while they connect":             {latency(0, 20, quick), 0, 0},
		"from when all have connected":   {latency(20, 500, quick), 0, 1},
		"as the last is back":            {latency(1026, 1100, 0), 1, 0},
		"right after that":               {latency(1027, 1100, 0), 0, 1},
		"up to its beginning":            {latency(900, 1000, 0), 0, 1},
		"before the storm":               {latency(500, 1000, quick, quick), 0, 2},
		"over its beginning":             {latency(900, 1001, quick), 1, 0},
		"over its end":                   {latency(1020, 1100, quick, quick), 2, 0},
		"all of it":                      {latency(900, 1100, quick), 1, 0},
		"after it":                       {latency(1100, 1200, quick, quick, quick), 0, 3},
		"after it, and was due in it":    {latency(1100, 1200, 90*quick, quick), 2, 0},
		"after it, and was due before":   {latency(1100, 1200, 300*quick), 1, 0},
		"none":                           {latency(1100, 1200), 0, 0},
		"beyond the range of histograms": {timeline.Latency{Start: 3000 * ms, End: 3500 * ms, Overflow: 1, Values: latency(0, 0).Values}, 1, 0},
	} {
		f := newFolder()
		f.latency = []timeline.Latency{c.row}
		got := f.judge(t).Charts.Collateral
		if got.Fault.N != c.fault || got.Quiet.N != c.quiet || len(got.Points) != 1 {
			t.Errorf("%s: %d in the storm, %d in the quiet, want %d and %d", name, got.Fault.N, got.Quiet.N, c.fault, c.quiet)
		}
	}
}

// TestCollateralAnswers: a wave is open until its last call has returned.
func TestCollateralAnswers(t *testing.T) {
	for name, answered := range map[string]timeline.Instant{"late": 1500, "early": 1010} {
		f := newFolder()
		f.kick(1, 1007, 1007, answered).Found = new(false) // no-op: the client was away
		f.latency = []timeline.Latency{latency(1400, 1450, time.Microsecond)}
		if got := f.judge(t).Charts.Collateral.Fault.N; (got == 1) != (name == "late") {
			t.Errorf("answered %s: %d in the storm", name, got)
		}
	}
}

// TestCollateralFrames: a wave of a frame fault is open to the last packet that
// it acted on, also where that ended no connection.
func TestCollateralFrames(t *testing.T) {
	for name, c := range map[string]struct {
		frame timeline.Frame
		fault int64
	}{
		"in this wave":     {timeline.Frame{Phase: "storm", Wave: 1, At: 1500 * ms}, 1},
		"in another wave":  {timeline.Frame{Phase: "storm", Wave: 2, At: 1500 * ms}, 0},
		"in another phase": {timeline.Frame{Phase: "flood", Wave: 1, At: 1500 * ms}, 0},
	} {
		f := newFolder()
		f.frames = []timeline.Frame{c.frame}
		f.latency = []timeline.Latency{latency(1400, 1450, time.Microsecond)}
		if got := f.judge(t).Charts.Collateral.Fault.N; got != c.fault {
			t.Errorf("%s: %d in the storm, want %d", name, got, c.fault)
		}
	}
}

// TestCollateralLasts: a wave is open as long as a fault of it holds a client, or
// an extent lasts, also where nobody was lost by it.
func TestCollateralLasts(t *testing.T) {
	for name, c := range map[string]struct {
		plant func(f *folder)
		fault int64
	}{
		"nothing": {func(*folder) {}, 0},
		"held": {func(f *folder) {
			a := f.kick(1, 1007, 1007, 1008)
			a.Fault, a.Lasting, a.Until = "latency", true, 1500*ms
		}, 1},
		"let go before": {func(f *folder) {
			a := f.kick(1, 1007, 1007, 1008)
			a.Fault, a.Lasting, a.Until = "latency", true, 1300*ms
		}, 0},
		"an extent": {func(f *folder) {
			f.extents = []timeline.Extent{{ID: 1, Fault: "slow-auth", Phase: "storm", Wave: 1, Issued: 1200 * ms, Taken: 1201 * ms, Healed: 1500 * ms, OK: true}}
		}, 1},
		"an extent that was not lifted": {func(f *folder) {
			f.extents = []timeline.Extent{{ID: 1, Fault: "slow-auth", Phase: "storm", Wave: 1, Issued: 1200 * ms, Taken: 1201 * ms, OK: true}}
		}, 1},
		"a skipped extent": {func(f *folder) {
			f.extents = []timeline.Extent{{ID: 1, Fault: "netem", Phase: "storm", Wave: 1, Issued: 1200 * ms, Taken: 1500 * ms, Skipped: "no netem"}}
		}, 0},
		"a mark": {func(f *folder) {
			f.extents = []timeline.Extent{{ID: 1, Fault: "mark", Phase: "storm", Issued: 1200 * ms, Taken: 1200 * ms, OK: true}}
		}, 0},
	} {
		f := newFolder()
		c.plant(f)
		f.latency = []timeline.Latency{latency(1400, 1450, time.Microsecond)}
		if got := f.judge(t).Charts.Collateral; got.Fault.N != c.fault || got.Quiet.N != 1-c.fault {
			t.Errorf("%s: %d in the storm and %d in the quiet, want %d", name, got.Fault.N, got.Quiet.N, c.fault)
		}
	}
}

// TestCollateralPoints: of many rows each point has all the messages of its
// stretch, and no spike is lost.
func TestCollateralPoints(t *testing.T) {
	f := newFolder()
	for i := range timeline.Instant(2000) {
		took := time.Millisecond
		if i == 1234 {
			took = 800 * time.Millisecond
		}
		f.latency = append(f.latency, latency(2*i, 2*i+2, took, time.Millisecond))
	}
	c := f.judge(t).Charts.Collateral
	n, spikes := int64(0), 0
	for i, p := range c.Points {
		n += p.N
		if *p.Max > 0.79 {
			spikes++
		}
		if *p.P50 > 0.0011 || i > 0 && p.Start != c.Points[i-1].End {
			t.Errorf("point %+v", p)
		}
	}
	if len(c.Points) > maxLatencies || n != 4000 || spikes != 1 || c.Clients != 7 {
		t.Errorf("%d points with %d messages, %d spikes, %d clients", len(c.Points), n, spikes, c.Clients)
	}
	if c.Fault.N+c.Quiet.N > n || *c.Quiet.Max < 0.79 {
		t.Errorf("fault %+v, quiet %+v", c.Fault, c.Quiet)
	}
}

// TestUnreadableLatency is a warning and no message.
func TestUnreadableLatency(t *testing.T) {
	f := newFolder()
	bad := latency(500, 1000, time.Millisecond)
	bad.Values = "HISTFAAA"
	f.latency = []timeline.Latency{bad, latency(2000, 2500, time.Millisecond)}
	r := f.judge(t)
	if c := r.Charts.Collateral; c.Quiet.N != 1 || !strings.Contains(strings.Join(r.Warnings, "\n"), "latency at 500 ms is not readable") {
		t.Errorf("%+v, warnings %q", c, r.Warnings)
	}
	if c := newFolder().judge(t).Charts.Collateral; c != nil {
		t.Errorf("out of nothing: %+v", c)
	}
}
