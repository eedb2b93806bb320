package fleet

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rebound-mqtt/rebound/harness/mqtt"
	"github.com/rebound-mqtt/rebound/harness/protocol"
	"github.com/rebound-mqtt/rebound/harness/timeline"
)

// What the monitor says of a packet, and what the accounts are told of it.
func TestStepsAreTold(t *testing.T) {
	type told struct {
		step protocol.Step
		out  bool
		typ  mqtt.Type
		want string // of a message of KindData
	}
	for _, tt := range []told{
		{protocol.None, false, mqtt.PUBACK, ""},
		{protocol.Acked, false, mqtt.PUBACK, "acked 4/8"},
		{protocol.Received, false, mqtt.PUBREC, "acked 4/8"},
		{protocol.Released, true, mqtt.PUBREL, "released 4/8 on 1"},
		{protocol.Completed, false, mqtt.PUBCOMP, "completed 4/8"},
		{protocol.Answered, true, mqtt.PUBACK, "answered 4/8 on 1"},
		{protocol.Answered, true, mqtt.PUBREC, "answered 4/8 on 1"},
		{protocol.Discharged, false, mqtt.PUBREL, ""},
		{protocol.Ended, true, mqtt.PUBCOMP, ""},
	} {
		for _, kind := range []mqtt.Kind{mqtt.KindData, mqtt.KindSentinel, mqtt.KindProbe, 0} {
			b, _, s := lone(t, false)
			c := s.begin(100)
			p := mqtt.Packet{Type: tt.typ, ID: 1}
			seen := then{seen: protocol.Seen{Step: tt.step, Message: protocol.Message{Kind: kind, Stream: 4, Seq: 8, Sent: 90}}}
			if tt.out {
				c.tellSent(&p, &seen, 100)
			} else {
				c.tellReceived(&p, &seen, 100)
			}
			var want []string
			if kind == mqtt.KindData && tt.want != "" {
				want = []string{tt.want}
			}
			if diff := cmp.Diff(want, b.book.told()); diff != "" {
				t.Errorf("step %d, %v, %v: (-want +got)\n%s", tt.step, tt.typ, kind, diff)
			}
			home := kind == mqtt.KindSentinel && (tt.step == protocol.Acked || tt.step == protocol.Received)
			if b.book.home[4] != home {
				t.Errorf("step %d, %v, %v: sentinel acknowledged %v, want %v", tt.step, tt.typ, kind, b.book.home[4], home)
			}
		}
	}
}

