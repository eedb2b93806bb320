package check

import (
	"github.com/rebound-mqtt/rebound/harness/ledger"
	"github.com/rebound-mqtt/rebound/harness/timeline"
)

// loose is an end of b's second connection that nothing explains, and before it
// what change does to the record.
func loose(at timeline.Instant, kind timeline.EndKind, change func(*timeline.Conn)) func(*Evidence) {
	return func(ev *Evidence) {
		r := ev.at(b, 1)
		r.End, r.EndKind, r.Scripted, r.Disconnect = at, kind, false, ""
		r.LastOut, r.LastIn = at-ms, at-ms
		change(r)
		ev.Wills = append(ev.Wills, timeline.Will{ClientID: "b", At: at + ms})
		ev.Unscripted = append(ev.Unscripted, End{ClientID: "b", N: 2, At: at, Kind: kind, Phase: "steady"})
	}
}

func asIs(*timeline.Conn) {}

// closedAt is an end by the library on b's second connection, and a breach on
// it of a rule that no check of 3.1.1 looks at.
func closedAt(at timeline.Instant, f timeline.Finding) func(*Evidence) {
	return func(ev *Evidence) {
		loose(at, timeline.EndLocal, asIs)(ev)
		f.Rule, f.ClientID, f.N = "resend-timing", "b", 2
		ev.Findings = append(ev.Findings, f)
	}
}

func plantedEnds() []plant {
	const quiet = 60 * sec // outside of the waves
	limit := 15 * sec      // of a keep alive of 10 s
	return []plant{
		{"an unscripted end", "unscripted", inv, "eof 1", broker, loose(quiet, timeline.EndEOF, asIs)},
		{"the broker sent no MQTT", "unscripted", inv, "b connection 2 at 60.000 s in phase steady: protocol-error", broker, loose(quiet, timeline.EndProtocol, asIs)},
		{"the library closed", "unscripted", inv, "local-close 1", library, loose(quiet, timeline.EndLocal, asIs)},
		{"the library gave a silent broker up", "unscripted", inv, "local-close 1", broker, loose(quiet, timeline.EndLocal, func(c *timeline.Conn) {
			c.PingReqs, c.LastIn = 2, quiet-sec-1
		})},
		{"the library gave a broker up too soon", "unscripted", inv, "local-close 1", library, loose(quiet, timeline.EndLocal, func(c *timeline.Conn) {
			c.PingReqs, c.LastIn = 2, quiet-sec
		})},
		{"the library closed with its pings answered", "unscripted", inv, "local-close 1", library, loose(quiet, timeline.EndLocal, func(c *timeline.Conn) { c.LastIn = quiet - 9*sec })},
		{"the library closed at a breach of the broker", "unscripted", inv, "local-close 1", broker, closedAt(quiet, timeline.Finding{Charge: broker, At: quiet - sec})},
		{"the library closed long after a breach of the broker", "unscripted", inv, "local-close 1", library, closedAt(quiet, timeline.Finding{Charge: broker, At: quiet - sec - 1})},
		{"the library closed before a breach of the broker", "unscripted", inv, "local-close 1", library, closedAt(quiet, timeline.Finding{Charge: broker, At: quiet + 1})},
		{"the library closed at a breach of its own", "unscripted", inv, "local-close 1", library, closedAt(quiet, timeline.Finding{Charge: library, At: quiet})},
		{"the library closed at what is worth a warning", "unscripted", inv, "local-close 1", library, closedAt(quiet, timeline.Finding{Charge: broker, Warn: true, At: quiet})},
		{"the library let its keep alive pass", "unscripted", inv, "eof 1", library, loose(quiet, timeline.EndEOF, func(c *timeline.Conn) { c.MaxOutGap = int64(limit + 1) })},
		{"the library was silent to the end", "unscripted", inv, "eof 1", library, loose(quiet, timeline.EndEOF, func(c *timeline.Conn) { c.LastOut = quiet - limit - 1 })},
		{"the broker closed just in time", "unscripted", inv, "eof 1", broker, loose(quiet, timeline.EndEOF, func(c *timeline.Conn) { c.MaxOutGap, c.LastOut = int64(limit), quiet-limit })},
		{"silence without a keep alive", "unscripted", inv, "eof 1", broker, loose(quiet, timeline.EndEOF, func(c *timeline.Conn) { c.MaxOutGap, c.KeepAlive = int64(40*sec), 0 })},
		{"an unscripted end of control", "unscripted", inv, "reset 1", broker, func(ev *Evidence) { ev.Control = append(ev.Control, End{ClientID: "z", N: 1, Kind: timeline.EndReset}) }},
		{"control's library closed", "unscripted", inv, "local-close 1", library, func(ev *Evidence) { ev.Control = append(ev.Control, End{ClientID: "z", N: 1, Kind: timeline.EndLocal}) }},
		{"a starved end", "unscripted", no, "starved", "", func(ev *Evidence) { ev.Unscripted = append(ev.Unscripted, End{Kind: timeline.EndEOF, Starved: true}) }},
		{"a victim's second end", "unscripted", inv, "eof 1", broker, loose(5*sec, timeline.EndEOF, asIs)},
		{"an end just before a wave", "unscripted", inv, "eof 1", broker, func(ev *Evidence) {
			ev.Unscripted = append(ev.Unscripted, End{ClientID: "c", N: 1, At: kick - 1, Kind: timeline.EndEOF})
		}},
		{"an end just after a wave", "unscripted", inv, "eof 1", broker, func(ev *Evidence) {
			ev.Unscripted = append(ev.Unscripted, End{ClientID: "c", N: 1, At: 20*sec + 1, Kind: timeline.EndEOF})
		}},

		{"an end of another client at the start of a wave", "collateral", inv, "eof 1", broker, func(ev *Evidence) {
			ev.Unscripted = append(ev.Unscripted, End{ClientID: "c", N: 1, At: kick, Kind: timeline.EndEOF})
		}},
		{"an end of another client at the end of a wave", "collateral", inv, "c connection 1 at 20.000 s", library, func(ev *Evidence) {
			ev.Unscripted = append(ev.Unscripted, End{ClientID: "c", N: 1, At: 20 * sec, Kind: timeline.EndLocal})
		}},
		{"an end of control in a wave", "collateral", inv, "reset 1", broker, func(ev *Evidence) {
			ev.Control = append(ev.Control, End{ClientID: "z", At: 40 * sec, Kind: timeline.EndReset})
		}},
		{"a starved end of another client", "collateral", no, "starved", "", func(ev *Evidence) {
			ev.Unscripted = append(ev.Unscripted, End{ClientID: "c", At: kick, Kind: timeline.EndEOF, Starved: true})
		}},
		{"no wave was run", "collateral", no, "no wave", "", func(ev *Evidence) { ev.Waves = nil }},
	}
}

