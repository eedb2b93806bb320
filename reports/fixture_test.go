package reports

import (
	"fmt"
	"math"
	"testing"

	"github.com/HdrHistogram/hdrhistogram-go"
)

func f(v float64) *float64 { return &v }

// spreadTimes gives n outages from lo to hi seconds, denser at the low end.
func spreadTimes(n int, lo, hi float64) []int64 {
	var vs []int64
	for i := range n {
		x := float64(i) / float64(max(1, n-1))
		vs = append(vs, int64((lo+(hi-lo)*math.Pow(x, 1.7))*1e9))
	}
	return vs
}

// histogramOf records values as judge does: times 1 µs–1 h, counts 1–10 M, three digits.
func histogramOf(t testing.TB, fleet, phase string, wave int, metric, unit string, start, end float64, values []int64) Histogram {
	t.Helper()
	h := hdrhistogram.New(1000, 3600e9, 3)
	if unit == unitCount {
		h = hdrhistogram.New(1, 10_000_000, 3)
	}
	for _, v := range values {
		if err := h.RecordValue(v); err != nil {
			t.Fatal(err)
		}
	}
	v2, err := h.EncodeV2()
	if err != nil {
		t.Fatal(err)
	}
	return Histogram{Fleet: fleet, Phase: phase, Wave: wave, Metric: metric, Unit: unit, Start: start, End: end, N: h.TotalCount(), V2: string(v2)}
}

func quantileOf(values ...float64) Quantile {
	return Quantile{N: int64(values[0]), Mean: f(values[1]), P50: f(values[1]), P90: f(values[2]), P99: f(values[3]), P999: f(values[4]), Max: f(values[5]), LowN: []string{"p999"}}
}

// healthy is a run in which all went well, without waves.
func healthy() *Report {
	return &Report{
		SchemaVersion: SchemaVersion, Rebound: "0.1.0", Verdict: Valid, ExitCode: ExitPass,
		Run: Run{ID: "20261124T101500Z-1", Scenario: "ramp-baseline", Summary: "The whole fleet connects and stays; no fault.", ScenarioHash: "b3f1c0de", PlanHash: "77aa", Seed: 1, Clients: 1000,
			StartedAt: "2026-11-24T10:15:00.25Z", Seconds: 31.5, Complete: true},
		Target: Target{Kind: "embedded", Broker: "mochi", Version: "2.7.9", Closer: "close-connection", Transport: "tcp", Settings: map[string]string{"writes_pending": "256", "inflight": "1024"},
			Abilities: Abilities{KeepsSession: true, SendsWill: true, KickReportsTime: true, Persistence: "none"}},
		Driver: Driver{Name: "paho", Version: "1.5.1"},
		Environment: Env{OS: "linux", Arch: "amd64", Kernel: "6.8", CPU: "Example CPU @ 2.00GHz", Cores: 2, GOMAXPROCS: 2, MemoryByte: 8 << 30, FDLimit: 1 << 20, Go: "go1.26.8", GOGC: "100",
			Modules: map[string]string{"paho.mqtt.golang": "v1.5.1", "mochi": "v2.7.9"}, Sysctls: map[string]string{"net.core.somaxconn": "4096"}, Load1: 0.2},
		Fleets:  []Fleet{{Name: "devices", Clients: 1000, Back: "first-message", Policy: "paho", Connected: 1000}},
		Connect: Connect{Clients: 1000, Connected: 1000, Seconds: 2.0, Rate: 500, Latency: quantileOf(1000, 0.0021, 0.0034, 0.0081, 0.0112, 0.0125)},
		Phases: []Phase{
			{Name: "connect", Start: 0, End: 2.05, Reason: "connected 100%", Fitness: "fit", Canary: quantileOf(2050, 0.0001, 0.0003, 0.0008, 0.001, 0.0012), Against: "connect p99"},
			{Name: "steady", Start: 2.05, End: 7.05, Reason: "for 5s", Fitness: "fit", Canary: quantileOf(5000, 0.0001, 0.0002, 0.0007, 0.001, 0.0012)},
		},
		Messages: []Messages{
			{QoS: 1, Streams: 1000, Scheduled: 9812, Attempted: 9812, Acknowledged: 9812, Expected: 9812, Delivered: 9812},
			{QoS: 0, Streams: 1000, Scheduled: 49060, Attempted: 49060, Expected: 49060, Delivered: 49060},
		},
		Checks: []Check{
			{Name: "assumptions", Verdict: Valid}, {Name: "balance", Verdict: Valid}, {Name: "lost", Verdict: Valid}, {Name: "unscripted", Verdict: Valid},
			{Name: "kick-effective", Verdict: NotApplicable, Detail: "no kick in the plan"}, {Name: "never-returned", Verdict: NotApplicable},
		},
		Expectations: []Expectation{{Text: "connect.p99 below 1s", Metric: "connect.p99", Unit: "s", Op: "below", Limit: 1, Measured: f(0.0081), Shown: "8.10 ms", Verdict: Valid, OnFail: "fail"}},
		Harness: Harness{Fitness: "fit", Canary: quantileOf(12000, 0.0001, 0.0004, 0.002, 0.003, 0.0041), Echo: quantileOf(1200, 0.00005, 0.0002, 0.001, 0.002, 0.0031),
			SchedP99: f(0.0004), Goroutines: 10230, FDs: 2100, HeapBytes: 90 << 20, CPUSeconds: 12.25},
	}
}