// The copies of one QoS 2 delivery are told apart from a second delivery.
func TestAgainIsTold(t *testing.T) {
	b, _, s := lone(t, false)
	c := s.begin(100)
	p := mqtt.Packet{Type: mqtt.PUBLISH, Flags: 4, ID: 1, Topic: []byte("x"), Header: mqtt.Header{Kind: mqtt.KindData, Stream: 4, Seq: 8}}
	for _, again := range []bool{false, true} {
		c.tellReceived(&p, &then{seen: protocol.Seen{Step: protocol.Delivered, Again: again}}, 100)
	}
	if diff := cmp.Diff([]string{"delivered 4/8 on 1", "delivered 4/8 on 1 again"}, b.book.told()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// A wrong RETAIN makes no retained copy of a message.
func TestUnaskedIsTold(t *testing.T) {
	b, _, s := lone(t, false)
	c := s.begin(100)
	p := mqtt.Packet{Type: mqtt.PUBLISH, Flags: 1, Topic: []byte("x"), Header: mqtt.Header{Kind: mqtt.KindData, Stream: 4, Seq: 8}}
	for _, unasked := range []bool{false, true} {
		c.tellReceived(&p, &then{seen: protocol.Seen{Step: protocol.Delivered, Unasked: unasked}}, 100)
	}
	if diff := cmp.Diff([]string{"delivered 4/8 on 1 retained", "delivered 4/8 on 1"}, b.book.told()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestSubscriptionsAreTold(t *testing.T) {
	b, f, s := lone(t, false)
	w := open(t, s, 100, false, false)
	w.subscribe(110, 0, 1)
	cmd, tick := s.wanted[0].Topic, s.wanted[1].Topic
	want := []string{
		"connected on 1, present false",
		"asked " + tick + " at 0", "asked " + cmd + " at 1",
		"subscribed " + tick + " at 0", "subscribed " + cmd + " at 1",
	}
	if diff := cmp.Diff(want, b.book.told()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	// What is given up is not restored by a resume.
	w.feed(true, 120, mqtt.AppendUnsubscribe(nil, 10, tick, "other"))
	if diff := cmp.Diff([]string{"unsubscribed " + tick, "unsubscribed other"}, b.book.told()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	w.end(130)
	w = open(t, s, 200, false, true)
	if w.c.rec.Restored != 0 || f.Connected() != 0 {
		t.Errorf("restored without the filter that was given up: %+v", w.c.rec)
	}
	if n, ok := s.claim(); n != 2 || !ok {
		t.Errorf("claim: %d, %v; a SUBSCRIBE is needed", n, ok)
	}
}

// A QoS 1 message that a cut leaves unanswered, both ways.
func TestQoS1OverACut(t *testing.T) {
	b, _, s := lone(t, false)
	w := open(t, s, 100, false, false)
	w.feed(true, 110, publish("x", 1, 21, mqtt.Header{Kind: mqtt.KindData, Stream: 4, Seq: 8}))
	w.feed(false, 111, publish("y", 1, 5, mqtt.Header{Kind: mqtt.KindData, Stream: 6, Seq: 1}))
	w.end(120)
	w = open(t, s, 200, false, true)
	w.feed(true, 210, publish("x", 1, 21, mqtt.Header{Kind: mqtt.KindData, Stream: 4, Seq: 8}))
	w.feed(false, 211, publish("y", 1, 5, mqtt.Header{Kind: mqtt.KindData, Stream: 6, Seq: 1}))
	w.feed(false, 220, mqtt.AppendPuback(nil, 21))
	want := []string{
		"connected on 1, present false",
		"attempted 4/8 on 1", "delivered 6/1 on 1",
		"connected on 2, present true",
		"attempted 4/8 on 2", "delivered 6/1 on 2",
		"acked 4/8",
	}
	if diff := cmp.Diff(want, b.book.told()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestRecordOfAProbe(t *testing.T) {
	_, f, s := lone(t, false)
	open(t, s, 100, false, false).end(110)
	w := open(t, s, 200, false, false)
	w.subscribe(210, 0, 1)
	control := f.cfg.Prober
	cs := control.clients[0].session
	cw := &wireOf{t: t, c: cs.begin(10)}

	// Two probes for this connection, as the prober numbers and notes them.
	var seq [2]uint64
	for i := range seq {
		n, ok := s.issue(2)
		if !ok {
			t.Fatal("no probe is due")
		}
		seq[i] = n
		control.probes.sending(n, probe{s: s, n: 2})
		cw.feed(true, 300, publish(s.probe, 1, uint16(i+1), mqtt.Header{Kind: mqtt.KindProbe, Seq: n}))
	}
	if w.c.rec.ProbeAcked != 0 {
		t.Error("acknowledged before any PUBACK")
	}
	cw.feed(false, 310, mqtt.AppendPuback(nil, 2))
	cw.feed(false, 320, mqtt.AppendPuback(nil, 1))
	if w.c.rec.ProbeAcked != 310 {
		t.Errorf("probe acknowledged at %d, want 310, the first PUBACK", w.c.rec.ProbeAcked)
	}
	if n := len(control.probes.out); n != 0 {
		t.Errorf("%d probes are kept", n)
	}

	// The PUBACK of an older connection's probe says nothing of this one.
	late, _ := s.issue(2)
	control.probes.sending(late, probe{s: s, n: 2})
	cw.feed(true, 330, publish(s.probe, 1, 3, mqtt.Header{Kind: mqtt.KindProbe, Seq: late}))
	w.end(340)
	w = open(t, s, 400, false, true)
	cw.feed(false, 410, mqtt.AppendPuback(nil, 3))
	if w.c.rec.ProbeAcked != 0 {
		t.Errorf("acknowledged at %d by a probe for the connection before", w.c.rec.ProbeAcked)
	}
}

// The numbers of probes differ over all clients of a control fleet.
func TestProbeNumbersAreUnique(t *testing.T) {
	b, f, _ := lone(t, false)
	cfg := f.cfg
	cfg.Clients = 3
	more, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer closeTwice(t, more)
	seen := map[uint64]bool{}
	for round := range 2 {
		for _, c := range more.clients {
			at := timeline.Instant(100 * (round + 1))
			open(t, c.session, at, false, round > 0).subscribe(at+10, 0, 1)
			n, ok := c.session.issue(round + 1)
			if ok != (round > 0) || ok && seen[n] {
				t.Errorf("round %d: probe %d, issued %v, seen before %v", round, n, ok, seen[n])
			}
			seen[n] = true
			c.session.cur.End(timeline.End{At: at + 50})
		}
	}
	_ = b
}

func TestRecordOfAConnect(t *testing.T) {
	b, f, s := lone(t, false)
	c := f.clients[0]
	if c.backoff() != nil {
		t.Error("without a policy the library has its own")
	}
	c.policy = func(attempt int) time.Duration { return time.Duration(attempt) * time.Millisecond }
	backoff := c.backoff()
	w := &wireOf{t: t, c: s.begin(100)}
	w.feed(true, 110, mqtt.AppendConnect(nil, mqtt.ConnectInfo{ClientID: s.id, KeepAlive: 7, WillTopic: "w", WillPayload: []byte("x")}))
	w.feed(false, 111, mqtt.AppendConnack(nil, false, 0))
	w.end(120)
	if d := backoff(1); d != time.Millisecond {
		t.Errorf("sleeps %s", d)
	}
	s.begin(200).End(timeline.End{At: 210, Kind: timeline.EndDial})
	backoff(2)
	s.begin(300).End(timeline.End{At: 310, Kind: timeline.EndDial})
	s.begin(400).End(timeline.End{At: 410, Kind: timeline.EndDial}) // nobody slept
	backoff(3)
	s.connecting() // the library is told to connect: the sleep was for another attempt
	s.begin(500).End(timeline.End{At: 510, Kind: timeline.EndDial})
	if r := b.conn(s.id, 1); !r.Will || r.KeepAlive != 7 || r.Backoff != 0 {
		t.Errorf("first: %+v", r)
	}
	for n, want := range map[int]time.Duration{2: time.Millisecond, 3: 2 * time.Millisecond, 4: 0, 5: 0} {
		if r := b.conn(s.id, n); time.Duration(r.Backoff) != want || r.Will {
			t.Errorf("attempt %d: slept %s, want %s; Will %v", n, time.Duration(r.Backoff), want, r.Will)
		}
	}
}

// A SUBSCRIBE that is written again for want of an answer is as old as the first.
func TestAskedAgain(t *testing.T) {
	_, _, s := lone(t, false)
	w := open(t, s, 100, false, false)
	ask := func(at timeline.Instant, id uint16) {
		w.feed(true, at, mqtt.AppendSubscribe(nil, id, mqtt.Filter{Topic: s.wanted[0].Topic, QoS: 1}))
	}
	sub := func() timeline.Sub { return w.c.rec.Subs[0] }
	ask(110, 1)
	ask(120, 2)
	if got := sub(); got.Sent != 110 || got.Acked != 0 {
		t.Errorf("asked twice: %+v, want sent at 110", got)
	}
	w.feed(false, 130, mqtt.AppendSuback(nil, 2, 1))
	if got := sub(); got.Sent != 110 || got.Acked != 130 {
		t.Errorf("answered: %+v, want sent at 110", got)
	}
	ask(140, 3)
	if got := sub(); got.Sent != 140 || got.Acked != 0 {
		t.Errorf("asked anew: %+v, want sent at 140", got)
	}
}