// refused is an attempt of c before its first, answered with a return code.
func refused(code byte, present bool) func(*Evidence) {
	return func(ev *Evidence) {
		r := conn("c", 0, 50*ms)
		r.ConnackCode, r.SessionPresent, r.Restored, r.ProbeAcked, r.End = code, present, 0, 0, 60*ms
		ev.Clients[c].Conns = append([]*timeline.Conn{noWill(r)}, ev.Clients[c].Conns...)
	}
}

func plantedSessions() []plant {
	return []plant{
		{"a session is forgotten", "session-forgotten", inv, "b connection 2 at 1.105 s: session present 0", broker, func(ev *Evidence) { ev.at(b, 1).SessionPresent = false }},
		{"nobody came back", "session-forgotten", no, "no client came back", "", func(ev *Evidence) {
			ev.at(a, 1).SessionWanted, ev.at(a, 2).SessionWanted, ev.at(b, 1).SessionWanted = false, false, false
		}},
		{"a target without kept sessions", "session-forgotten", na, "does not promise", "", func(ev *Evidence) { ev.Target.Abilities.KeepsSession = false }},
		{"clean sessions", "session-forgotten", na, "keeps its session", "", func(ev *Evidence) {
			ev.Plan.Fleets[0].Session.Clean, ev.Plan.Fleets[1].Session.Clean = true, true
		}},

		{"a session out of nothing", "session-invented", inv, "where no session was kept before", broker, func(ev *Evidence) { ev.lone().SessionPresent = true }},
		{"a session beside a refusal", "session-invented", inv, "beside return code 3", broker, refused(3, true)},
		{"a session after a refusal", "session-invented", inv, "1 of 8", broker, func(ev *Evidence) {
			refused(3, false)(ev)
			ev.at(c, 1).SessionPresent = true
		}},
		{"a session after a dial that wrote no CONNECT", "session-invented", inv, "where no session", broker, func(ev *Evidence) {
			ev.Clients[c].Conns = append([]*timeline.Conn{{ClientID: "c", Dial: 50 * ms, End: 51 * ms}}, ev.Clients[c].Conns...)
			ev.at(c, 1).SessionPresent = true
		}},
		{"a clean session", "session-invented", inv, "for a clean session", broker, func(ev *Evidence) { ev.lone().SessionPresent, ev.lone().Clean = true, true }},
		{"the session of a clean one", "session-invented", inv, "where no session was kept before", broker, func(ev *Evidence) { ev.at(b, 0).Clean = true }},
	}
}