func ramp(t testing.TB) *Report {
	r := healthy()
	r.Histograms = []Histogram{histogramOf(t, "devices", "connect", 0, "connect", unitNS, 0, 2.05, spreadTimes(1000, 0.001, 0.0125))}
	return r
}

// storm is one wave of n victims, all back.
func storm(phase string, wave, n int, start float64) Wave {
	return Wave{
		Phase: phase, Wave: wave, Regime: "first", Victims: n, Back: n, Hit: n, Start: start, Horizon: 60, Spread: 0.094, IssueLag: 0.004,
		Outage: quantileOf(float64(n), 0.161, 0.188, 0.205, 0.209, 0.211), BackCurve: quantileOf(float64(n), 0.162, 0.191, 0.211, 0.222, 0.242), RMTA: f(0.152),
		Waterfall: map[string]Quantile{
			"lag": quantileOf(float64(n), 0, 0.001, 0.004, 0.004, 0.004), "close": quantileOf(float64(n), 0.012, 0.02, 0.03, 0.031, 0.032),
			"notice": quantileOf(float64(n), 0.0204, 0.03, 0.04, 0.041, 0.042), "retry": quantileOf(float64(n), 0, 0, 0, 0, 0),
			"backoff": quantileOf(float64(n), 0, 0, 0, 0, 0), "dial": quantileOf(float64(n), 0.04, 0.05, 0.06, 0.061, 0.062),
			"connack": quantileOf(float64(n), 0.038, 0.05, 0.06, 0.061, 0.062), "resubscribe": quantileOf(float64(n), 0.035, 0.04, 0.05, 0.051, 0.052),
			"first_message": quantileOf(float64(n), 0.0153, 0.02, 0.03, 0.031, 0.032),
		},
		Answer: quantileOf(float64(n), 0.013, 0.022, 0.034, 0.035, 0.036), ProbeNeeded: quantileOf(float64(n), 1, 1, 1, 2, 2),
		LossQoS0: quantileOf(float64(n), 0, 1, 2, 3, 3), LossQoS1: quantileOf(float64(n), 0, 0, 0, 0, 0),
		Herd: Herd{Connects: n, Peak: 61, PeakToMean: 1.9, Amplification: 1}, Attempts: 1,
		Curve: []CurvePoint{{Seconds: 0.1, Back: 0.1, AtRisk: n}, {Seconds: 0.242, Back: 1, AtRisk: 1}},
	}
}

