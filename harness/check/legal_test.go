package check

import (
	"strings"
	"testing"

	"github.com/rebound-mqtt/rebound/harness/ledger"
	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/reports"
	"github.com/rebound-mqtt/rebound/scenarios"
)

// legal bends the clean evidence in a way that the standard allows: every check
// stays valid, and only the one that is named, if any, warns.
type legal struct {
	what  string
	warns string
	words string // in the warning
	bend  func(*Evidence)
}

func mild(x ledger.Exception, warn bool) func(*Evidence) {
	x.Fault, x.Warn = false, warn
	return add(x)
}

func legals() []legal {
	out := []legal{
		{"a share of the packets is met more often than planned", "", "", func(ev *Evidence) {
			ev.Actions = append(ev.Actions, act("swallow", 2, "b", second), act("cut", 2, "b", second))
		}},
		{"a time-out is dated back to its deadline", "", "", func(ev *Evidence) { ev.at(a, 0).End, ev.at(a, 0).EndKind = 50*ms, timeline.EndTimeout }},
		{"reader and writer stamp apart from each other", "", "", func(ev *Evidence) { ev.at(c, 0).Restored = stopped + 10*ms + endSlack }},
		{"instants that are the same", "", "", func(ev *Evidence) {
			r := ev.at(c, 0)
			r.Dialed, r.Connect, r.Connack, r.Restored = r.Dial, r.Dial, r.Dial, r.Dial
			ev.Actions[0].Answered = ev.Actions[0].Issued
		}},
		{"a dial that failed", "", "", func(ev *Evidence) {
			ev.Clients[c].Conns = append([]*timeline.Conn{{ClientID: "c", Dial: 50 * ms, End: 51 * ms, EndKind: timeline.EndDial}}, ev.Clients[c].Conns...)
		}},

		{"loss at QoS 0", "", "", func(ev *Evidence) {
			ev.Messages[0].Lost = 5
			add(ledger.Exception{Verdict: ledger.LostQoS0, Stream: 1})(ev)
		}},
		{"a loss that only warns", "lost", "rb/a #7", func(ev *Evidence) {
			ev.Messages[1].Lost = 1
			mild(exception(ledger.Lost, 1, ""), true)(ev)
		}},
		{"a loss that was scripted", "", "", add(ledger.Exception{Verdict: ledger.Scripted, Stream: 2, Seq: 5})},

		{"a breach that only warns", "dup-flag", "b connection 2", func(ev *Evidence) {
			f := finding("dup-flag", broker)
			f.Warn = true
			found(f)(ev)
		}},
		{"many breaches that only warn", "dup-flag", "3 more", found(timeline.Finding{Rule: "dup-flag", Warn: true, Count: 3})},
		{"an end that is judged from the records", "", "", found(timeline.Finding{Rule: timeline.RuleEnd, Charge: broker})},
		{"a breach of the message that was swallowed", "", "", bent(func(f *timeline.Finding) { f.PacketID = 9 })},
		{"a breach of the id that was swallowed", "", "", bent(func(f *timeline.Finding) { f.Stream, f.Seq = 0, 0 })},
		{"a breach of the id that was swallowed, by an answer to it", "", "", bent(func(f *timeline.Finding) {
			f.Stream, f.Seq, f.Last = 0, 0, []timeline.Packet{{At: f.At, Type: "PUBACK", ID: 7}, {At: f.At + 1, Type: "PUBREL", Out: true, ID: 7}}
		})},
		{"a breach of the id that was swallowed, by the packet itself", "", "", func(ev *Evidence) {
			ev.Frames[0].Type = "PUBREL"
			bent(func(f *timeline.Finding) {
				f.Stream, f.Seq, f.Last = 0, 0, []timeline.Packet{{At: f.At, Type: "PUBLISH", ID: 7}}
			})(ev)
		}},
		{"a breach of the id whose message is not known", "", "", func(ev *Evidence) {
			ev.Frames[0].Stream, ev.Frames[0].Seq = 0, 0
			bent(func(*timeline.Finding) {})(ev)
		}},
		{"a breach at the instant of the swallowed packet", "", "", bent(func(f *timeline.Finding) { f.At = second + 500*ms })},
		{"a warning about the message that was swallowed", "", "", bent(func(f *timeline.Finding) { f.Warn = true })},
		{"a grant that is all that the target gives", "suback", "b connection 2", granting(1, 1)},
		{"a grant of QoS 0 by a target without more", "suback", "b connection 2", granting(0, 0)},
		{"one filter lowered, one as asked, one restored", "suback", "b connection 2", func(ev *Evidence) {
			granting(1, 1)(ev)
			ev.at(b, 1).Subs = append(ev.at(b, 1).Subs, timeline.Sub{QoS: 0, Acked: 1}, timeline.Sub{QoS: 2, Granted: 1, Restored: true})
		}},

		{"a SUBSCRIBE that was answered after 5 s, one that could not be yet", "", "", func(ev *Evidence) {
			ev.at(b, 1).Subs = []timeline.Sub{{QoS: 1, Sent: 50 * sec, Acked: 55 * sec}, {QoS: 1, Sent: stopped - 5*sec}, {QoS: 1, Restored: true}}
		}},
		{"a SUBSCRIBE whose answer a fault swallowed", "", "", func(ev *Evidence) {
			ev.at(b, 1).Subs = []timeline.Sub{{QoS: 1, Sent: 50 * sec}}
			ev.Frames = append(ev.Frames, timeline.Frame{ClientID: "b", N: 2, Type: "SUBACK"})
		}},

		{"a session that a CONNECT left whose CONNACK was never read", "", "", func(ev *Evidence) {
			ev.Clients[c].Conns = append([]*timeline.Conn{{ClientID: "c", Dial: 50 * ms, Connect: 51 * ms, End: 60 * ms}}, ev.Clients[c].Conns...)
			ev.at(c, 1).SessionPresent = true
		}},
		{"a session under an id from before the run", "", "", func(ev *Evidence) {
			ev.Plan.Fleets[1].ClientID = "thing-{index}"
			ev.at(c, 0).SessionPresent = true
		}},
		{"a clean session between whose order is not known", "", "", func(ev *Evidence) {
			ev.Clients[c].Conns = append([]*timeline.Conn{
				{ClientID: "c", N: 1, Dial: 50 * ms, Connect: 51 * ms, End: 90 * ms},
				{ClientID: "c", N: 2, Dial: 50 * ms, Connect: 52 * ms, Clean: true, Connack: 60 * ms, End: 90 * ms},
			}, ev.Clients[c].Conns...)
			ev.at(c, 2).SessionPresent = true
		}},
		{"a clean session that was not accepted when the CONNECT was written", "", "", func(ev *Evidence) {
			ev.Clients[b].Rivals = []*timeline.Conn{{ClientID: "b", N: 9, Rival: true, Dial: kick + 50*ms, Connect: kick + 51*ms, Clean: true, Connack: kick + 103*ms, End: kick + 104*ms}}
		}},
		{"a session that is not kept and not there", "", "", func(ev *Evidence) { ev.at(b, 1).Clean, ev.at(b, 1).SessionPresent = true, false }},
		{"a refused resume", "", "", func(ev *Evidence) {
			r := resumed(conn("b", 0, kick+50*ms))
			r.ConnackCode, r.SessionPresent, r.Restored, r.ProbeAcked, r.End = 3, false, 0, 0, kick+60*ms
			ev.Clients[b].Conns = append(ev.Clients[b].Conns[:1:1], r, ev.Clients[b].Conns[1])
		}},

		{"the old connection ends 5 s after a takeover", "", "", func(ev *Evidence) { ev.at(a, 1).End = second + 2*ms + patience }},
		{"the old connection lives on where the order is not known", "", "", func(ev *Evidence) {
			crossed(ev)
			ev.at(a, 1).End, ev.at(a, 1).LastOut = second+30*sec, second+29*sec
			ev.Clients[a].Rivals[0].End = second + 2*ms + patience
		}},
		{"the stop comes before the old connection had its 5 s", "", "", func(ev *Evidence) {
			ev.Clients[a].Rivals = append(ev.Clients[a].Rivals, rival("a", 5, stopped-5*sec-2*ms, 0))
		}},

		{"silence up to the tolerance", "", "", func(ev *Evidence) { ev.at(c, 0).MaxOutGap, ev.at(c, 0).LastOut = int64(17_500*ms), stopped-17_500*ms }},
		{"silence without a keep alive", "", "", func(ev *Evidence) { ev.at(c, 0).MaxOutGap, ev.at(c, 0).KeepAlive = int64(90*sec), 0 }},
		{"silence on a connection that was refused", "", "", func(ev *Evidence) {
			refused(3, false)(ev)
			ev.at(c, 0).MaxOutGap = int64(90 * sec)
		}},

		{"a QoS 0 Will is missing", "will", "b: 1 of 1 Wills at QoS 0", func(ev *Evidence) {
			ev.Plan.Fleets[0].Will = &scenarios.Will{QoS: 0}
			ev.Wills = append(ev.Wills[:1:1], ev.Wills[2:]...)
		}},
		{"a Will is missing of a target that grants QoS 0", "will", "a: 2 of 2 Wills at QoS 0", func(ev *Evidence) {
			ev.Target.Abilities.MaxQoS = new(int)
			ev.Wills = ev.Wills[1:2:2]
		}},
		{"a target whose kick publishes no Will", "", "", func(ev *Evidence) { ev.Target.Abilities.SendsWill, ev.Wills = false, ev.Wills[2:] }},
		{"a second copy of a Will", "", "", willTwice(true, "")},
		{"the first copy of a Will was not read", "", "", func(ev *Evidence) { ev.Wills[0].DUP, ev.Wills[1].DUP = true, true }},
		{"a Will whose DISCONNECT met the broker's own close", "", "", willTwice(false, timeline.EndEOF)},
		{"a Will whose DISCONNECT did not get through", "", "", func(ev *Evidence) {
			willTwice(false, timeline.EndLocal)(ev)
			ev.at(b, 1).PartialOut = 1
		}},
		{"a Will whose DISCONNECT was swallowed", "", "", func(ev *Evidence) {
			willTwice(false, timeline.EndLocal)(ev)
			ev.Frames = append(ev.Frames, timeline.Frame{ClientID: "b", N: 2, Out: true, Type: "DISCONNECT"})
		}},
		{"a Will whose DISCONNECT crossed a kick", "", "", func(ev *Evidence) {
			willTwice(false, timeline.EndLocal)(ev)
			x := act("close", 1, "b", 60*sec-ms)
			ev.Actions = append(ev.Actions, x)
			ev.Plan.Phases[2].Waves[0].Faults[0].Count++
		}},
		{"a Will of a CONNECT whose CONNACK was never read", "", "", func(ev *Evidence) {
			r := ended(conn("b", 0, 50*ms), 60*ms)
			r.Connack, r.Restored, r.ProbeAcked = 0, 0, 0
			ev.Clients[b].Conns = append([]*timeline.Conn{r}, ev.Clients[b].Conns...)
			ev.Wills = append(ev.Wills, timeline.Will{ClientID: "b"})
		}},
		{"no Will of a CONNECT that was refused", "", "", func(ev *Evidence) {
			r := ended(conn("b", 0, 50*ms), 60*ms)
			r.ConnackCode, r.Restored, r.ProbeAcked = 3, 0, 0
			ev.Clients[b].Conns = append([]*timeline.Conn{r}, ev.Clients[b].Conns...)
		}},
		{"no Will of a connection without", "", "", func(ev *Evidence) { ev.at(b, 0).Will, ev.Wills = false, append(ev.Wills[:1:1], ev.Wills[2:]...) }},
		{"no Will of a connection that ended 5 s before the stop", "", "", func(ev *Evidence) {
			r := disconnected(ev)
			r.End, r.LastOut, r.Disconnect, r.EndKind = stopped-patience+1, stopped-patience, "", timeline.EndReset
			ev.WillWatch[0].To = 2 * stopped
		}},
		{"no Will of a connection that the stop ended", "", "", func(ev *Evidence) {
			r := ev.at(b, 1)
			r.End, r.Disconnect, r.Scripted = stopped-10*sec, "", true
		}},
		{"no Will while its watcher was away", "", "", func(ev *Evidence) {
			ev.WillWatch = []Span{{50 * ms, kick + 3*ms + patience - 1}, {kick + 3*ms - 100*ms + 1, stopped}}
			ev.Wills = ev.Wills[2:]
		}},
		{"no Will while the harness was starved", "", "", func(ev *Evidence) {
			ev.Unfit = []Span{{6 * sec, 7 * sec}}
			ev.Wills = ev.Wills[2:]
		}},

		{"a probe was read late", "", "", func(ev *Evidence) { ev.at(b, 1).LastPub = 0 }},
		{"another message was read since", "", "", func(ev *Evidence) { ev.at(b, 1).FirstMessage, ev.at(b, 1).LastPub = 0, ev.at(b, 1).ProbeAcked }},
		{"a probe waits for 5 s", "", "", func(ev *Evidence) {
			r := ev.at(a, 1)
			r.FirstMessage, r.LastPub, r.ProbeAcked = 0, 0, r.End-patience
		}},
		{"the subscriptions are 5 s old", "", "", func(ev *Evidence) {
			r := ev.at(a, 1)
			r.FirstMessage, r.LastPub, r.Restored = 0, 0, r.End-patience
		}},
		{"no probe was acknowledged", "", "", func(ev *Evidence) { ev.at(b, 1).FirstMessage, ev.at(b, 1).LastPub, ev.at(b, 1).ProbeAcked = 0, 0, 0 }},
		{"no subscription was restored", "", "", func(ev *Evidence) { ev.at(b, 1).FirstMessage, ev.at(b, 1).LastPub, ev.at(b, 1).Restored = 0, 0, 0 }},
		{"one probe and one stream", "", "", func(ev *Evidence) {
			ev.at(a, 0).ProbeAcked, ev.at(a, 1).ProbeAcked, ev.at(a, 2).ProbeAcked, ev.at(b, 0).ProbeAcked, ev.at(b, 1).ProbeAcked = 0, 0, 0, 0, 0
		}},
		{"a message was swallowed and no other read", "", "", func(ev *Evidence) {
			ev.at(b, 1).FirstMessage, ev.at(b, 1).LastPub = 0, 0
			ev.Frames = append(ev.Frames, timeline.Frame{ClientID: "b", N: 2, Type: "PUBLISH"})
		}},
		{"a tail that was acknowledged 5 s before its session ended", "", "", add(ledger.Exception{Verdict: ledger.LegalLoss, QoS: 1, Subscriber: "b", Acked: 3 * sec, At: 8 * sec})},
		{"a tail that was acknowledged while its subscriber was away", "", "", add(ledger.Exception{Verdict: ledger.LegalLoss, QoS: 1, Subscriber: "b", Acked: kick, At: kick + 105*ms + 5*sec})},
		{"a tail whose acknowledgement is not known", "", "", add(ledger.Exception{Verdict: ledger.LegalLoss, QoS: 1, Subscriber: "b", At: 80 * sec})},
		{"a tail of a subscriber that is not known", "", "", add(ledger.Exception{Verdict: ledger.LegalLoss, QoS: 1, Subscriber: "z", Acked: 3 * sec, At: 80 * sec})},
		{"a tail on a connection that was never subscribed", "", "", func(ev *Evidence) {
			ev.at(b, 1).Restored = 0
			add(ledger.Exception{Verdict: ledger.LegalLoss, QoS: 1, Subscriber: "b", Acked: 3 * sec, At: 80 * sec})(ev)
		}},
		{"messages in doubt at a client that is away", "", "", func(ev *Evidence) {
			ev.at(b, 1).End = stopped - 1
			add(ledger.Exception{Verdict: ledger.Undetermined, QoS: 1, Subscriber: "b", Stream: 1})(ev)
			ev.Wills = append(ev.Wills, timeline.Will{ClientID: "b"})
			ev.at(b, 1).Disconnect = ""
		}},
		{"messages in doubt that wait for their PUBREL", "", "", add(ledger.Exception{Verdict: ledger.Undetermined, Cause: ledger.CauseUnreleased, QoS: 2, Subscriber: "b", Stream: 1})},
		{"messages in doubt at a client that is not subscribed", "", "", func(ev *Evidence) {
			ev.at(b, 1).Restored = 0
			add(ledger.Exception{Verdict: ledger.Undetermined, QoS: 1, Subscriber: "b", Stream: 1})(ev)
		}},
		{"messages in doubt at a client that is not known", "", "", add(ledger.Exception{Verdict: ledger.Undetermined, QoS: 1, Subscriber: "z", Stream: 1})},
		{"messages in doubt at QoS 0", "", "", add(ledger.Exception{Verdict: ledger.Undetermined, Subscriber: "b", Stream: 1})},
		{"messages in doubt of a stream that was not closed", "", "", add(ledger.Exception{Verdict: ledger.Undetermined, QoS: 1, Subscriber: "b", Stream: 9})},
		{"a stream was closed just before the stop", "", "", func(ev *Evidence) {
			ev.Sentinels = append(ev.Sentinels[:0:0], Sentinel{Stream: 1, Acked: stopped - sentinelPatience + 1})
			add(ledger.Exception{Verdict: ledger.Undetermined, QoS: 1, Subscriber: "b", Stream: 1})(ev)
		}},

		{"a swallow that changed nothing", "", "", func(ev *Evidence) { ev.Actions[3].Outcome = "no-effect" }},
		{"heap that does not come back", "leak", "bytes of heap more (16385 a cycle)", func(ev *Evidence) { ev.Leak.HeapBytes = 400 * 16385 }},
		{"heap up to the bound", "", "", func(ev *Evidence) { ev.Leak.HeapBytes = 400 * 16384 }},
		{"files up to the bound", "", "", func(ev *Evidence) { ev.Leak.FDs = 8 }},
		{"fewer goroutines than before", "", "", func(ev *Evidence) { ev.Leak.Goroutines[0].More = -1000 }},
	}
	for _, v := range []ledger.Verdict{
		ledger.NotRedelivered, ledger.LostInClient, ledger.Duplicated, ledger.Reordered, ledger.Unexpected, ledger.Misrouted, ledger.WrongQoS, ledger.Stuck,
	} {
		out = append(out,
			legal{"an exception that is legal: " + string(v), "", "", mild(exception(v, 1, broker), false)},
			legal{"an exception that warns: " + string(v), string(v), described, mild(exception(v, 1, broker), true)},
		)
	}
	return out
}

// willTwice has b's second connection end at 60 s, after a DISCONNECT unless the
// Will is a copy of the first one, and a further Will read.
func willTwice(dup bool, kind timeline.EndKind) func(*Evidence) {
	return func(ev *Evidence) {
		ev.Wills = append(ev.Wills, timeline.Will{ClientID: "b", DUP: dup, At: 60 * sec})
		if !dup {
			disconnected(ev).EndKind = kind
		}
	}
}

func TestLegal(t *testing.T) {
	for _, l := range legals() {
		t.Run(l.what, func(t *testing.T) {
			ev := clean()
			l.bend(&ev)
			for name, c := range verdicts(ev) {
				if c.Verdict != reports.Valid {
					t.Errorf("%s is %s: %s %q", name, c.Verdict, c.Detail, c.Examples)
				}
				if warns := c.Warnings > 0; warns != (name == l.warns) || warns && !strings.Contains(strings.Join(c.Warned, ""), l.words) {
					t.Errorf("%s warns %d times: %q", name, c.Warnings, c.Warned)
				}
			}
		})
	}
}
