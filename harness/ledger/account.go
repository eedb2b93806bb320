package ledger

import (
	"maps"

	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/reports"
)

// Verdict of one message whose account is not plain.
type Verdict string

// The verdicts.
const (
	Lost           Verdict = "lost"            // acknowledged, owed at QoS 1 or 2, never read
	LostQoS0       Verdict = "lost-qos0"       // attempted, owed at QoS 0, never read: counted, never failed
	LegalLoss      Verdict = "legal-loss"      // the tail of an epoch that ended
	Undetermined   Verdict = "undetermined"    // owed, but the run could not see whether it would still come
	NotRedelivered Verdict = "not-redelivered" // read, never answered by the client, and not sent again on a later connection of the epoch
	LostInClient   Verdict = "lost-in-client"  // answered with PUBACK or PUBREC, and the handler was never called
	Stuck          Verdict = "stuck"           // an exchange that stands still though its connection lives
	Duplicated     Verdict = "duplicated"      // read or handled more than once: legal at QoS 1
	Reordered      Verdict = "reordered"       // first read after one that was certainly sent later
	Unexpected     Verdict = "unexpected"      // no attempt explains it
	Misrouted      Verdict = "misrouted"       // delivered to a session without a matching filter
	WrongQoS       Verdict = "wrong-qos"       // delivered at a QoS that no granted filter explains
	Scripted       Verdict = "scripted"        // missing or standing still by a packet that a frame fault swallowed: excused
)

// Exception is one message at one subscriber whose account is not plain.
// Instants are 0 where they are not known.
type Exception struct {
	Verdict    Verdict
	Stream     uint32
	Topic      string
	QoS        byte // expected: of the publish, lowered by the SUBACK
	Publisher  string
	Subscriber string
	Seq        uint64
	Intended   timeline.Instant
	Sent       timeline.Instant
	Acked      timeline.Instant
	At         timeline.Instant // read (the last copy, if duplicated); for a legal loss: end of the epoch
	Epoch      int
	Copies     int // read in the whole run
	Why        string

	// Fault says that the exception breaks what the standard promises, Warn
	// that it is worth a warning; with neither it is legal, and counted.
	Fault  bool
	Warn   bool
	Charge timeline.Charge // whom a fault charges
	Cause  string          // one of the Cause constants, "" = unknown
	Conn   int             // number of the subscriber's (of a stuck publish: the publisher's) connection that it is about, 0 = not known
}

// Causes of exceptions.
const (
	CauseResend     = "publisher-resend" // of copies: the publisher sent it again before it was acknowledged
	CauseRepublish  = "republish"        // of copies: the publisher sent it again after that
	CauseRedelivery = "redelivery"       // of copies: the earlier one was not answered, or its connection ended
	CauseOverlap    = "overlap"          // of copies: one for each matching filter
	CauseReassigned = "reassigned"       // of copies: another member of the shared group got it
	CauseUnprovoked = "unprovoked"       // of copies: the earlier one was answered and its connection lived on
	CauseHandler    = "handler"          // the handler was called more often than a copy was read
	CauseSession    = "session"          // a session ended in between
	CauseRestart    = "broker-restart"   // the broker was restarted in between, and had no duty to keep it
	CauseUnreleased = "unreleased"       // of what is undetermined: the broker may wait for the PUBREL
	CauseFrame      = "frame-fault"      // a packet that a frame fault swallowed
)

// Situation is what the accounts are closed with, beside the records.
type Situation struct {
	Away    map[string]bool  // client ids that were not connected and subscribed at the end
	Drained bool             // the run waited for all that could still come, then sent the sentinels
	Frames  []timeline.Frame // packets that scripted frame faults acted on
	// Clean holds client ids whose sessions are clean: what such a publisher
	// sends again after its session was lost it had to forget [MQTT-3.1.2-6].
	Clean map[string]bool
	// Lapses are the times whose acknowledgements the broker had no duty to
	// remember: it was restarted after them, without what it had kept.
	Lapses []Lapse
}

