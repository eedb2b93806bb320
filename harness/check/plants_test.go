package check

import (
	"slices"

	"github.com/rebound-mqtt/rebound/harness/ledger"
	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/reports"
	"github.com/rebound-mqtt/rebound/scenarios"
)

// plant bends the clean evidence so that exactly the named check turns.
type plant struct {
	what    string
	check   string
	verdict reports.Verdict
	words   string // in the detail, or in an example
	charge  timeline.Charge
	bend    func(*Evidence)
}

const (
	no, inv, na = reports.Unknown, reports.Invalid, reports.NotApplicable

	broker     = timeline.ChargeBroker
	library    = timeline.ChargeClient
	publisher  = timeline.ChargePublisher
	subscriber = timeline.ChargeSubscriber
	nobody     = timeline.Charge(unknownCharge)
)

func plants() []plant {
	return slices.Concat(plantedFrame(), plantedMessages(), plantedRules(), plantedConns(), plantedWills(), plantedDeaf(), plantedRest())
}

func plantedFrame() []plant {
	return []plant{
		{"missing evidence", "assumptions", no, "health.csv is cut", "", func(ev *Evidence) { ev.Missing = []string{"health.csv is cut"} }},
		{"interrupted", "assumptions", no, "interrupted", "", func(ev *Evidence) { ev.Interrupted = true }},
		{"aborted", "assumptions", no, "connect timed out", "", func(ev *Evidence) { ev.Aborted = "connect timed out" }},
		{"no health", "assumptions", no, "health", "", func(ev *Evidence) { ev.Health = false }},
		{"a phase before the fault timed out", "assumptions", no, "connect", "", func(ev *Evidence) { ev.Phases[0].Reason = "timeout" }},
		{"a phase did not run", "assumptions", no, "steady did not run", "", func(ev *Evidence) { ev.Phases = append(ev.Phases[:1:1], ev.Phases[2:]...) }},
		{"the drain timed out", "assumptions", no, "did not become quiet", "", func(ev *Evidence) { ev.Phases[3].Reason = "timeout" }},
		{"a client did not connect", "assumptions", no, "1 of 2 clients", "", func(ev *Evidence) { ev.Connected["devices"] = 1 }},
		{"an action was not issued", "assumptions", no, "2 of 3 planned actions", "", func(ev *Evidence) { ev.Actions = append(ev.Actions[:1:1], ev.Actions[2:]...) }},
		{"an action without an issue", "assumptions", no, "2 of 3 planned actions", "", func(ev *Evidence) { ev.Actions[1].Issued, ev.Actions[1].Outcome = 0, "" }},
		{"a call was not answered", "assumptions", no, "1 of 4 calls", "", func(ev *Evidence) { ev.Actions[1].Answered = 0 }},
		{"a call failed", "assumptions", no, "503", "", func(ev *Evidence) {
			ev.Actions[1].Outcome, ev.Actions[1].OK, ev.Actions[1].Err = "failed", false, "503"
		}},
		{"a fault could not be done here", "assumptions", no, "nft-drop (phase storm wave 1) was SKIPPED: no nft", "", func(ev *Evidence) {
			ev.Extents = []timeline.Extent{{ID: 1, Fault: "nft-drop", Phase: "storm", Wave: 1, Issued: 1, Skipped: "no nft"}}
		}},
		{"a fault failed", "assumptions", no, "slow-auth (phase storm wave 1) failed: no gate", "", func(ev *Evidence) {
			ev.Extents = []timeline.Extent{{ID: 1, Fault: "slow-auth", Phase: "storm", Wave: 1, Issued: 1, Err: "no gate"}}
		}},
		{"a fault without victims never came", "assumptions", no, "slow-auth did not take effect (phase storm wave 1)", "", func(ev *Evidence) {
			p := *ev.Plan
			p.Phases = slices.Clone(p.Phases)
			for i := range p.Phases {
				if ph := &p.Phases[i]; len(ph.Waves) > 0 {
					ph.Waves = slices.Clone(ph.Waves)
					w := &ph.Waves[0]
					w.Faults = append(slices.Clone(w.Faults), scenarios.PlanFault{Kind: "slow-auth", Extent: true})
				}
			}
			ev.Plan = &p
		}},
		{"a frame fault met nothing", "assumptions", no, "the fault swallow did not meet its packet (phase storm wave 2)", "", func(ev *Evidence) { ev.Frames = nil }},
		{"a frame fault met nothing in its wave", "assumptions", no, "did not meet", "", func(ev *Evidence) { ev.Frames[0].Wave = 1 }},
		{"a frame fault met nothing in its phase", "assumptions", no, "did not meet", "", func(ev *Evidence) { ev.Frames[0].Phase = "steady" }},
		{"a frame fault met nothing in its fleet", "assumptions", no, "did not meet", "", func(ev *Evidence) { ev.Frames[0].Fleet = "others" }},
		{"another frame fault met a packet", "assumptions", no, "did not meet", "", func(ev *Evidence) { ev.Frames[0].Fault = "cut" }},
		{"a sentinel was not acknowledged", "assumptions", no, "1 of 1 streams", "", func(ev *Evidence) {
			ev.Sentinels = append(ev.Sentinels[:0:0], Sentinel{Stream: 1, Topic: "rb/a", Sent: 1})
		}},
		{"a connection goes backwards", "assumptions", no, "a connection 1: dialled at 0.101 s, CONNECT at 0.100 s", "", func(ev *Evidence) { ev.at(a, 0).Connect = ev.at(a, 0).Dial }},
		{"a rival goes backwards", "assumptions", no, "the clock jumped: 1 instants", "", func(ev *Evidence) { ev.Clients[a].Rivals[0].Dialed = 1 }},
		{"a connection is restored before it is accepted", "assumptions", no, "CONNACK at 0.105 s, restored at 0.105 s", "", func(ev *Evidence) { ev.at(c, 0).Restored = ev.at(c, 0).Connack - 1 }},
		{"a connection ends before it began", "assumptions", no, "the clock jumped", "", func(ev *Evidence) {
			ev.at(c, 0).Restored = stopped + 10*ms + endSlack + 1
		}},
		{"an answer before its call", "assumptions", no, "issued at 1.000 s, answered at 1.000 s", "", func(ev *Evidence) { ev.Actions[0].Answered = kick - 1 }},

		{"accounts that do not add up", "balance", no, "QoS 1: 3 too few", "", func(ev *Evidence) { ev.Messages[1].Balance = "3 too few" }},
		{"accounts of QoS 2 that do not add up", "balance", no, "QoS 2: 1 too many", "", func(ev *Evidence) { ev.Messages[2].Balance = "1 too many" }},
		{"accounts with problems", "balance", no, "two accounts", "", func(ev *Evidence) { ev.Problems = []string{"stream 1 has two accounts"} }},
	}
}

