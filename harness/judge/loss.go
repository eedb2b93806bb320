package judge

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/rebound-mqtt/rebound/harness/ledger"
	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/reports"
)

// lossOf is what one outage cost at one QoS: the number of lost messages and
// the first and last intended instant of their run.
type lossOf struct {
	n           int64
	first, last timeline.Instant
}

func (l lossOf) with(intended timeline.Instant) lossOf {
	if l.n == 0 {
		return lossOf{1, intended, intended}
	}
	return lossOf{l.n + 1, min(l.first, intended), max(l.last, intended)}
}

// gap is the length of the run of lost messages, in ns; 0 for none or one.
func (l lossOf) gap() int64 { return int64(l.last - l.first) }

// outagesByID finds the outage of a client by an instant.
type outagesByID map[string][]*Outage

func byClientID(outages []*Outage) outagesByID {
	m := outagesByID{}
	for _, o := range outages { // by start, and so is each list
		m[o.ClientID] = append(m[o.ClientID], o)
	}
	return m
}

// at gives the outage in which an instant lies, from its start to back or
// censored; of two that overlap the earlier one; nil = none.
func (m outagesByID) at(client string, t timeline.Instant) *Outage {
	if t == 0 {
		return nil
	}
	for _, o := range m[client] {
		if o.Holds(t) {
			return o
		}
	}
	return nil
}

// qosLevels is how many levels of QoS there are: 0, 1 and 2.
const qosLevels = 3

// isLoss reports whether an exception is a message that its subscriber missed
// for good.
func isLoss(v ledger.Verdict) bool { return v == ledger.Lost || v == ledger.LostQoS0 }

// joinLosses gives each outage the messages that were sent to its client in it
// and lost. Outages that cost nothing are not in the map: their zero counts.
func joinLosses(by outagesByID, a ledger.Account) map[*Outage][qosLevels]lossOf {
	losses := map[*Outage][qosLevels]lossOf{}
	for _, x := range a.Exceptions {
		if !isLoss(x.Verdict) || x.QoS >= qosLevels {
			continue
		}
		if o := by.at(x.Subscriber, x.Sent); o != nil {
			l := losses[o]
			l[x.QoS] = l[x.QoS].with(x.Intended)
			losses[o] = l
		}
	}
	return losses
}

// messages closes the account of messages and fills in its balance, each row
// of losses.csv, and the rows that are shown. Accounts that could not be read
// leave no balance: their metrics have no samples.
func (j *judgement) messages() {
	j.away = gone(j.storm, j.rules)
	j.byID = byClientID(j.storm.Outages)
	if !j.e.counted {
		return
	}
	j.account = ledger.Close(j.e.records, ledger.Situation{
		Away: j.away, Drained: j.drained(), Frames: j.e.frames, Clean: j.clean(), Lapses: j.lapses(),
	})
	var lostAway [qosLevels]int64
	for _, x := range j.account.Exceptions {
		row, away := j.row(x)
		j.r.Losses = append(j.r.Losses, row)
		if away && isLoss(x.Verdict) && x.QoS < qosLevels {
			lostAway[x.QoS]++
		}
	}
	for q, m := range j.account.QoS {
		m.QoS, m.LostAway = q, lostAway[q]
		if (m == reports.Messages{QoS: 2}) {
			continue // a row for QoS 2 only where there is any
		}
		j.r.Messages = append(j.r.Messages, m)
	}
	j.r.LossExamples = lossExamples(j.r.Losses)
}

// clean gives the client ids whose connections asked for a clean session,
// those of the control fleet among them.
func (j *judgement) clean() map[string]bool {
	ids := map[string]bool{}
	for i := range j.e.conns {
		if c := &j.e.conns[i]; c.Clean {
			ids[c.ClientID] = true
		}
	}
	return ids
}

