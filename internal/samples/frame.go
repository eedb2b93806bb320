package samples

import (
	"fmt"
	"math"

	"github.com/rebound-mqtt/rebound/reports"
)

func known(v float64) *float64 { return &v }

// frame is all of a run but its waves and what is judged of them.
func frame(s Size) *reports.Report {
	end := firstAt + interval*float64(s.Waves)
	quiet := reports.Quantile{N: 2050, P50: known(0.0001), P90: known(0.0003), P99: known(0.0008), P999: known(0.001), Max: known(0.0012)}
	return &reports.Report{
		SchemaVersion: reports.SchemaVersion, Rebound: "0.1.0", Verdict: reports.Valid,
		Run: reports.Run{ID: fmt.Sprintf("20261124T1015%02dZ-%g", s.Seed, s.Slow), Scenario: "kick-all", Summary: "Every connection is closed at once; the whole fleet comes back.", ScenarioHash: "a11c1c4a", PlanHash: "77aa",
			Seed: uint64(s.Seed + 1), Clients: s.Clients, StartedAt: "2026-11-24T10:15:00.25Z", Seconds: end + 2, Complete: true},
		Target: reports.Target{Kind: "embedded", Broker: "mochi", Version: "2.7.9", Closer: "close-connection", Transport: "tcp", Settings: map[string]string{"writes_pending": "256"},
			Abilities: reports.Abilities{KeepsSession: true, SendsWill: true, KickReportsTime: true, Persistence: "none",
				KnownDefects: []reports.KnownDefect{{Check: "will", Condition: "takeover", Doc: "sends the Will of a session that was taken over", Reference: "mochi #545", Versions: "2.7.9"}}}},
		Driver: reports.Driver{Name: "paho", Version: "1.5.1"},
		Environment: reports.Env{OS: "linux", Arch: "amd64", Kernel: "6.8", CPU: "Example CPU @ 2.00GHz", Cores: 2, GOMAXPROCS: 2, MemoryByte: 8 << 30, FDLimit: 1 << 20, Go: "go1.26.8", GOGC: "100",
			Modules: map[string]string{"mochi": "v2.7.9"}, Sysctls: map[string]string{"net.core.somaxconn": "4096"}, Load1: 0.2},
		Fleets:  []reports.Fleet{{Name: "devices", Clients: s.Clients, Back: "first-message", Policy: "paho", Connected: s.Clients}},
		Connect: reports.Connect{Clients: s.Clients, Connected: s.Clients, Seconds: 2, Rate: float64(s.Clients) / 2, Latency: summary([]float64{0.002, 0.003, 0.008}, 0)},
		Phases: []reports.Phase{
			{Name: "connect", End: 2.05, Reason: "connected 100%", Fitness: "fit", Canary: quiet, Against: "connect p99"},
			{Name: "steady", Start: 2.05, End: firstAt, Reason: "for 5s", Fitness: "fit", Canary: quiet},
			{Name: "storm", Start: firstAt, End: end, Reason: "back 100%", Fitness: "fit", Canary: quiet, Against: "outage p99"},
			{Name: "drain", Start: end, End: end + 2, Reason: "quiet 2s", Fitness: "fit"},
		},
		Messages: []reports.Messages{
			{QoS: 1, Streams: s.Clients, Scheduled: 9812, Attempted: 9812, Acknowledged: 9812, Expected: 9812, Delivered: 9812, Duplicated: 31},
			{QoS: 0, Streams: s.Clients, Scheduled: 49060, Attempted: 49060, Expected: 49060, Delivered: 48648, Lost: 412, LostAway: 400},
		},
		Harness: reports.Harness{Fitness: "fit", Canary: quiet, Echo: quiet, SchedP99: known(0.0004), Goroutines: 10230, FDs: 2100, HeapBytes: 90 << 20, CPUSeconds: 12.25},
	}
}

// judge writes the checks and expectations that fit the waves.
func (s Size) judge(r *reports.Report) {
	r.Checks = []reports.Check{
		{Name: "assumptions", Verdict: reports.Valid, Detail: "the run did what the plan says"},
		{Name: "lost", Verdict: reports.Valid}, {Name: "unscripted", Verdict: reports.Valid}, {Name: "collateral", Verdict: reports.Valid},
		{Name: "never-returned", Verdict: reports.Valid},
	}
	r.Expectations = []reports.Expectation{
		s.expectP99(r),
		{Text: "censored equals 0", Metric: "censored", Op: "equals", Measured: known(float64(r.Total.Censored)), Shown: fmt.Sprint(r.Total.Censored), Verdict: reports.Valid, OnFail: "fail"},
	}
	sent := known(firstAt + 0.05)
	r.LossExamples = []reports.Loss{{Verdict: "lost-qos0", Stream: 7, Topic: "rb/dev-000007/tick", Publisher: "control-0", Subscriber: "dev-000007", Seq: 26, Intended: sent, Sent: sent, Epoch: 1, Phase: "storm",
		OutageFrom: known(firstAt), OutageTo: known(firstAt + 0.2), Why: "sent while its subscriber was away", Charge: "broker", Pointer: "events.jsonl.gz conn 7/1"}}
	if s.Censored == 0 {
		return
	}
	r.Verdict, r.ExitCode, r.Harness.Fitness, r.Phases[2].Fitness = reports.Invalid, reports.ExitFail, "degraded", "degraded"
	r.Warnings = []string{"clients ran at 97 % of both cores in the storm"}
	r.Checks[4] = reports.Check{Name: "never-returned", Verdict: reports.Invalid, Count: int64(r.Total.Censored), Detail: "hit clients were not back within 60 s", Charges: map[string]int64{"broker": int64(r.Total.Censored)}, Examples: []string{"dev-000100, wave 1"}}
	r.Expectations[1].Verdict = reports.Invalid
	r.Unscripted = reports.Unscripted{Ends: 12, Clients: 9, Kinds: map[string]int{"eof": 11, "reset": 1}, Outage: summary([]float64{0.2, 0.4, 1.1}, 1)}
	r.Messages[0].Lost, r.Messages[0].Delivered = 3, 9809
}

