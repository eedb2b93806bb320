package measure

import "github.com/rebound-mqtt/rebound/reports"

// distributions are the rows with quantiles.
func distributions() []distribution {
	rows := []distribution{
		{"outage", "intended instant of a client's fault to the instant it is back", "s", ScopeWave, true,
			func(_ *reports.Report, w *reports.Wave) reports.Quantile { return w.Outage },
			[]pick{p50, p90, p99, p999, top, mean}},
		{"back", "first intended instant of the wave to the instant a client is back", "s", ScopeWave, true,
			func(_ *reports.Report, w *reports.Wave) reports.Quantile { return w.BackCurve },
			[]pick{p50, p90, p99, all}},
		{"answer", "CloseConnection's answer: start of the call to its return; no part of the outage", "s", ScopeWave, true,
			func(_ *reports.Report, w *reports.Wave) reports.Quantile { return w.Answer },
			[]pick{p99}},
		{"connect", "first connect: intended start of the dial to the subscriptions restored", "s", ScopeRun, true,
			func(r *reports.Report, _ *reports.Wave) reports.Quantile { return r.Connect.Latency },
			[]pick{p50, p99, top}},
		{"probes_needed", "probes sent to a client until one came back to it", "", ScopeWave, false,
			func(_ *reports.Report, w *reports.Wave) reports.Quantile { return w.ProbeNeeded },
			[]pick{p99}},
		// Not Timed: it is what saturation is judged from.
		{"canary", "lateness of the harness's own canary, due every 10 ms", "s", ScopeRun, false,
			func(r *reports.Report, _ *reports.Wave) reports.Quantile { return r.Harness.Canary },
			[]pick{p99}},
	}
	for _, p := range waterfallParts {
		rows = append(rows, distribution{"waterfall." + p.key, "part of the outage, " + p.doc, "s", ScopeWave, true,
			func(_ *reports.Report, w *reports.Wave) reports.Quantile { return w.Waterfall[p.key] },
			[]pick{p50, p90, p99}})
	}
	return rows
}

// times are the single times.
func times() []Metric {
	return []Metric{
		{
			Name: "rmta", Doc: "restricted mean time away: the area under the Kaplan-Meier curve of the outages to the horizon, censored clients included",
			Unit: "s", Scope: ScopeWave, Better: Lower, Timed: true,
			Value: func(r *reports.Report, w *reports.Wave) (*float64, int64, bool, string) {
				w = waveOf(r, w)
				switch n := int64(w.Back + w.Censored); {
				case n == 0:
					return nil, 0, false, WhyNone
				case w.RMTA == nil:
					return nil, n, false, WhyNotKnown
				default:
					return new(*w.RMTA), n, false, ""
				}
			},
		},
		// Not Timed: it is a fact about the harness, true of a slow one too.
		number(Metric{
			Name: "spread", Doc: "first to last issued action of the wave, as reached",
			Unit: "s", Scope: ScopeWave, Better: Neutral,
		}, func(_ *reports.Report, w *reports.Wave) (float64, int64) { return w.Spread, victims(w) }),
	}
}

func victims(w *reports.Wave) int64 { return int64(w.Victims) }

// counts are the outcomes of a wave. Without victims they are unknown: "0
// censored" of nobody is no good news.
func counts() []Metric {
	var table []Metric
	for _, row := range []struct {
		name, doc string
		better    Better
		of        func(w *reports.Wave) int
	}{
		{"victims", "clients that the wave's faults meant: back + censored + unaffected + absent", Neutral,
			func(w *reports.Wave) int { return w.Victims }},
		{"back", "victims that were hit and came back before the horizon", Higher,
			func(w *reports.Wave) int { return w.Back }},
		{"censored", "victims that were hit and were not back at the horizon, at the stop, or when hit again", Lower,
			func(w *reports.Wave) int { return w.Censored }},
		{"unaffected", "victims whose connection lived on: no effect, failed action or rode out", Lower,
			func(w *reports.Wave) int { return w.Unaffected }},
		{"absent", "victims that were not connected at their instant, or ended for another cause", Lower,
			func(w *reports.Wave) int { return w.Absent }},
		{"no_effect", "actions that were answered with success while the connection lived on", Lower,
			func(w *reports.Wave) int { return w.NoEffect }},
	} {
		table = append(table, number(
			Metric{Name: row.name, Doc: row.doc, Scope: ScopeWave, Better: row.better},
			func(_ *reports.Report, w *reports.Wave) (float64, int64) { return float64(row.of(w)), victims(w) }))
	}
	return table
}

// herds are the shape of the stampede.
func herds() []Metric {
	return []Metric{
		number(Metric{Name: "herd.peak", Doc: "most CONNECTs in 10 ms, at the tap", Scope: ScopeWave, Better: Lower},
			func(_ *reports.Report, w *reports.Wave) (float64, int64) {
				return float64(w.Herd.Peak), int64(w.Herd.Connects)
			}),
		number(Metric{Name: "herd.peak_to_mean", Doc: "peak of CONNECTs in 10 ms over their mean from the first to the last of the wave", Scope: ScopeWave, Better: Lower},
			func(_ *reports.Report, w *reports.Wave) (float64, int64) {
				return w.Herd.PeakToMean, int64(w.Herd.Connects)
			}),
		number(Metric{Name: "herd.amplification", Doc: "CONNECTs for each hit", Scope: ScopeWave, Better: Lower},
			func(_ *reports.Report, w *reports.Wave) (float64, int64) {
				return w.Herd.Amplification, int64(w.Hit + w.LateHit)
			}),
	}
}

