package ledger

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rebound-mqtt/rebound/reports"
	"pgregory.net/rapid"
)

func TestCloseCounts(t *testing.T) {
	h := newHistory(1)
	h.Slots(1, 10, 1, 1)
	h.Slots(1, 2, 1, 0)
	h.Queued(1, 1)
	h.write(1, 2, 3, 4, 5, 6, 7, 8).ack(1, 2, 3, 5, 6) // 4, 7, 8 are indeterminate
	h.read(1, 4, 3, 5, 5, 5).fresh().write().sentinel()
	h.Corrupt("s", []byte("t"), h.tick())
	want := reports.Messages{
		QoS: 1, Streams: 1, Scheduled: 12, Missed: 2, Refused: 1, Queued: 1,
		Attempted: 8, Acknowledged: 5, Indeterminate: 3,
		Expected: 5, Delivered: 3, Lost: 1, LegalLoss: 1,
		Recovered: 1, Duplicated: 2, Reordered: 1, Unexpected: 1, Stuck: 3, Handled: 4,
	}
	a := h.close(t)
	if diff := cmp.Diff(want, a.QoS[1]); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if a.QoS[0] != (reports.Messages{}) {
		t.Errorf("QoS 0 has %+v", a.QoS[0])
	}
	if got, want := h.Totals(), (Totals{
		Attempted: 8, Acked: 5, Delivered: 4, Duplicated: 2, Reordered: 1, Unexpected: 1, InDoubt: 7, Lost: [3]int64{0, 1},
	}); got != want {
		t.Errorf("totals %+v, want %+v", got, want)
	}
}

// The live figure of losses: what a later one has passed, until it comes.
func TestTotalsLost(t *testing.T) {
	h := newHistory(1)
	lost := func(want int64) {
		t.Helper()
		if got := h.Totals().Lost; got != [3]int64{0, want} {
			t.Errorf("lost %v, want %d", got, want)
		}
	}
	h.write(1, 2, 3, 4)
	lost(0)
	h.read(4)
	lost(3)
	h.read(2, 2)
	lost(2)
	h.write(7, 6, 5, 8).read(5, 7) // 6 was written after 7
	lost(2)
	h.read(8, 6, 1, 3)
	lost(0)
	h.write(9, 10, 11, 13, 12).read(12) // itself written late, which is no gap
	lost(3)
}

// A copy in a third epoch is a copy too, not a first one.
func TestTotalsOverEpochs(t *testing.T) {
	h := newHistory(1).write(1).ack(1).read(1).fresh().write(2).read(2).fresh().read(1)
	if got := h.Totals(); got.Delivered != 2 || got.Duplicated != 1 {
		t.Errorf("%+v", got)
	}
}

