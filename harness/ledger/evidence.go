package ledger

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"

	"github.com/rebound-mqtt/rebound/harness/timeline"
)

// MaxLine is the longest line of an accounts file that is read, in bytes. One
// stream with all its messages in doubt makes one line.
const MaxLine = 1 << 30

// Accounts gives what the book holds: streams by id, then deliveries by
// client, stream and epoch, then strays. Each record is taken under its lock
// and shares no memory with the book; the whole is consistent once the traffic
// has ended.
func (b *Book) Accounts() iter.Seq[Record] {
	return func(yield func(Record) bool) {
		streams := slices.Clone(b.streams.all())
		slices.SortFunc(streams, func(x, y *stream) int { return cmp.Compare(x.id, y.id) })
		for _, st := range streams {
			if !yield(Record{Stream: st.record()}) {
				return
			}
		}
		clients := b.clients.all()
		slices.SortFunc(clients, func(x, y *subscriber) int { return cmp.Compare(x.client, y.client) })
		for _, sub := range clients {
			for _, d := range sub.accounts() {
				if !yield(Record{Delivery: d.record()}) {
					return
				}
			}
		}
		for _, s := range b.strays.records() {
			if !yield(Record{Stray: &s}) {
				return
			}
		}
	}
}

func (st *stream) record() *StreamAccount {
	st.mu.Lock()
	defer st.mu.Unlock()
	a := &StreamAccount{
		ID: st.id, Publisher: st.publisher.client, Topic: st.topic, QoS: st.qos,
		Scheduled: st.scheduled, Missed: st.missed, Refused: st.refused, Queued: st.queued,
		Attempted: st.attempted.Clone(), Acked: st.acked.Clone(), Late: st.late.Clone(), Resent: st.resent.Clone(),
		Released: st.released.Clone(), Completed: st.completed.Clone(),
		Republished: st.republished.Clone(), Carried: st.carried.Clone(),
		Conn: max(st.conn, int(st.publisher.conn.Load())), Exchanges: true,
		SentinelSent: st.sentinelSent, SentinelAcked: st.sentinelAcked,
	}
	st.open.each(func(m *message) {
		open := Message{Seq: m.seq, Intended: m.intended, Sent: m.sent, Acked: m.acked, Reset: m.reset || m.displaced}
		if !st.complete(m) {
			open.Conn = m.conn
		}
		a.Open = append(a.Open, open)
		if m.abandoned {
			a.Abandoned.Add(m.seq)
		}
	})
	return a
}

func (sub *subscriber) accounts() []*delivery {
	sub.mu.Lock()
	defer sub.mu.Unlock()
	all := slices.Clone(sub.all)
	slices.SortStableFunc(all, func(x, y *delivery) int {
		return cmp.Or(cmp.Compare(x.st.id, y.st.id), cmp.Compare(x.epoch, y.epoch))
	})
	return all
}

func (d *delivery) record() *DeliveryAccount {
	members, left := d.sub.names()
	d.st.mu.Lock()
	defer d.st.mu.Unlock()
	odd := cmp.Or(d.strange, &strange{})
	a := &DeliveryAccount{
		Stream: d.st.id, Client: d.sub.client, Epoch: d.epoch, Began: d.began, Ended: d.ended,
		Members: members, Left: left,
		Granted: d.granted, Filters: d.filters, Conn: d.last,
		From: d.expected.Min(), To: d.expected.Max(),
		Delivered: d.delivered.Clone(), Answered: d.answers.done.Clone(), Pending: d.unanswered.pending(d.answers.done),
		Handled: d.application.done.Clone(), Calls: d.application.more(),
		Retained: odd.retained, Kept: odd.kept.Clone(), Again: odd.again.Clone(), Misrouted: odd.misrouted.Clone(), WrongQoS: odd.wrongQoS.Clone(),
		Below:     odd.below.Minus(odd.top).Intersect(d.expected),
		Extra:     slices.SortedFunc(maps.Values(odd.extra), func(x, y Extra) int { return cmp.Compare(x.Seq, y.Seq) }),
		Reordered: slices.Clone(odd.reordered), Final: slices.Clone(odd.final), Sentinel: d.sentinel,
		Exchanges: true,
	}
	if members != nil {
		a.Group = a.Client
	}
	if d.group != nil {
		a.Group = d.group.sub.client
	}
	a.Unordered = d.behind.Clone()
	if !d.closed {
		a.Unordered = d.unordered()
	}
	if !d.over {
		a.Conn = int(d.sub.conn.Load())
	}
	if d.recopied != 0 && d.recopied < d.high && len(a.Final) < maxFinal {
		a.Final = append(a.Final, Reorder{Seq: d.recopied, After: d.high, At: odd.extra[d.recopied].At})
	}
	if a.From > 0 {
		a.Except = d.st.attempted.Within(a.From, a.To).Minus(d.expected)
	}
	return a
}