// messages are the closing balance. Each counts among the messages that could
// have met that fate: without any it is unknown.
func messages() []Metric {
	var table []Metric
	for _, row := range []struct {
		name, doc, check string
		better           Better
		qos              int // -1 = all
		of, among        func(m *reports.Messages) int64
	}{
		{"lost.qos0", "QoS 0 messages attempted and not delivered to a subscriber, away or not", "", Lower, 0, lost, expected},
		{"lost.qos1", "QoS 1 messages acknowledged to the publisher and never delivered to a subscriber that was owed them", "lost", Lower, 1, lost, expected},
		{"lost.qos2", "QoS 2 messages acknowledged to the publisher and never delivered to a subscriber that was owed them", "lost", Lower, 2, lost, expected},
		{"lost_away.qos0", "of the lost QoS 0 messages, those inside an outage of the subscriber; counted, never failed by itself", "", Neutral, 0,
			func(m *reports.Messages) int64 { return m.LostAway }, expected},
		{"duplicated.qos1", "extra copies read of QoS 1 messages; at-least-once allows them", "", Lower, 1, duplicated, delivered},
		{"duplicated.qos2", "second deliveries of QoS 2 messages, on the wire or to the application; exactly-once forbids them while both sessions live", "duplicated", Lower, 2,
			func(m *reports.Messages) int64 { return m.Forbidden }, delivered},
		{"duplicated.qos0", "extra copies read of QoS 0 messages", "", Lower, 0, duplicated, delivered},
		{"reordered", "messages read after one that was sent later on the same stream", "reordered", Lower, -1,
			func(m *reports.Messages) int64 { return m.Reordered }, delivered},
		{"not_redelivered", "messages read, never answered, and not sent again on a later connection of the session", "not-redelivered", Lower, -1,
			func(m *reports.Messages) int64 { return m.NotRedelivered }, delivered},
		{"lost_in_client", "messages that the client library acknowledged and never handed to the application", "lost-in-client", Lower, -1,
			func(m *reports.Messages) int64 { return m.LostInClient }, delivered},
		{"stuck", "exchanges that stood still though their connection lived", "stuck", Lower, -1,
			func(m *reports.Messages) int64 { return m.Stuck }, attempted},
		{"misrouted", "deliveries to a session without a matching filter", "misrouted", Lower, -1,
			func(m *reports.Messages) int64 { return m.Misrouted }, delivered},
		{"wrong_qos", "deliveries at a QoS that no granted filter explains", "wrong-qos", Lower, -1,
			func(m *reports.Messages) int64 { return m.WrongQoS }, delivered},
		{"unexpected", "messages read that were never attempted, were meant for another, or were corrupt", "unexpected", Lower, -1,
			func(m *reports.Messages) int64 { return m.Unexpected },
			func(m *reports.Messages) int64 { return m.Attempted + m.Unexpected }},
		{"recovered", "messages of unknown outcome to their publisher that were delivered after all", "", Neutral, -1,
			func(m *reports.Messages) int64 { return m.Recovered }, attempted},
		{"missed_slots", "slots of the open-loop timetable that passed unsent", "", Lower, -1,
			func(m *reports.Messages) int64 { return m.Missed }, func(m *reports.Messages) int64 { return m.Scheduled }},
	} {
		table = append(table, number(Metric{Name: row.name, Doc: row.doc, Scope: ScopeRun, Better: row.better, Check: row.check},
			func(r *reports.Report, _ *reports.Wave) (v float64, n int64) {
				for i := range r.Messages {
					if m := &r.Messages[i]; row.qos < 0 || m.QoS == row.qos {
						v, n = v+float64(row.of(m)), n+row.among(m)
					}
				}
				return v, n
			}))
	}
	return table
}

func lost(m *reports.Messages) int64       { return m.Lost }
func expected(m *reports.Messages) int64   { return m.Expected }
func delivered(m *reports.Messages) int64  { return m.Delivered }
func duplicated(m *reports.Messages) int64 { return m.Duplicated }
func attempted(m *reports.Messages) int64  { return m.Attempted }

// connections are the figures of the run's connections. Without a client that
// ever connected there was nothing to end.
func connections() []Metric {
	return []Metric{
		number(Metric{Name: "unscripted", Doc: "ends of the device fleets' connections that no fault explains", Scope: ScopeRun, Better: Lower, Check: "unscripted"},
			func(r *reports.Report, _ *reports.Wave) (float64, int64) {
				return float64(r.Unscripted.Ends), int64(r.Connect.Connected)
			}),
		number(Metric{Name: "control_unscripted", Doc: "ends, by no fault, of the built-in control fleet's connections", Scope: ScopeRun, Better: Lower},
			func(r *reports.Report, _ *reports.Wave) (float64, int64) {
				return float64(r.Unscripted.Control), int64(r.Connect.Connected)
			}),
		number(Metric{Name: "connected", Doc: "share of all clients that connected and restored their subscriptions at least once", Unit: "%", Scope: ScopeRun, Better: Higher},
			func(r *reports.Report, _ *reports.Wave) (float64, int64) {
				return float64(r.Connect.Connected) / float64(max(1, r.Connect.Clients)), int64(r.Connect.Clients)
			}),
	}
}