func exception(v ledger.Verdict, qos byte, charge timeline.Charge) ledger.Exception {
	return ledger.Exception{
		Verdict: v, Fault: true, Charge: charge, Stream: 1, Topic: "rb/a", QoS: qos, Publisher: "control", Subscriber: "a",
		Seq: 7, Conn: 2, Sent: 2 * sec, Acked: 3 * sec, Why: "so it was", Cause: "planted",
	}
}

func add(x ledger.Exception) func(*Evidence) {
	return func(ev *Evidence) { ev.Exceptions = append(ev.Exceptions, x) }
}

const described = "rb/a #7 (stream 1, QoS 1) from control to a on connection 2 at 3.000 s: so it was: planted"

func plantedMessages() []plant {
	out := []plant{
		{"a lost message", "lost", inv, "1 of 20 acknowledged QoS 1 and 2", broker, func(ev *Evidence) {
			ev.Messages[1].Lost = 1
			ev.Lost = []reports.Loss{{Verdict: "lost", QoS: 1, Topic: "rb/a", Seq: 7, Subscriber: "a", Phase: "storm"}}
		}},
		{"a lost message of QoS 2", "lost", inv, described2, subscriber, func(ev *Evidence) {
			ev.Messages[2].Lost = 1
			add(exception(ledger.Lost, 2, subscriber))(ev)
		}},
		{"a lost message that the list alone has", "lost", inv, described, broker, add(exception(ledger.Lost, 1, ""))},
		{"a lost message that is not listed", "lost", inv, "1 of 20", broker, func(ev *Evidence) {
			ev.Unlisted[ledger.Lost] = 1
			ev.Lost = []reports.Loss{{Verdict: "lost", QoS: 1}, {Verdict: "lost-qos0"}, {Verdict: "lost", QoS: 0}}
		}},
		{"messages in doubt at a client that was there", "lost", no, "2 of 20 acknowledged QoS 1 and 2 messages were neither read", "", func(ev *Evidence) { ev.Undecided = 2 }},
		{"all that was owed is undetermined", "lost", no, "of all 20 acknowledged QoS 1 and 2 messages it is not known", "", func(ev *Evidence) {
			for q := 1; q <= 2; q++ {
				ev.Messages[q].Undetermined = ev.Messages[q].Expected
			}
		}},
		{"nothing was owed", "lost", no, "owed", "", func(ev *Evidence) { ev.Messages[1].Expected, ev.Messages[2].Expected = 0, 0 }},

		{"the listed are legal, the others are not known", "duplicated", no, "9 of this kind", "", func(ev *Evidence) { ev.Unlisted[ledger.Duplicated] = 9 }},
		{"the order of those not listed is not known", "reordered", no, "9 of this kind", "", func(ev *Evidence) { ev.Unlisted[ledger.Reordered] = 9 }},
		{"a stray that is only counted", "unexpected", inv, "not listed", nobody, func(ev *Evidence) { ev.Unlisted[ledger.Unexpected] = 1 }},
	}
	for _, x := range []struct {
		v      ledger.Verdict
		charge timeline.Charge
	}{
		{ledger.NotRedelivered, broker}, {ledger.LostInClient, subscriber}, {ledger.Duplicated, publisher}, {ledger.Reordered, broker},
		{ledger.Unexpected, broker}, {ledger.Misrouted, broker}, {ledger.WrongQoS, broker}, {ledger.Stuck, publisher},
	} {
		out = append(out, plant{"an exception: " + string(x.v), string(x.v), inv, described, x.charge, add(exception(x.v, 1, x.charge))})
	}
	return out
}