func pass(t testing.TB) *Report {
	r := healthy()
	r.Run.ID, r.Run.Scenario, r.Run.ScenarioHash = "20261124T101500Z-2", "kick-all", "a11c1c4a"
	r.Run.Summary = "Every connection is closed at once; the whole fleet comes back."
	r.Phases = append(r.Phases, Phase{Name: "storm", Start: 7.05, End: 7.31, Reason: "back 100%", Fitness: "fit", Canary: quantileOf(260, 0.0002, 0.001, 0.002, 0.002, 0.0024), Against: "outage p99"},
		Phase{Name: "drain", Start: 7.31, End: 9.4, Reason: "quiet 2s", Fitness: "fit"})
	r.Waves = []Wave{storm("storm", 1, 1000, 7.05)}
	r.Total = storm("", 0, 1000, 7.05)
	r.Total.Regime, r.Total.Curve = "", nil
	r.Messages[0].Duplicated = 31
	r.Messages[1].Delivered, r.Messages[1].Lost, r.Messages[1].LostAway = 48648, 412, 412
	for i := range r.Checks {
		r.Checks[i].Verdict, r.Checks[i].Detail = Valid, ""
	}
	r.Expectations = []Expectation{
		{Text: "outage.p99 fleet=devices phase=storm wave=each below 5s", Metric: "outage.p99", Phase: "storm", Wave: 1, Unit: "s", Op: "below", Limit: 5, Measured: f(0.205), Shown: "205 ms", Verdict: Valid, OnFail: "fail"},
		{Text: "censored equals 0", Metric: "censored", Op: "equals", Measured: f(0), Shown: "0", Verdict: Valid, OnFail: "fail"},
		{Text: "lost.qos1 equals 0", Metric: "lost.qos1", Op: "equals", Measured: f(0), Shown: "0", Verdict: Valid, OnFail: "fail"},
	}
	zeros := make([]int64, 1000)
	qos0 := make([]int64, 1000)
	for i := range 412 {
		qos0[i%300]++
	}
	outages := spreadTimes(1000, 0.121, 0.211)
	r.Histograms = []Histogram{
		histogramOf(t, "devices", "storm", 0, "outage", unitNS, 7.05, 7.31, outages),
		histogramOf(t, "devices", "storm", 1, "outage", unitNS, 7.05, 7.31, outages),
		histogramOf(t, "devices", "storm", 1, "loss.qos0", unitCount, 7.05, 7.31, qos0),
		histogramOf(t, "devices", "storm", 1, "loss.qos1", unitCount, 7.05, 7.31, zeros),
		histogramOf(t, "devices", "storm", 1, "gap.qos0", unitNS, 7.05, 7.31, spreadTimes(300, 0.2, 0.6)),
	}
	r.Losses = []Loss{
		{Verdict: "lost-qos0", Stream: 7, Topic: "rb/dev-000007/tick", QoS: 0, Publisher: "control-0", Subscriber: "dev-000007", Seq: 26, Intended: f(7.1), Sent: f(7.1004), Epoch: 1, Phase: "storm", OutageFrom: f(7.05), OutageTo: f(7.211), Why: "sent while its subscriber was away"},
		{Verdict: "duplicated", Stream: 1007, Topic: "rb/dev-000007/cmd", QoS: 1, Publisher: "control-0", Subscriber: "dev-000007", Seq: 5, Intended: f(7.0), Sent: f(7.0003), Acked: f(7.0011), Epoch: 1, Phase: "steady", Copies: 2, Why: "delivered again after the session was resumed, \"DUP\" set"},
	}
	r.LossExamples = r.Losses
	r.Recovery = []Recovery{{Phase: "storm", Wave: 1, Seconds: 0.1, Back: 0.1, AtRisk: 1000, Low: 0.08, High: 0.12}, {Phase: "storm", Wave: 1, Seconds: 0.242, Back: 1, AtRisk: 1, Low: 1, High: 1}}
	return r
}