func plantedTakeovers() []plant {
	const due = second + 2*ms + patience // after the rival's CONNACK
	return []plant{
		{"the old connection outlives a takeover", "takeover", inv, "a: connection 2 was still open at 35.002 s, 5 s after rival connection 3 was accepted at 30.002 s", broker, func(ev *Evidence) { ev.at(a, 1).End = due + 1 }},
		{"the old connection is never closed", "takeover", inv, "connection 2 was still open", broker, func(ev *Evidence) {
			ev.at(a, 1).End, ev.at(a, 1).EndKind, ev.at(a, 1).LastOut = 0, "", stopped-sec
		}},
		{"the rival outlives the next connection", "takeover", inv, "a: rival connection 3 was still open", broker, func(ev *Evidence) { ev.Clients[a].Rivals[0].End = second + sec + 5*ms + patience + 1 }},
		{"both outlive a takeover whose order is not known", "takeover", inv, "connection 2 was still open", broker, func(ev *Evidence) {
			crossed(ev)
			ev.at(a, 1).End, ev.Clients[a].Rivals[0].End = due+1, due+1
		}},
		{"one outlives a takeover whose order is known", "takeover", inv, "connection 2 was still open", broker, func(ev *Evidence) {
			crossed(ev)
			ev.Clients[a].Rivals[0].Connect = ev.at(a, 1).Connack
			ev.at(a, 1).End = due + 1
		}},
		{"a starved takeover", "takeover", no, "starved", "", func(ev *Evidence) {
			ev.at(a, 1).End = due + 1
			ev.Unfit = []Span{{due, due}}
		}},
		{"nothing was taken over", "takeover", no, "no connection of a client was taken over", "", func(ev *Evidence) { ev.Clients[a].Rivals = nil }},

		{"a silent connection lives on", "keep-alive", inv, "c connection 1: keep alive 10 s, silent for 17.5s, open until 100.000 s", broker, func(ev *Evidence) { ev.lone().MaxOutGap = int64(17_500*ms + 1) }},
		{"a connection is silent to the stop", "keep-alive", inv, "", broker, func(ev *Evidence) { ev.lone().LastOut = stopped - 17_500*ms - 1 }},
		{"a silent connection is closed too late", "keep-alive", inv, "", broker, func(ev *Evidence) { ev.at(a, 1).LastOut = second + 3*ms - 17_500*ms - 1 }},
		{"a silent rival lives on", "keep-alive", inv, "", broker, func(ev *Evidence) { ev.Clients[a].Rivals[0].MaxOutGap = int64(17_500*ms + 1) }},
		{"a starved silence", "keep-alive", no, "starved", "", func(ev *Evidence) {
			ev.lone().MaxOutGap = int64(20 * sec)
			ev.Unfit = []Span{{60 * sec, 61 * sec}}
		}},
		{"nobody has a keep alive", "keep-alive", na, "", "", func(ev *Evidence) {
			ev.Plan.Fleets[0].Session.KeepAlive, ev.Plan.Fleets[1].Session.KeepAlive = 0, 0
		}},
		{"no CONNECT had a keep alive", "keep-alive", no, "no client", "", func(ev *Evidence) {
			for i := range ev.Clients {
				for _, c := range ev.Clients[i].all() {
					c.KeepAlive = 0
				}
			}
		}},
	}
}