const described2 = "rb/a #7 (stream 1, QoS 2) from control to a on connection 2"

// finding is a breach on the second connection of b.
func finding(rule string, charge timeline.Charge) timeline.Finding {
	return timeline.Finding{Rule: rule, Charge: charge, Fleet: "devices", ClientID: "b", N: 2, At: 40 * sec, Detail: "so it was", PacketID: 9, Stream: 3, Seq: 4}
}

func found(f timeline.Finding) func(*Evidence) {
	return func(ev *Evidence) { ev.Findings = append(ev.Findings, f) }
}

func plantedRules() []plant {
	var out []plant
	for rule, charge := range map[string]timeline.Charge{
		"packet-id": library, "publish-after-pubrel": publisher, "resend-after-clean": publisher, "dup-flag": broker, "first-packet": broker, "resend-order": publisher,
		"retained-on-resume": broker, "suback": broker, "unknown-ack": broker, "server-packet": broker,
	} {
		f := finding(rule, charge)
		out = append(out,
			plant{"a breach: " + rule, rule, inv, "b connection 2 at 40.000 s, packet id 9, stream 3 #4: so it was", charge, found(f)},
			plant{"a breach that is only counted: " + rule, rule, inv, "1 more", charge, found(timeline.Finding{Rule: rule, Charge: charge, Count: 1})},
		)
	}
	const excuse = "not excused by a swallowed packet: "
	return append(out, []plant{
		{excuse + "another client", "dup-flag", inv, "", broker, bent(func(f *timeline.Finding) { f.ClientID = "a" })},
		{excuse + "another message with its id", "dup-flag", inv, "", broker, bent(func(f *timeline.Finding) { f.Seq = 6 })},
		{excuse + "another stream with its id", "dup-flag", inv, "", broker, bent(func(f *timeline.Finding) { f.Stream = 3 })},
		{excuse + "another id, message not known", "dup-flag", inv, "", broker, bent(func(f *timeline.Finding) { f.Stream, f.Seq, f.PacketID = 0, 0, 8 })},
		{excuse + "an id of the broker, of which the client's was swallowed", "dup-flag", inv, "", broker, bent(func(f *timeline.Finding) {
			f.Stream, f.Seq, f.Last = 0, 0, []timeline.Packet{{At: f.At, Type: "PUBLISH", ID: 7}}
		})},
		{excuse + "an id of the client, of which the broker's was swallowed", "dup-flag", inv, "", broker, func(ev *Evidence) {
			ev.Frames[0].Out = true
			bent(func(f *timeline.Finding) {
				f.Stream, f.Seq, f.Last = 0, 0, []timeline.Packet{{At: f.At, Type: "PUBACK", ID: 7}}
			})(ev)
		}},
		{excuse + "neither id nor message known", "dup-flag", inv, "", broker, func(ev *Evidence) {
			ev.Frames[0].PacketID, ev.Frames[0].Stream = 0, 0
			bent(func(f *timeline.Finding) { f.Stream, f.Seq, f.PacketID = 0, 0, 0 })(ev)
		}},
		{excuse + "before it", "dup-flag", inv, "", broker, bent(func(f *timeline.Finding) { f.At = second + 500*ms - 1 })},
		{excuse + "the publisher's library", "dup-flag", inv, "", publisher, bent(func(f *timeline.Finding) { f.Charge = publisher })},
		{excuse + "the subscriber's library", "dup-flag", inv, "", subscriber, bent(func(f *timeline.Finding) { f.Charge = subscriber })},
		{excuse + "the client's library", "dup-flag", inv, "", library, bent(func(f *timeline.Finding) { f.Charge = library })},
		{excuse + "a sum of many", "dup-flag", inv, "", broker, bent(func(f *timeline.Finding) { f.Count = 1 })},
		{"not excused by a packet that passed", "dup-flag", inv, "", broker, func(ev *Evidence) {
			ev.Frames[0].Passed = true
			bent(func(*timeline.Finding) {})(ev)
		}},
		{"a breach that charges nobody", "dup-flag", inv, "unknown 1", nobody, found(finding("dup-flag", ""))},

		{"a grant below that of the target", "suback", inv, "", broker, granting(1, 0)},
		{"a grant above what was asked", "suback", inv, "", broker, func(ev *Evidence) {
			granting(2, 2)(ev)
			ev.at(b, 1).Subs[0].QoS = 1
		}},
		{"one filter lowered, one refused", "suback", inv, "", broker, func(ev *Evidence) {
			granting(1, 1)(ev)
			ev.at(b, 1).Subs = append(ev.at(b, 1).Subs, timeline.Sub{QoS: 1, Acked: 1, Granted: 0x80})
		}},
		{"one filter lowered, one not answered", "suback", inv, "", broker, func(ev *Evidence) {
			granting(1, 1)(ev)
			ev.at(b, 1).Subs = append(ev.at(b, 1).Subs, timeline.Sub{QoS: 1, Sent: stopped - sec, Granted: 1})
		}},
		{"a SUBSCRIBE that was never answered", "suback", inv, "no SUBACK for 2 filters", broker, func(ev *Evidence) {
			ev.at(b, 1).Subs = []timeline.Sub{{QoS: 1, Sent: 50 * sec}, {QoS: 1, Sent: 50 * sec}, {QoS: 1, Sent: 1, Acked: 2}}
		}},
		{"a SUBSCRIBE that was answered when it was sent again", "suback", inv, "no SUBACK for 1 filters", broker, func(ev *Evidence) {
			ev.at(b, 1).Subs = []timeline.Sub{{QoS: 1, Sent: 50 * sec, Acked: 55*sec + 1}}
		}},
		{"a SUBSCRIBE that a starved harness had no answer to", "suback", no, "starved", "", func(ev *Evidence) {
			ev.at(b, 1).Subs = []timeline.Sub{{QoS: 1, Sent: 50 * sec, Acked: 56 * sec}}
			ev.Unfit = []Span{{52 * sec, 53 * sec}}
		}},
		{"handed over under a used packet id", "lost-in-client", inv, "in use for another", broker, func(ev *Evidence) {
			add(ledger.Exception{Verdict: ledger.LostInClient, Fault: true, Charge: timeline.ChargeSubscriber, Subscriber: "b", Stream: 3, Seq: 4})(ev)
			ev.Findings = append(ev.Findings, timeline.Finding{Rule: "packet-id", Charge: broker, ClientID: "b", Stream: 3, Seq: 4, Warn: true})
		}},
		{"a grant that is as asked", "suback", inv, "", broker, granting(1, 2)},
		{"a lower grant of a target without a limit", "suback", inv, "", broker, func(ev *Evidence) {
			granting(1, 1)(ev)
			ev.Target.Abilities.MaxQoS = nil
		}},
		{"a lower grant on another connection", "suback", inv, "", broker, func(ev *Evidence) {
			granting(1, 1)(ev)
			ev.Findings[0].N = 1
		}},
		{"a lower grant of nobody", "suback", inv, "", broker, func(ev *Evidence) {
			granting(1, 1)(ev)
			ev.Findings[0].ClientID = "z"
		}},
	}...)
}

// granting has a target that grants QoS top at most grant less than 2 to b, and
// the tap find it.
func granting(top int, granted byte) func(*Evidence) {
	return func(ev *Evidence) {
		ev.Target.Abilities.MaxQoS = &top
		ev.at(b, 1).Subs = []timeline.Sub{{QoS: 2, Granted: granted, Sent: 1, Acked: 2}}
		found(finding("suback", broker))(ev)
	}
}

// bent is a breach about the packet that was swallowed, changed.
func bent(change func(*timeline.Finding)) func(*Evidence) {
	f := finding("dup-flag", broker)
	f.PacketID, f.Stream, f.Seq = 7, 2, 5
	change(&f)
	return found(f)
}