// fail has 10 clients that never came back, a broker that closed 1,000
// connections on its own and lost three acknowledged messages.
func fail(t testing.TB) *Report {
	r := pass(t)
	r.Run.ID, r.Verdict, r.ExitCode = "20261124T101500Z-3", Invalid, ExitFail
	before := r.Waves[0].Waterfall
	for _, w := range []*Wave{&r.Waves[0], &r.Total} {
		w.Back, w.Censored, w.Hit, w.LateHit, w.NoOp, w.Missed, w.Absent = 985, 10, 993, 2, 3, 2, 5
		w.Outage.N, w.Outage.Censored, w.Outage.P99, w.Outage.P999 = 985, 10, nil, nil
		w.BackCurve.N, w.BackCurve.Censored, w.BackCurve.P99, w.BackCurve.P999 = 985, 10, nil, nil
		w.RMTA, w.Regime = f(0.754), "continual"
		w.API = &Calls{Calls: 1000, Tries: 1016, Throttled: 12, Failed: 4}
		w.Waterfall = map[string]Quantile{}
		for part, q := range before {
			q.N = 985
			w.Waterfall[part] = q
		}
		w.Waterfall["backoff"], w.Waterfall["retry"] = quantileOf(985, 0.021, 4, 8, 9, 16), quantileOf(985, 0.004, 1, 2, 3, 4)
		w.Waterfall["connack"] = quantileOf(985, 0.0371, 0.05, 0.06, 0.061, 0.062)
		w.Herd = Herd{Connects: 9120, Peak: 142, PeakToMean: 3.4, Amplification: 9.17}
	}
	r.Total.Regime = ""
	r.Unscripted = Unscripted{Ends: 1000, Clients: 1000, Control: 1, Kinds: map[string]int{"eof": 998, "reset": 2}, Outage: quantileOf(1000, 0.9, 1.2, 1.31, 1.33, 1.4)}
	r.Messages[0].Lost, r.Messages[0].Delivered, r.Messages[0].Missed = 3, 9809, 12
	r.Messages[0].Balance = "scheduled 9,812 = attempted 9,812 + missed 12 − 12"
	r.Checks = []Check{
		{Name: "assumptions", Verdict: Valid},
		{Name: "balance", Verdict: Unknown, Count: 1, Detail: "QoS 1: 12 slots stand in no set"},
		{Name: "lost", Verdict: Invalid, Count: 3, Detail: "3 acknowledged QoS 1 messages were never delivered", Examples: []string{"rb/dev-000007/cmd seq 5 acknowledged at 7.0011 s, later seq 6 was delivered"}},
		{Name: "unscripted", Verdict: Invalid, Count: 1000, Detail: "1,000 ends of 1,000 clients that no fault explains"},
		{Name: "kick-effective", Verdict: Valid},
		{Name: "never-returned", Verdict: Invalid, Count: 10, Detail: "10 of 995 hit clients were not back within 60 s", Known: "mochi #545"},
	}
	r.Expectations[0].Measured, r.Expectations[0].Shown, r.Expectations[0].Verdict, r.Expectations[0].Why = nil, "> 60 s", Invalid, "not reached: 10 of 995 censored"
	r.Expectations[1].Measured, r.Expectations[1].Shown, r.Expectations[1].Verdict = f(10), "10", Invalid
	r.Expectations[2].Measured, r.Expectations[2].Shown, r.Expectations[2].Verdict = f(3), "3", Invalid
	r.Warnings = []string{"clients ran at 97 % of both cores in the storm", "known defect mochi #545 still shows"}
	r.Phases[2].Fitness, r.Phases[2].Canary = "degraded", quantileOf(260, 0.002, 0.01, 0.0251, 0.03, 0.031)
	r.Harness.Fitness, r.Harness.Canary = "degraded", quantileOf(12000, 0.0001, 0.002, 0.0251, 0.03, 0.031)
	outages := append(spreadTimes(900, 0.121, 0.311), spreadTimes(85, 1.5, 44)...)
	r.Histograms[0] = histogramOf(t, "devices", "storm", 0, "outage", unitNS, 7.05, 67.05, outages)
	r.Histograms[1] = histogramOf(t, "devices", "storm", 1, "outage", unitNS, 7.05, 67.05, outages)
	r.Histograms[0].Censored, r.Histograms[1].Censored = 10, 10
	lossy := make([]int64, 985)
	lossy[3], lossy[8] = 1, 31
	r.Histograms[3] = histogramOf(t, "devices", "storm", 1, "loss.qos1", unitCount, 7.05, 67.05, lossy)
	for i, seq := range []uint64{5, 6, 9} {
		r.Losses = append(r.Losses, Loss{Verdict: "lost", Stream: 1007, Topic: "rb/dev-000007/cmd", QoS: 1, Publisher: "control-0", Subscriber: "dev-000007", Seq: seq,
			Intended: f(7 + float64(i)), Sent: f(7.0003 + float64(i)), Acked: f(7.0011 + float64(i)), Epoch: 1, Phase: "storm", Why: "acknowledged, a later one was delivered"})
	}
	r.LossExamples = r.Losses
	r.Extents = []Extent{
		{Fault: "slow-auth", Phase: "storm", Wave: 1, Start: 12, Seconds: f(10.5), OK: true, Detail: "1,204 CONNECTs seen, 200 waited"},
		{Fault: "nft-drop", Phase: "storm", Wave: 1, Start: 13, Skipped: "nft: no such program"},
		{Fault: "exec", Phase: "storm", Wave: 1, Start: 14, Err: "exit status 3"},
		{Fault: "mark", Phase: "storm", Start: 15, OK: true, Detail: "the switch was | rebooted", Ended: 7},
		{Fault: "broker-restart", Phase: "storm", Wave: 1, Start: 16, Seconds: f(1.035), OK: true, Broker: &BrokerLife{Ended: "kill", Kept: true, Ready: f(0.035)}},
		{Fault: "broker-freeze", Phase: "storm", Wave: 1, Start: 17, Seconds: f(5), OK: true, Broker: &BrokerLife{Ended: "freeze"}},
		{Fault: "broker-stop", Phase: "storm", Wave: 1, Start: 18, Err: "not lifted: port in use", Broker: &BrokerLife{Ended: "stop"}},
	}
	r.Notes = []string{"blackhole: bytes are held in this process, and the kernel goes on to acknowledge: it exercises keep alive, not TCP retransmission."}
	return r
}

