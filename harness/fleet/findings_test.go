package fleet

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/rebound-mqtt/rebound/harness/mqtt"
	"github.com/rebound-mqtt/rebound/harness/protocol"
	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/harness/wire"
)

// sink keeps findings.
type sink struct {
	mu  sync.Mutex
	got []timeline.Finding
}

func (s *sink) add(f timeline.Finding) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.got = append(s.got, f)
}

func (s *sink) take() []timeline.Finding {
	s.mu.Lock()
	defer s.mu.Unlock()
	got := s.got
	s.got = nil
	return got
}

// plant has the next packet of a session break rules.
func (s *session) plant(b ...protocol.Breach) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.broken = b
}

func breach(rule string) protocol.Breach {
	return protocol.Breach{Rule: rule, Charge: timeline.ChargeBroker, PacketID: 7, Stream: 4, Seq: 8, Detail: "in words"}
}

// watched is a session without a library whose findings go to a sink.
func watched(t *testing.T) (*sink, *Fleet, *session) {
	t.Helper()
	b, _, _ := lone(t, false)
	got := &sink{}
	cfg := b.config("x:1", 1, devices(false), nil)
	cfg.Finding = got.add
	f, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeTwice(t, f) })
	return got, f, f.clients[0].session
}

// A finding carries the packets that led to it, the breaking one as the last.
func TestFindingHasTheLastPackets(t *testing.T) {
	got, f, s := watched(t)
	near, far := net.Pipe()
	defer far.Close()
	c := s.begin(100)
	tapped := wire.Tap(near, f.cfg.Clock.Now, c)
	defer tapped.Close()
	c.dialed(101, tapped, "l", "r")
	go func() { // the broker
		buf := make([]byte, 256)
		for {
			if _, err := far.Read(buf); err != nil {
				return
			}
		}
	}()
	write := func(b []byte) {
		t.Helper()
		if _, err := tapped.Write(b); err != nil {
			t.Fatal(err)
		}
	}
	write(mqtt.AppendConnect(nil, mqtt.ConnectInfo{ClientID: s.id}))
	for range 20 {
		write(mqtt.AppendPingreq(nil))
	}
	s.plant(breach("planted"), protocol.Breach{Rule: "second", Charge: timeline.ChargePublisher, Warn: true})
	write(mqtt.AppendPubrel(nil, 7))
	write(mqtt.AppendPingreq(nil)) // after it

	list := got.take()
	want := []timeline.Finding{
		{Rule: "planted", Charge: timeline.ChargeBroker, PacketID: 7, Stream: 4, Seq: 8, Detail: "in words"},
		{Rule: "second", Charge: timeline.ChargePublisher, Warn: true},
	}
	for i := range want {
		want[i].Fleet, want[i].ClientID, want[i].N = "devices", s.id, 1
	}
	if diff := cmp.Diff(want, list, cmpopts.IgnoreFields(timeline.Finding{}, "At", "Last")); diff != "" {
		t.Fatalf("(-want +got)\n%s", diff)
	}
	for _, f := range list {
		if n := len(f.Last); n != 16 || f.Last[n-1].Type != "PUBREL" || f.Last[n-1].At != f.At || f.Last[n-2].Type != "PINGREQ" {
			t.Errorf("%s at %d: last packets %+v", f.Rule, f.At, f.Last)
		}
	}
}

func TestFindingsAreBounded(t *testing.T) {
	got, f, s := watched(t)
	w := open(t, s, 100, false, false)
	other := breach("often")
	other.Charge, other.Warn = timeline.ChargeClient, true
	for i := range maxFindings + 5 {
		s.plant(breach("often"))
		w.feed(true, timeline.Instant(200+i), mqtt.AppendPingreq(nil))
	}
	s.plant(other, other, breach("seldom"))
	w.feed(true, 5000, mqtt.AppendPingreq(nil))
	list := got.take()
	if n := len(list); n != maxFindings+1 || list[n-1].Rule != "seldom" || list[n-2].At != 200+maxFindings-1 {
		t.Errorf("%d findings were passed on one by one, the last %+v", n, list[n-1])
	}
	f.Flush()
	want := []timeline.Finding{
		{Rule: "often", Charge: timeline.ChargeBroker, Fleet: "devices", Count: 5},
		{Rule: "often", Charge: timeline.ChargeClient, Warn: true, Fleet: "devices", Count: 2},
	}
	at := cmpopts.IgnoreFields(timeline.Finding{}, "At")
	if diff := cmp.Diff(want, got.take(), at); diff != "" {
		t.Errorf("at the flush (-want +got)\n%s", diff)
	}
	f.Flush()
	if more := got.take(); more != nil {
		t.Errorf("told twice: %+v", more)
	}
	s.plant(breach("often"))
	w.feed(true, 5001, mqtt.AppendPingreq(nil))
	closeTwice(t, f)
	want[0].Count = 1
	if diff := cmp.Diff(want[:1], got.take(), at); diff != "" {
		t.Errorf("at Close (-want +got)\n%s", diff)
	}
}