// crossed has the rival's CONNECT written before the CONNACK of the connection
// that it meets was read.
func crossed(ev *Evidence) {
	r := ev.Clients[a].Rivals[0]
	r.Dial, r.Dialed, r.Connect = kick, kick, ev.at(a, 1).Connack-1
}

func plantedConns() []plant {
	return append(append(plantedEnds(), plantedSessions()...), plantedTakeovers()...)
}

// disconnected has b's library leave by itself at 60 s.
func disconnected(ev *Evidence) *timeline.Conn {
	r := ev.at(b, 1)
	r.End, r.EndKind, r.Scripted, r.LastOut = 60*sec, timeline.EndLocal, false, 60*sec
	return r
}

func plantedWills() []plant {
	drop := func(k int) func(*Evidence) {
		return func(ev *Evidence) { ev.Wills = append(ev.Wills[:k:k], ev.Wills[k+1:]...) }
	}
	more := func(w timeline.Will) func(*Evidence) {
		return func(ev *Evidence) { ev.Wills = append(ev.Wills, w) }
	}
	return []plant{
		{"a second Will, read before the broker's last word on the other connection", "will", inv, "2 Wills were read of 1", broker, func(ev *Evidence) {
			willTwice(false, timeline.EndEOF)(ev)
			ev.at(b, 1).Alive = 60*sec + 1
		}},
		{"the Will of a kick is missing", "will", inv, "b: 0 Wills of 1 abnormal ends were read, the last of them of connection 1 at 1.003 s", broker, drop(1)},
		{"the Will of a takeover is missing", "will", inv, "a: 1 Wills of 2 abnormal ends", broker, drop(2)},
		{"one Will is missing, of the other a copy was read", "will", inv, "a: 1 Wills of 2 abnormal ends", broker, func(ev *Evidence) {
			ev.Wills[0].DUP = true
			drop(2)(ev)
		}},
		{"a Will too many", "will", inv, "a: 3 Wills were read of 2 connections", broker, more(timeline.Will{ClientID: "a", At: 40 * sec})},
		{"a Will after a DISCONNECT", "will", inv, "b: 2 Wills were read of 1 connections", broker, func(ev *Evidence) {
			disconnected(ev)
			more(timeline.Will{ClientID: "b", At: 61 * sec})(ev)
		}},
		{"a Will of a client without one", "will", inv, "c: 1 Wills were read of 0", broker, more(timeline.Will{ClientID: "c"})},
		{"a Will of nobody", "will", inv, "z: 1 Wills of a client that is in no fleet", broker, more(timeline.Will{ClientID: "z"})},
		{"a wrong Will", "will", inv, "a at 1.005 s on rb/a/will: QoS 0", broker, func(ev *Evidence) { ev.Wills[0].Wrong = "QoS 0" }},
		{"the DISCONNECT was swallowed and the Will is missing", "will", inv, "b: 1 Wills of 2", broker, func(ev *Evidence) {
			disconnected(ev)
			ev.Frames = append(ev.Frames, timeline.Frame{ClientID: "b", N: 2, Out: true, Type: "DISCONNECT", At: 60 * sec})
		}},
		{"a Will after a DISCONNECT that was cut off only then", "will", inv, "b: 2 Wills", broker, func(ev *Evidence) {
			disconnected(ev)
			ev.Frames = append(ev.Frames, timeline.Frame{ClientID: "b", N: 2, Out: true, Type: "DISCONNECT", At: 60 * sec, Passed: true},
				timeline.Frame{ClientID: "b", N: 1, Out: true, Type: "DISCONNECT"}, timeline.Frame{ClientID: "a", N: 2, Out: true, Type: "DISCONNECT"},
				timeline.Frame{ClientID: "b", N: 2, Type: "DISCONNECT"}, timeline.Frame{ClientID: "b", N: 2, Out: true, Type: "PUBLISH"})
			ev.at(b, 0).Will, ev.at(a, 1).Will = true, true
			more(timeline.Will{ClientID: "b", At: 61 * sec})(ev)
		}},
		{"a Will after a DISCONNECT that the plan asked for", "will", inv, "b: 2 Wills", broker, func(ev *Evidence) {
			disconnected(ev)
			ev.Actions = append(ev.Actions, act("disconnect", 2, "b", 60*sec-ms))
			ev.Plan.Phases[2].Waves[1].Faults[0].Count++ // to be issued
			more(timeline.Will{ClientID: "b", At: 61 * sec})(ev)
		}},
		{"a Will after a DISCONNECT, long after a kick", "will", inv, "b: 2 Wills", broker, func(ev *Evidence) {
			disconnected(ev)
			ev.Actions[1].Issued, ev.Actions[1].Answered = kick+100*ms, kick+102*ms // between the connections
			ev.at(b, 0).End = kick + 100*ms
			more(timeline.Will{ClientID: "b", At: 61 * sec})(ev)
		}},
		{"a Will is missing that was watched for just long enough", "will", inv, "b: 0 Wills", broker, func(ev *Evidence) {
			ev.WillWatch = []Span{{kick + 3*ms - 100*ms, kick + 3*ms + 5*sec}}
			drop(1)(ev)
		}},
		{"a Will is missing just 5 s before the stop", "will", inv, "b: 1 Wills of 2", broker, func(ev *Evidence) {
			r := disconnected(ev)
			r.End, r.LastOut, r.Disconnect, r.EndKind = stopped-patience, stopped-patience, "", timeline.EndReset
		}},
		{"nobody read the Wills", "will", no, "nobody was there", "", func(ev *Evidence) { ev.WillWatch = nil }},
		{"nobody read the Wills in time", "will", no, "3 connections ended abnormally", "", func(ev *Evidence) {
			ev.WillWatch = []Span{{50 * ms, kick + 2*ms}, {kick + 100*ms, second}, {second + 100*ms, stopped}}
		}},
		{"nobody has a Will", "will", na, "", "", func(ev *Evidence) { ev.Plan.Fleets[0].Will = nil }},
	}
}