// more lists what was done more than once.
func (g *handling) more() []Calls {
	var out []Calls
	for _, seq := range slices.Sorted(maps.Keys(g.calls)) {
		out = append(out, Calls{Seq: seq, N: g.calls[seq]})
	}
	return out
}

func (s *strays) records() []Stray {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := slices.Clone(s.list)
	kinds := slices.SortedFunc(maps.Keys(s.more), func(x, y strayKind) int {
		return cmp.Or(cmp.Compare(x.why, y.why), cmp.Compare(x.qos, y.qos))
	})
	for _, k := range kinds {
		all = append(all, Stray{QoS: k.qos, Why: k.why, Count: s.more[k]})
	}
	return all
}

// WriteAccounts writes the records as JSON, one a line. The caller compresses:
// timeline.WriteMember makes accounts.jsonl.gz of it, and a plain gzip reader
// feeds ReadAccounts.
func WriteAccounts(w io.Writer, records iter.Seq[Record]) error {
	out := bufio.NewWriterSize(w, 64<<10)
	enc := json.NewEncoder(out)
	n := 0
	for r := range records {
		if err := enc.Encode(r); err != nil {
			return fmt.Errorf("write accounts: %w", err)
		}
		n++
	}
	if err := enc.Encode(Record{Closing: &Closing{Records: n}}); err != nil {
		return fmt.Errorf("write accounts: %w", err)
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("write accounts: %w", err)
	}
	return nil
}

// ReadAccounts reads what WriteAccounts wrote. When the text, or the gzip
// member around it, stops in the middle it gives the whole lines before the
// break and timeline.ErrTruncated, at a line that is no record those before it
// and timeline.ErrCorrupt.
func ReadAccounts(r io.Reader) ([]Record, error) {
	var records []Record
	closed := false
	err := timeline.Lines(r, MaxLine, func(n int, text []byte) error {
		var rec Record
		if err := json.Unmarshal(text, &rec); err != nil {
			return fmt.Errorf("%w: line %d: %w", timeline.ErrCorrupt, n, err)
		}
		if err := rec.check(); err != "" {
			return fmt.Errorf("%w: line %d: %s", timeline.ErrCorrupt, n, err)
		}
		switch {
		case closed:
			return fmt.Errorf("%w: line %d: a record after the closing one", timeline.ErrCorrupt, n)
		case rec.Closing == nil:
			records = append(records, rec)
		case rec.Closing.Records != len(records):
			return fmt.Errorf("%w: %d records, the closing one counts %d", timeline.ErrCorrupt, len(records), rec.Closing.Records)
		default:
			closed = true
		}
		return nil
	})
	if err == nil && !closed {
		err = fmt.Errorf("%w: the closing record is missing", timeline.ErrTruncated)
	}
	if err != nil {
		return records, fmt.Errorf("read accounts: %w", err)
	}
	return records, nil
}

// check says what is wrong with a record that was read, "" if nothing.
func (r *Record) check() string {
	fields := 0
	for _, set := range []bool{r.Stream != nil, r.Delivery != nil, r.Stray != nil, r.Closing != nil} {
		if set {
			fields++
		}
	}
	switch {
	case fields != 1:
		return fmt.Sprintf("%d records in one line", fields)
	case r.Stream != nil && min(r.Stream.Scheduled, r.Stream.Missed, r.Stream.Refused, r.Stream.Queued) < 0,
		r.Stray != nil && r.Stray.Count < 0:
		return "a negative count"
	case r.Delivery != nil && slices.ContainsFunc(r.Delivery.Extra, func(e Extra) bool { return e.Copies < 2 }):
		return "an extra with fewer than two copies"
	case r.Delivery != nil && slices.ContainsFunc(r.Delivery.Calls, func(c Calls) bool { return c.N < 2 }):
		return "fewer than two of several handler calls"
	}
	return ""
}