func TestCloseCountsQoS0(t *testing.T) {
	a := newHistory(0).write(1, 2, 3, 4).read(1, 3, 3).close(t)
	want := reports.Messages{Streams: 1, Scheduled: 4, Attempted: 4, Expected: 4, Delivered: 2, Lost: 2, Duplicated: 1, Forbidden: 1, Handled: 2}
	if diff := cmp.Diff(want, a.QoS[0]); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// A lowered grant moves the subscriber's side to QoS 0, the publisher's stays.
func TestCloseCountsDowngraded(t *testing.T) {
	h := newHistory(1)
	h.Subscribed("s", "t", 0, h.tick())
	a := h.write(1, 2).ack(1, 2).read(1).close(t)
	if m := a.QoS[1]; m.Streams != 1 || m.Acknowledged != 2 || m.Expected != 0 || m.Lost != 0 {
		t.Errorf("QoS 1: %+v", m)
	}
	if m := a.QoS[0]; m.Streams != 0 || m.Expected != 2 || m.Delivered != 1 || m.Lost != 1 {
		t.Errorf("QoS 0: %+v", m)
	}
}

func TestExceptionsCarryTheirTimes(t *testing.T) {
	h := newHistory(1)
	h.Attempted(1, 1, 1, 100, 101)
	h.now = 200
	h.Attempted(1, 2, 1, 199, h.now)
	h.Acked(1, 1, 300)
	h.Acked(1, 2, 301)
	h.now = 400
	h.Subscribed("s", "t", 1, 50)
	h.AddStream(2, "p", "t2", 0)
	a := h.close(t)
	if len(a.Exceptions) != 0 {
		t.Errorf("before the SUBACK nothing is owed: %+v", a.Exceptions)
	}

	h = newHistory(1)
	h.Attempted(1, 1, 1, 2e6+1, 2e6+2)
	h.Acked(1, 1, 300e6)
	h.fresh()
	want := Exception{
		Verdict: LegalLoss, Stream: 1, Topic: "t", QoS: 1, Publisher: "p", Subscriber: "s", Seq: 1,
		Intended: 2e6 + 1, Sent: 2e6 + 2, Acked: 300e6, At: 3e6, Epoch: 1, Why: "session ended", Cause: CauseSession,
	}
	if a := h.close(t); len(a.Exceptions) != 1 || a.Exceptions[0] != want {
		t.Errorf("%+v\nwant %+v", a.Exceptions, want)
	}

	// The times of a settled message come from the payload of its second copy.
	h = newHistory(1).write(1).ack(1).read(1, 1).sentinel()
	want = Exception{
		Verdict: Duplicated, Stream: 1, Topic: "t", QoS: 1, Publisher: "p", Subscriber: "s", Seq: 1,
		Intended: 5, Sent: 6, At: 7e6, Epoch: 1, Copies: 2, Conn: 1, Why: "unprovoked", Cause: CauseUnprovoked, Warn: true,
	}
	if a := h.close(t); len(a.Exceptions) != 1 || a.Exceptions[0] != want {
		t.Errorf("%+v\nwant %+v", a.Exceptions, want)
	}
}

func TestCausesOfCopies(t *testing.T) {
	for want, play := range map[string]func(*history) *history{
		"unprovoked": func(h *history) *history { return h.write(1).ack(1).read(1, 1) },
		"redelivery": func(h *history) *history {
			return h.write(1).ack(1).read(1).reconnect().copy("s", true, 2, 1).reconnect().read(1)
		},
		"publisher-resend": func(h *history) *history {
			h.write(1).read(1)
			h.conn++
			return h.write(1).ack(1).read(1)
		},
		"overlap": func(h *history) *history {
			h.Subscribed("s", "#", 1, h.tick())
			return h.write(1).ack(1).read(1, 1)
		},
	} {
		a := play(newHistory(1)).sentinel().close(t)
		if len(a.Exceptions) != 1 || a.Exceptions[0].Why != want {
			t.Errorf("%s: %+v", want, a.Exceptions)
		}
	}
}

// Each difference must be told, in words that name it.
func TestBalanceTellsTheDifference(t *testing.T) {
	stream := func() *StreamAccount {
		return &StreamAccount{ID: 1, Publisher: "p", Topic: "t", QoS: 1, Scheduled: 3, Attempted: NewSet(1, 2, 3), Acked: NewSet(1, 2, 3)}
	}
	delivery := func() *DeliveryAccount {
		return &DeliveryAccount{Stream: 1, Client: "s", Epoch: 1, Granted: 1, Filters: 1, From: 1, To: 3, Delivered: NewSet(1, 2, 3)}
	}
	if a := Close([]Record{{Stream: stream()}, {Delivery: delivery()}}, Situation{Drained: true}); !a.Balanced() || len(a.Exceptions) > 0 {
		t.Fatalf("the plain account does not balance: %+v", a)
	}
	for want, spoil := range map[string]func(*StreamAccount, *DeliveryAccount) []Record{
		"4 scheduled, but 3 attempted + 0 missed + 0 refused + 0 queued = 3": func(s *StreamAccount, _ *DeliveryAccount) []Record {
			s.Scheduled++
			return nil
		},
		"1 acknowledged that were never attempted": func(s *StreamAccount, _ *DeliveryAccount) []Record {
			s.Acked.Add(9)
			return nil
		},
		"3 acknowledged at QoS 0": func(s *StreamAccount, _ *DeliveryAccount) []Record {
			s.QoS = 0
			return nil
		},
		"1 indeterminate, but the instants of only 0": func(s *StreamAccount, _ *DeliveryAccount) []Record {
			s.Acked = NewSet(1, 2)
			return nil
		},
		"1 lost, but the instants of only 0": func(_ *StreamAccount, d *DeliveryAccount) []Record {
			d.Delivered = NewSet(1, 3)
			return nil
		},
		"1 expected by s in two epochs": func(_ *StreamAccount, d *DeliveryAccount) []Record {
			second := *d
			second.Epoch, second.From, second.Delivered = 2, 3, Set{}
			return []Record{{Delivery: &second}}
		},
		"4 was read 2 times by s and is not among the delivered": func(_ *StreamAccount, d *DeliveryAccount) []Record {
			d.Extra = []Extra{{Seq: 4, Copies: 2}}
			return nil
		},
		"stream 1 has two accounts": func(*StreamAccount, *DeliveryAccount) []Record {
			return []Record{{Stream: stream()}}
		},
		"stream 2 has QoS 3, which is none": func(*StreamAccount, *DeliveryAccount) []Record {
			return []Record{{Stream: &StreamAccount{ID: 2, QoS: 3}}}
		},
		"u has a delivery account of stream 5, which has no account": func(*StreamAccount, *DeliveryAccount) []Record {
			return []Record{{Delivery: &DeliveryAccount{Stream: 5, Client: "u"}}}
		},
	} {
		s, d := stream(), delivery()
		more := spoil(s, d)
		a := Close(append([]Record{{Stream: s}, {Delivery: d}}, more...), Situation{Drained: true})
		words := strings.Join(append([]string{a.QoS[0].Balance, a.QoS[1].Balance}, a.Problems...), "\n")
		if a.Balanced() || !strings.Contains(words, want) {
			t.Errorf("%q does not say %q", words, want)
		}
	}
	if words := settled(reports.Messages{QoS: 1, Expected: 5, Delivered: 2, Lost: 1, LegalLoss: 1}, 0); words !=
		"5 deliveries owed, but 2 delivered + 1 lost + 1 legal loss + 0 undetermined + 0 scripted = 4" {
		t.Error(words)
	}
	if words := settled(reports.Messages{QoS: 1, Expected: 5, Delivered: 2, Recovered: 2, Indeterminate: 2}, 3); words != "" {
		t.Error(words)
	}
	if words := settled(reports.Messages{Recovered: 2, Indeterminate: 1}, 0); words != "" {
		t.Error("at QoS 0 nothing is indeterminate:", words)
	}
	if words := settled(reports.Messages{QoS: 1, Recovered: 2, Indeterminate: 1}, 0); words != "2 recovered of only 1 indeterminate" {
		t.Error(words)
	}
}

// What was read and never attempted counts even where the book let it in.
func TestDeliveredBeyondAttempted(t *testing.T) {
	a := Close([]Record{
		{Stream: &StreamAccount{ID: 1, Topic: "t", QoS: 1, Scheduled: 1, Attempted: NewSet(1), Acked: NewSet(1)}},
		{Delivery: &DeliveryAccount{Stream: 1, Client: "s", Delivered: NewSet(1, 2, 3)}},
	}, Situation{Drained: true})
	wants(t, a, "unexpected s 2", "unexpected s 3")
	if a.QoS[1].Unexpected != 2 {
		t.Error(a.QoS[1].Unexpected)
	}
}

func TestBalanceNamesBoundedly(t *testing.T) {
	var records []Record
	for id := range uint32(3 * maxWords) {
		records = append(records, Record{Stream: &StreamAccount{ID: id, Scheduled: 1}})
	}
	words := strings.Split(Close(records, Situation{Drained: true}).QoS[0].Balance, "; ")
	if len(words) != maxWords+1 || words[maxWords] != "and more" {
		t.Errorf("%d streams named: %q", len(words), words[len(words)-1])
	}
}

// The counts stay exact where the list stops.
func TestListStops(t *testing.T) {
	n := uint64(30)
	var all Set
	all.AddRange(1, n)
	a := closeUpTo(20, []Record{
		{Stream: &StreamAccount{ID: 1, Scheduled: int64(n), Attempted: all}},
		{Delivery: &DeliveryAccount{Stream: 1, Client: "s", Filters: 1, From: 1, To: n}},
	}, Situation{Drained: true})
	if a.QoS[0].Lost != int64(n) || len(a.Exceptions) != 20 || a.Unlisted[LostQoS0] != 10 {
		t.Errorf("%d lost, %d listed, %v not", a.QoS[0].Lost, len(a.Exceptions), a.Unlisted)
	}
}

func TestRecordsInAnyOrder(t *testing.T) {
	// Two accounts in one epoch, of which the later one expects nothing; then the
	// same, ended.
	raised := func() *history {
		h := newHistory(2)
		h.Subscribed("s", "t", 1, h.tick())
		h.exchange(1, 2).read(1)
		h.Subscribed("s", "t", 2, h.tick())
		return h.sentinel()
	}
	for _, h := range []*history{rich(), raised(), raised().fresh().exchange(3)} {
		records := slices.Collect(h.Accounts())
		want := Close(records, Situation{Drained: true})
		rapid.Check(t, func(t *rapid.T) {
			if got := Close(rapid.Permutation(records).Draw(t, "order"), Situation{Drained: true}); !reflect.DeepEqual(got, want) {
				t.Fatalf("%+v\nwant %+v", got, want)
			}
		})
	}
	wants(t, raised().close(t), "lost s 2")
	wants(t, raised().fresh().close(t), "legal-loss s 2")
}

func TestMergeIsAssociative(t *testing.T) {
	account := rapid.Custom(func(t *rapid.T) Account {
		var a Account
		n := rapid.Int64Range(0, 9)
		words := rapid.SampledFrom([]string{"", "x", "y"})
		for q := range a.QoS {
			a.QoS[q] = reports.Messages{QoS: q, Balance: words.Draw(t, "balance")}
			v := reflect.ValueOf(&a.QoS[q]).Elem()
			for i := range v.NumField() {
				if f := v.Field(i); f.CanInt() && v.Type().Field(i).Name != "QoS" {
					f.SetInt(n.Draw(t, "n"))
				}
			}
		}
		for range n.Draw(t, "exceptions") {
			a.Exceptions = append(a.Exceptions, Exception{Seq: uint64(n.Draw(t, "seq"))})
		}
		if w := words.Draw(t, "problem"); w != "" {
			a.Problems = []string{w}
			a.Unlisted = map[Verdict]int64{Verdict(w): 1}
		}
		return a
	})
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := account.Draw(t, "a"), account.Draw(t, "b"), account.Draw(t, "c")
		if left, right := a.Merge(b).Merge(c), a.Merge(b.Merge(c)); !reflect.DeepEqual(left, right) {
			t.Fatalf("%+v\n%+v", left, right)
		}
		if !reflect.DeepEqual(a.Merge(Account{}), a) || !reflect.DeepEqual(Account{}.Merge(a), a) {
			t.Fatalf("the empty account changes %+v", a)
		}
		sum := reflect.ValueOf(a.Merge(b).QoS[1])
		for i := range sum.NumField() { // a field that Merge forgets would vanish
			f, x, y := sum.Field(i), reflect.ValueOf(a.QoS[1]).Field(i), reflect.ValueOf(b.QoS[1]).Field(i)
			if name := sum.Type().Field(i).Name; f.CanInt() && name != "QoS" && f.Int() != x.Int()+y.Int() {
				t.Fatalf("%s: %d + %d = %d", name, x.Int(), y.Int(), f.Int())
			}
		}
	})
}

// Two streams closed apart and merged are the two closed together.
func TestMergeIsCloseOfAll(t *testing.T) {
	records := slices.Collect(rich().Accounts())
	other := []Record{
		{Stream: &StreamAccount{ID: 2, Topic: "u", Scheduled: 2, Attempted: NewSet(1), Open: []Message{{Seq: 1, Sent: 4}}}},
		{Delivery: &DeliveryAccount{Stream: 2, Client: "s", Filters: 1, From: 1, To: 1}},
	}
	strays := records[len(records)-1:]
	rest := records[:len(records)-1]
	apart := Close(rest, Situation{Drained: true}).Merge(Close(other, Situation{Drained: true})).Merge(Close(strays, Situation{Drained: true}))
	together := Close(slices.Concat(rest, other, strays), Situation{Drained: true})
	if !reflect.DeepEqual(apart, together) {
		t.Errorf("%+v\n%+v", apart, together)
	}
	if together.QoS[0].Balance == "" {
		t.Error("the second stream does not balance, which is lost")
	}
}