func plantedDeaf() []plant {
	mute := func(c *timeline.Conn) { c.FirstMessage, c.LastPub = 0, 0 }
	return []plant{
		{"a probe is acknowledged and never read", "deaf", inv, "c connection 1: a probe was acknowledged at 0.110 s, and nothing was read until 100.000 s", broker, func(ev *Evidence) { mute(ev.lone()) }},
		{"only older messages are read", "deaf", inv, "", broker, func(ev *Evidence) {
			mute(ev.at(b, 1))
			ev.at(b, 1).LastPub = ev.at(b, 1).ProbeAcked - 1
		}},
		{"deaf for more than 5 s", "deaf", inv, "", broker, func(ev *Evidence) {
			mute(ev.at(a, 1))
			ev.at(a, 1).ProbeAcked = ev.at(a, 1).End - patience - 1
		}},
		{"deaf, and starved", "deaf", no, "starved", "", func(ev *Evidence) {
			mute(ev.at(b, 1))
			ev.Unfit = []Span{{6*sec + 110*ms, 7 * sec}}
		}},
		{"deaf, and a packet of another kind swallowed", "deaf", inv, "", broker, func(ev *Evidence) {
			mute(ev.at(b, 1))
			base := timeline.Frame{ClientID: "b", N: 2, Type: "PUBLISH"}
			for _, change := range []func(*timeline.Frame){
				func(f *timeline.Frame) { f.ClientID = "a" }, func(f *timeline.Frame) { f.N = 1 }, func(f *timeline.Frame) { f.Type = "PUBREL" },
				func(f *timeline.Frame) { f.Out = true }, func(f *timeline.Frame) { f.Passed = true },
			} {
				f := base
				change(&f)
				ev.Frames = append(ev.Frames, f)
			}
		}},
		{"nobody was owed anything", "deaf", no, "no probe", "", func(ev *Evidence) {
			ev.Sentinels = nil
			for i := range ev.Clients {
				for _, c := range ev.Clients[i].Conns {
					c.ProbeAcked = 0
				}
			}
		}},
		{"a message is overdue when its session ends", "deaf", inv, "which lived until 100.000 s", broker, add(ledger.Exception{
			Verdict: ledger.LegalLoss, QoS: 1, Subscriber: "b", Acked: 3 * sec, At: 8*sec + 1,
		})},
		{"a message waited for its session and is overdue", "deaf", inv, "", broker, add(ledger.Exception{
			Verdict: ledger.LegalLoss, QoS: 1, Subscriber: "b", Acked: kick, At: kick + 105*ms + 5*sec + 1,
		})},
		{"an overdue message, starved", "deaf", no, "starved", "", func(ev *Evidence) {
			add(ledger.Exception{Verdict: ledger.LegalLoss, QoS: 1, Subscriber: "b", Acked: 3 * sec, At: 9 * sec})(ev)
			ev.Unfit = []Span{{2 * sec, 3 * sec}}
		}},
		{"a connected subscriber does not read the last message", "deaf", inv, "not read until 100.000 s", broker, func(ev *Evidence) {
			x := ledger.Exception{Verdict: ledger.Undetermined, QoS: 1, Subscriber: "b", Stream: 1}
			ev.Exceptions = append(ev.Exceptions, x, x) // two messages of one stream
		}},
		{"a stream was closed just long enough before the stop", "deaf", inv, "", broker, func(ev *Evidence) {
			ev.Sentinels = append(ev.Sentinels[:0:0], Sentinel{Stream: 1, Acked: stopped - sentinelPatience})
			add(ledger.Exception{Verdict: ledger.Undetermined, QoS: 1, Subscriber: "b", Stream: 1})(ev)
		}},
		{"a subscriber whose end came with the stop does not read", "deaf", inv, "", broker, func(ev *Evidence) {
			ev.at(b, 1).End = stopped
			add(ledger.Exception{Verdict: ledger.Undetermined, QoS: 2, Subscriber: "b", Stream: 1})(ev)
		}},
		{"a subscriber that was never closed does not read", "deaf", inv, "", broker, func(ev *Evidence) {
			ev.at(b, 1).End = 0
			add(ledger.Exception{Verdict: ledger.Undetermined, QoS: 2, Subscriber: "b", Stream: 1})(ev)
		}},
		{"the last message of a starved drain", "deaf", no, "starved", "", func(ev *Evidence) {
			add(ledger.Exception{Verdict: ledger.Undetermined, QoS: 1, Subscriber: "b", Stream: 1})(ev)
			ev.Unfit = []Span{{stopped, stopped}}
		}},
	}
}