// No library made a rival's connection: what is wrong with it is ours.
func TestFindingsOfARivalChargeTheHarness(t *testing.T) {
	got, _, s := watched(t)
	w := &wireOf{t: t, c: s.rival(100)}
	charges := []timeline.Charge{timeline.ChargeBroker, timeline.ChargeNobody, timeline.ChargeClient, timeline.ChargePublisher, timeline.ChargeSubscriber}
	var planted []protocol.Breach
	for _, c := range charges {
		planted = append(planted, protocol.Breach{Rule: "r", Charge: c})
	}
	s.plant(planted...)
	w.feed(true, 101, mqtt.AppendConnect(nil, mqtt.ConnectInfo{ClientID: s.id}))
	var charged []timeline.Charge
	for _, f := range got.take() {
		charged = append(charged, f.Charge)
	}
	want := []timeline.Charge{timeline.ChargeBroker, timeline.ChargeNobody, timeline.ChargeHarness, timeline.ChargeHarness, timeline.ChargeHarness}
	if diff := cmp.Diff(want, charged); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// A healthy fleet has no findings, whatever happens to its connections.
func TestNoFindingsWithoutABreach(t *testing.T) {
	b := newBench(t)
	broker := startBroker(t, "127.0.0.1:0")
	got := &sink{}
	cfg := b.config(broker.addr, 5, devices(false), nil)
	cfg.Finding = got.add
	cfg.Dial = func(ctx context.Context, addr, _ string, _ int, tap Tap) (net.Conn, string, string, error) {
		c, err := new(net.Dialer).DialContext(ctx, "tcp", strings.TrimPrefix(addr, "tcp://"))
		if err != nil {
			return nil, "", "", err
		}
		return wire.Tap(c, b.clock.Now, tap), "", "", nil
	}
	f := b.fleet(cfg)
	await(t, "connected", func() bool { return f.Connected() == 5 })
	for i := range 5 {
		if cl, ok := broker.Clients.Get(f.ID(i)); ok && i%2 == 0 {
			cl.Stop(errors.New("kicked"))
		} else if err := f.Disconnect(i); err != nil {
			t.Error(err)
		}
	}
	await(t, "all back", func() bool {
		for i := range 5 {
			if f.BackOn(i) != 2 {
				return false
			}
		}
		return true
	})
	closeTwice(t, f)
	if list := got.take(); list != nil {
		t.Errorf("%+v", list)
	}
}

// The broker answers CONNECTs in the order in which it takes the connections: a
// rival that dialled first, or wrote its CONNECT first, and was answered later is
// the newer one, and its packets are judged.
func TestConnectionsAreFollowedInTheOrderOfTheirConnacks(t *testing.T) {
	h := func(seq uint64) mqtt.Header { return mqtt.Header{Kind: mqtt.KindData, Stream: 1, Seq: seq} }
	for name, early := range map[string]bool{"dialled first": false, "wrote first": true} {
		got, _, s := watched(t)
		rival := &wireOf{t: t, c: s.rival(100)}
		greet := func() { rival.feed(true, 150, mqtt.AppendConnect(nil, mqtt.ConnectInfo{ClientID: s.id})) }
		if early {
			greet()
		}
		own := open(t, s, 200, false, false)
		own.feed(false, 210, publish("t", 1, 7, h(1)))
		if !early {
			greet()
		}
		rival.feed(false, 221, mqtt.AppendConnack(nil, true, 0))
		rival.feed(false, 222, publish("t", 1, 7, h(2)))
		list := got.take()
		if len(list) != 1 || list[0].Rule != "packet-id" || list[0].N != 1 || list[0].Seq != 2 {
			t.Errorf("%s: an id that is in use, read by the rival: %+v", name, list)
		}
		own.feed(true, 230, mqtt.AppendPuback(nil, 7)) // of the message that the client has read
		own.end(231)
		rival.end(232)
		if list := got.take(); list != nil {
			t.Errorf("%s: %+v", name, list)
		}
	}
}

// What a client writes before its CONNACK is followed at once, after its CONNECT.
func TestPacketsBeforeTheConnackAreFollowed(t *testing.T) {
	got, _, s := watched(t)
	w := &wireOf{t: t, c: s.begin(100)}
	w.feed(true, 101, mqtt.AppendConnect(nil, mqtt.ConnectInfo{ClientID: s.id}))
	w.feed(true, 102, mqtt.AppendPuback(nil, 7))
	if list := got.take(); len(list) != 1 || list[0].Rule != "unknown-ack" || list[0].At != 102 {
		t.Errorf("an answer to nothing: %+v", list)
	}
	w.end(103)
	w = &wireOf{t: t, c: s.begin(200)}
	w.feed(true, 201, mqtt.AppendPingreq(nil))
	if list := got.take(); len(list) != 1 || list[0].Detail != "PINGREQ before CONNECT" {
		t.Errorf("no CONNECT: %+v", list)
	}
}