func (s Size) expectP99(r *reports.Report) reports.Expectation {
	e := reports.Expectation{Text: "outage.p99 fleet=devices phase=storm wave=each below 20s", Metric: "outage.p99", Unit: "s", Op: "below", Limit: 20, Measured: r.Total.Outage.P99, Verdict: reports.Valid, OnFail: "fail"}
	switch v := e.Measured; {
	case v == nil:
		e.Shown, e.Verdict = "> 60 s", reports.Invalid
	default:
		e.Shown = fmt.Sprintf("%.3g s", *v)
		if *v >= e.Limit {
			e.Verdict = reports.Invalid
		}
	}
	return e
}

// charts are what the pages draw.
func (s Size) charts(r *reports.Report) *reports.Charts {
	c := &reports.Charts{}
	for _, w := range r.Waves {
		c.Faults = append(c.Faults, reports.FaultSpan{Kind: "close", Phase: w.Phase, Wave: w.Wave, Fleet: "devices", Start: w.Start, End: w.Start + w.Spread, Actions: w.Victims})
		c.Herds = append(c.Herds, s.herd(w))
		c.Outages = append(c.Outages, reports.Envelope{Start: w.Start, End: w.Start + r.Run.Seconds/600, N: w.Back + w.Censored, Censored: w.Censored, Min: known(s.Slow * 0.12), Median: w.Outage.P50, Max: known(s.outages(w.Wave)[w.Back-1])})
	}
	for i := range 600 {
		at, width := r.Run.Seconds*float64(i)/600, r.Run.Seconds/600
		h := reports.HealthPoint{Start: at, End: at + width, CanaryP99: known(0.0004 + 0.0002*math.Sin(float64(i))), CanaryMax: known(0.002), EchoP99: known(0.0003), CPU: known(0.6 + 0.3*math.Sin(float64(i)/9)), BrokerCPU: known(0.2), Heap: 90 << 20}
		if i == 100 {
			runnable := int64(412)
			h.CanaryMax, h.Runnable = known(0.031), &runnable
		}
		if i > 560 { // the samples stopped
			h.CanaryP99, h.CanaryMax, h.EchoP99, h.CPU, h.BrokerCPU = nil, nil, nil, nil, nil
		}
		c.Health = append(c.Health, h)
	}
	c.Attempts = []reports.AttemptCount{{Dials: 1, Back: r.Total.Back - r.Total.Back/10}, {Dials: 2, Back: r.Total.Back / 10}, {Dials: 20, Censored: r.Total.Censored}}
	c.Worst = s.worst(r)
	c.Sessions = []reports.SessionTruth{{Fleet: "devices", Returns: r.Total.Back, PresentWanted: r.Total.Back, PresentMissing: r.Total.Censored / 2, Resubscribed: r.Total.Censored / 2}}
	for _, m := range r.Messages {
		c.Windows = append(c.Windows, reports.LossWindow{QoS: m.QoS, Before: m.Lost - m.LostAway, Away: m.LostAway - m.LostAway/10, Resume: m.LostAway / 10})
	}
	c.Collateral = s.collateral(r)
	return c
}

// collateral is a control fleet whose messages are late in each wave.
func (s Size) collateral(r *reports.Report) *reports.Collateral {
	c := &reports.Collateral{Clients: 10, Fault: summary([]float64{0.001, 0.04, 0.12}, 0), Quiet: summary([]float64{0.0008, 0.001, 0.004}, 0)}
	for i := range 300 {
		at, width := r.Run.Seconds*float64(i)/300, r.Run.Seconds/300
		p := reports.LatencyPoint{Start: at, End: at + width, N: 40, P50: known(0.0008), P99: known(0.002), Max: known(0.004)}
		for _, w := range r.Waves {
			if w.Start >= at && w.Start < at+width {
				p.P50, p.P99, p.Max = known(0.006), known(0.06), known(0.12)
			}
		}
		if i != 150 { // a hole: nothing was read
			c.Points = append(c.Points, p)
		}
	}
	return c
}

// herd comes in beats that fade: clients that back off in step.
func (s Size) herd(w reports.Wave) reports.HerdShape {
	h := reports.HerdShape{Phase: w.Phase, Wave: w.Wave, Width: 0.01, Period: known(0.25), Correlation: known(0.61), Fano: known(7.4)}
	for i := range 2000 {
		h.Counts = append(h.Counts, int(float64(w.Herd.Peak)*math.Exp(-float64((i+w.Wave)%25)/3)*math.Exp(-float64(i)/60)))
	}
	return h
}

func (s Size) worst(r *reports.Report) []reports.ClientOutage {
	times := s.outages(1)
	var out []reports.ClientOutage
	for i := range 20 {
		o := reports.ClientOutage{Client: fmt.Sprintf("dev-%06d", 100+i), Fleet: "devices", Phase: "storm", Wave: 1, Start: firstAt, Dials: 3,
			Seconds: times[max(0, len(times)-1-i)], Parts: map[string]float64{}}
		for j, part := range partNames {
			o.Parts[part] = o.Seconds * partShares[j]
		}
		if i < r.Total.Censored {
			o.Censored, o.Seconds = true, horizon
			o.Parts = map[string]float64{"lag": 0.001, "close": 0.012, "notice": 0.02, "retry": horizon/3 - 0.033, "backoff": 2 * horizon / 3}
		}
		out = append(out, o)
	}
	return out
}