func plantedRest() []plant {
	return []plant{
		{"a kick without effect", "kick-effective", inv, "1 of 2 actions", broker, func(ev *Evidence) { ev.Actions[1].Outcome = "no-effect" }},
		{"a FIN of ours without effect", "kick-effective", inv, "b in storm wave 1: issued at 1.000 s, answered success at 1.002 s, lived on", timeline.ChargeHarness, func(ev *Evidence) {
			ev.Actions[1].Outcome, ev.Plan.Closer = "no-effect", "fin"
		}},
		{"a library that does not disconnect", "kick-effective", inv, "1 of 2 actions", library, func(ev *Evidence) {
			ev.Actions[1].Outcome, ev.Actions[1].Fault, ev.Plan.Closer = "no-effect", "disconnect", "fin"
		}},
		{"a client that never returns", "never-returned", inv, "b: connection 2, dialled at 1.100 s, ", broker, func(ev *Evidence) { ev.Away = []string{"b"} }},
		{"goroutines that do not come back", "leak", inv, "9 goroutines more of github.com/eclipse/paho.mqtt.golang.startComms (0.022 a cycle)", library, func(ev *Evidence) { ev.Leak.Goroutines[0].More = 9 }},
		{"files that do not come back", "leak", inv, "9 open files more (0.022 a cycle)", nobody, func(ev *Evidence) { ev.Leak.FDs = 9 }},
		{"a leak in as few cycles as can tell", "leak", inv, "300 cycles", library, func(ev *Evidence) { ev.Leak.Cycles, ev.Leak.Goroutines[0].More = 300, 9 }},
		{"no leak was measured", "leak", na, "", "", func(ev *Evidence) { ev.Leak = nil }},
		{"too few cycles for a leak", "leak", na, "299 cycles", "", func(ev *Evidence) { ev.Leak.Cycles, ev.Leak.FDs = 299, 1000 }},
	}
}