// row is one row of losses.csv, and whether the message was sent inside an
// outage of its subscriber.
func (j *judgement) row(x ledger.Exception) (reports.Loss, bool) {
	l := reports.Loss{
		Verdict: string(x.Verdict), Stream: x.Stream, Topic: x.Topic, QoS: int(x.QoS),
		Publisher: x.Publisher, Subscriber: x.Subscriber, Seq: x.Seq,
		Intended: instant(x.Intended), Sent: instant(x.Sent), Acked: instant(x.Acked),
		Epoch: x.Epoch, Phase: j.e.phaseAt(cmp.Or(x.Sent, x.At)), Copies: x.Copies, Why: x.Why,
	}
	l.Read, l.Fault, l.Charge, l.Cause = instant(x.At), x.Fault, string(x.Charge), x.Cause
	o := j.byID.at(x.Subscriber, x.Sent)
	if o != nil {
		l.OutageFrom, l.OutageTo = new(seconds(o.Start)), new(seconds(o.Until))
		l.Present = o.present()
		if k, scripted := o.wave(); scripted {
			l.Wave = k.wave
		}
	}
	l.Pointer = j.pointer(x, o)
	return l, o != nil
}

// present is what the broker said of the session when the client returned: the
// session present of the first accepted attempt; nil = it did not return.
func (o *Outage) present() *bool {
	for _, c := range o.Attempts {
		if accepted(c) {
			return &c.SessionPresent
		}
	}
	return nil
}

// pointer says where the evidence on a message is: the finding about it, else
// the record of the connection that it is about.
func (j *judgement) pointer(x ledger.Exception, o *Outage) string {
	if line := j.findingOf(x); line > 0 {
		return fmt.Sprintf("findings.jsonl.gz line %d", line)
	}
	client, n := x.Subscriber, x.Conn
	if x.Verdict == ledger.Stuck && x.Charge != timeline.ChargeSubscriber {
		client = x.Publisher
	}
	if n == 0 && o != nil {
		n = o.Lost.N
	}
	switch {
	case x.Charge == timeline.ChargePublisher && x.Verdict != ledger.Stuck && x.Stream > 0:
		// What the publisher did with it stands in the account of its stream.
	case n > 0:
		return fmt.Sprintf("events.jsonl.gz conn %s n=%d", client, n)
	}
	if x.Stream > 0 {
		return fmt.Sprintf("accounts.jsonl.gz stream %d", x.Stream)
	}
	return "accounts.jsonl.gz strays"
}

// findingOf is the line of the first finding about a message, 0 = none.
func (j *judgement) findingOf(x ledger.Exception) int {
	if j.findings == nil {
		j.findings = map[messageKey]int{}
		for i, f := range j.e.found {
			k := messageKey{f.ClientID, f.Stream, f.Seq}
			if f.Stream != 0 && j.findings[k] == 0 {
				j.findings[k] = i + 1
			}
		}
	}
	line := j.findings[messageKey{x.Subscriber, x.Stream, x.Seq}]
	return cmp.Or(line, j.findings[messageKey{x.Publisher, x.Stream, x.Seq}])
}

// messageKey names a message at a client.
type messageKey struct {
	client string
	stream uint32
	seq    uint64
}

// instant is an instant in seconds, nil where it is not known.
func instant(t timeline.Instant) *float64 {
	if t == 0 {
		return nil
	}
	return new(seconds(t))
}

// maxLossExamples is how many rows of losses.csv the report shows.
const maxLossExamples = 20

// lossExamples picks the rows that matter most: what is a fault before what is
// legal, else in their order.
func lossExamples(rows []reports.Loss) []reports.Loss {
	rank := func(l reports.Loss) int {
		if l.Fault {
			return -1
		}
		return slices.Index([]string{
			string(ledger.Lost), string(ledger.Unexpected), string(ledger.Reordered), string(ledger.Undetermined), string(ledger.Scripted),
			string(ledger.LegalLoss), string(ledger.Duplicated), string(ledger.LostQoS0),
		}, l.Verdict)
	}
	sorted := slices.Clone(rows)
	slices.SortStableFunc(sorted, func(a, b reports.Loss) int { return cmp.Compare(rank(a), rank(b)) })
	return slices.Clip(sorted[:min(len(sorted), maxLossExamples)])
}