// waves is a run of seven waves, with few clients in each.
func waves(t testing.TB) *Report {
	r := pass(t)
	r.Run.ID, r.Run.Scenario, r.Run.Clients = "20261124T101500Z-4", "kick-fraction", 100
	r.Connect.Clients, r.Connect.Connected, r.Connect.Seconds, r.Connect.Latency = 100, 100, 0.2, quantileOf(100, 0.0021, 0.0034, 0.0081, 0.0112, 0.0125)
	r.Waves, r.Histograms, r.Losses, r.LossExamples, r.Recovery = nil, nil, nil, nil, nil
	for k := 1; k <= 7; k++ {
		w := storm("storm", k, 100, 7.05+float64(k-1)*30)
		w.Horizon, w.Outage.LowN, w.BackCurve.LowN = 30, []string{"p99", "p999"}, []string{"p99", "p999"}
		if k == 6 {
			w.RodeOut, w.Unaffected, w.Hit, w.Back = 4, 4, 96, 96
			w.Outage.N, w.BackCurve.N = 96, 96
		}
		r.Waves = append(r.Waves, w)
		r.Histograms = append(r.Histograms, histogramOf(t, "devices", "storm", k, "outage", unitNS, w.Start, w.Start+0.3, spreadTimes(w.Back, 0.121, 0.211)))
		r.Recovery = append(r.Recovery, Recovery{Phase: "storm", Wave: k, Seconds: 0.242, Back: 1, AtRisk: 1, Low: 0.97, High: 1})
	}
	r.Total = storm("", 0, 700, 7.05)
	r.Total.Regime, r.Total.Horizon, r.Total.Back, r.Total.Hit, r.Total.Unaffected, r.Total.RodeOut, r.Total.Outage.N = "", 30, 696, 696, 4, 4, 696
	return r
}

// fixtures are the hand-made runs of the golden tests.
func fixtures(t testing.TB) map[string]*Report {
	return map[string]*Report{"pass": pass(t), "fail": fail(t), "ramp": ramp(t), "waves": waves(t)}
}

func TestFixturesAddUp(t *testing.T) {
	for name, r := range fixtures(t) {
		for i, w := range append(r.Waves, r.Total) {
			if got := w.Back + w.Censored + w.Unaffected + w.Absent; got != w.Victims {
				t.Errorf("%s wave %d: %d victims, parts add up to %d", name, i, w.Victims, got)
			}
		}
		if len(fmt.Sprint(r.Losses)) < len(fmt.Sprint(r.LossExamples)) {
			t.Errorf("%s: more examples than rows", name)
		}
	}
}