// Lapse is a stretch of a run whose acknowledgements a restart of the broker may
// have undone. Its target says so itself: it keeps nothing, or what came last
// only in a while.
type Lapse struct {
	From, To timeline.Instant // To: the next broker was started
}

// Holds reports whether an instant lies in the lapse.
func (l Lapse) Holds(at timeline.Instant) bool { return l.From < at && at <= l.To }

// Account is the closing balance of messages.
type Account struct {
	// QoS holds the balance by QoS, 0 to 2. The publisher's side (streams to
	// indeterminate) counts under the QoS of the publish, the subscribers' side
	// under the expected QoS, which a SUBACK may have lowered. LostAway is left
	// to who knows the outages.
	QoS [3]reports.Messages
	// Exceptions are ordered by stream, in it the publisher's first, then by
	// subscriber; strays come last.
	Exceptions []Exception
	// Unlisted counts exceptions that were counted and not listed, because
	// there were more than MaxListed of their verdict.
	Unlisted map[Verdict]int64
	// Problems says in words what is wrong with the records besides the
	// balances; with any the account is unknown.
	Problems []string
}

// MaxListed is how many exceptions of one verdict Close lists.
const MaxListed = 1_000_000

// Balanced reports whether everything adds up. If not, the account is unknown.
func (a Account) Balanced() bool {
	return len(a.Problems) == 0 && a.QoS[0].Balance == "" && a.QoS[1].Balance == "" && a.QoS[2].Balance == ""
}

// Merge adds an account of other streams. It is associative, and the zero
// Account changes nothing.
func (a Account) Merge(o Account) Account {
	for q := range a.QoS {
		a.QoS[q] = mergeMessages(a.QoS[q], o.QoS[q])
	}
	a.Exceptions = concat(a.Exceptions, o.Exceptions)
	a.Problems = concat(a.Problems, o.Problems)
	if len(o.Unlisted) > 0 {
		sum := maps.Clone(o.Unlisted)
		for v, n := range a.Unlisted {
			sum[v] += n
		}
		a.Unlisted = sum
	}
	return a
}

func mergeMessages(a, o reports.Messages) reports.Messages {
	balance := a.Balance
	if balance != "" && o.Balance != "" {
		balance += "; "
	}
	return reports.Messages{
		QoS:           max(a.QoS, o.QoS), // the same in both, or one is a zero value
		Streams:       a.Streams + o.Streams,
		Scheduled:     a.Scheduled + o.Scheduled,
		Missed:        a.Missed + o.Missed,
		Refused:       a.Refused + o.Refused,
		Queued:        a.Queued + o.Queued,
		Attempted:     a.Attempted + o.Attempted,
		Acknowledged:  a.Acknowledged + o.Acknowledged,
		Indeterminate: a.Indeterminate + o.Indeterminate,
		Expected:      a.Expected + o.Expected,
		Delivered:     a.Delivered + o.Delivered,
		Lost:          a.Lost + o.Lost,
		LostAway:      a.LostAway + o.LostAway,
		LegalLoss:     a.LegalLoss + o.LegalLoss,
		Undetermined:  a.Undetermined + o.Undetermined,
		Recovered:     a.Recovered + o.Recovered,
		Duplicated:    a.Duplicated + o.Duplicated,
		Forbidden:     a.Forbidden + o.Forbidden,
		Reordered:     a.Reordered + o.Reordered,
		Unexpected:    a.Unexpected + o.Unexpected,
		Balance:       balance + o.Balance,

		Completed:      a.Completed + o.Completed,
		NotRedelivered: a.NotRedelivered + o.NotRedelivered,
		LostInClient:   a.LostInClient + o.LostInClient,
		Stuck:          a.Stuck + o.Stuck,
		Misrouted:      a.Misrouted + o.Misrouted,
		WrongQoS:       a.WrongQoS + o.WrongQoS,
		Scripted:       a.Scripted + o.Scripted,
		Handled:        a.Handled + o.Handled,
	}
}

// concat gives a new slice, nil if there is nothing in it.
func concat[T any](a, b []T) []T {
	if len(a)+len(b) == 0 {
		return nil
	}
	return append(append(make([]T, 0, len(a)+len(b)), a...), b...)
}
