package fleet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rebound-mqtt/rebound/harness/mqtt"
	"github.com/rebound-mqtt/rebound/scenarios"
)

func hand(t *testing.T, c Client, qos byte, payloads ...string) {
	t.Helper()
	for _, p := range payloads {
		if err := c.Publish("t", qos, false, []byte(p)); err != nil {
			t.Fatalf("%s: %v", p, err)
		}
	}
}

// lastError is the error with which the latest connection ended.
func (c *strictClient) lastError() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.why
}

func TestStrictSendsAgainInOrder(t *testing.T) {
	s := newScript(t)
	c, conn := s.start(s.settings())
	hand(t, c, 2, "a", "b", "c")
	hand(t, c, 1, "d", "e")
	conn.expect("PUBLISH2 1 a", "PUBLISH2 2 b", "PUBLISH2 3 c", "PUBLISH1 4 d", "PUBLISH1 5 e")
	conn.send(mqtt.AppendPubrec(nil, 3), mqtt.AppendPubrec(nil, 1), mqtt.AppendPuback(nil, 4))
	conn.expect("PUBREL 3", "PUBREL 1")
	conn.cut()

	// PUBRELs in the order of the PUBRECs, then PUBLISHes in their own, then
	// what was published while away, as new.
	conn = s.next()
	hand(t, c, 1, "f")
	if err := c.Publish("t", 0, false, []byte("x")); !errors.Is(err, ErrRefused) {
		t.Errorf("QoS 0 while away: %v", err)
	}
	conn.expect("CONNECT")
	conn.send(mqtt.AppendConnack(nil, true, 0))
	conn.expect("PUBREL 3", "PUBREL 1", "PUBLISH2 dup 2 b", "PUBLISH1 dup 5 e", "PUBLISH1 6 f")
	hand(t, c, 0, "g")
	hand(t, c, 1, "h")
	conn.expect("PUBLISH0 g", "PUBLISH1 7 h")
	// PUBCOMP ends only what waits for it, a late one nothing.
	conn.send(mqtt.AppendPubcomp(nil, 2), mqtt.AppendPubcomp(nil, 3), mqtt.AppendPubcomp(nil, 3), mqtt.AppendPuback(nil, 5), mqtt.AppendPuback(nil, 99))
	conn.send(mqtt.AppendPubrec(nil, 2), mqtt.AppendPubrec(nil, 2), mqtt.AppendPubrec(nil, 77))
	conn.expect("PUBREL 2", "PUBREL 2", "PUBREL 77")
	conn.cut()
	conn = s.accept(false) // the broker has forgotten: the client has not
	conn.expect("PUBREL 1", "PUBREL 2", "PUBLISH1 dup 6 f", "PUBLISH1 dup 7 h")
}

func TestStrictCleanSession(t *testing.T) {
	s := newScript(t)
	set := s.settings()
	set.Clean = true
	got := make(chan string, 9)
	set.OnMessage = func(_ string, p []byte) { got <- string(p) }
	c, conn := s.start(set)
	hand(t, c, 2, "a", "b")
	hand(t, c, 1, "c")
	conn.expect("PUBLISH2 1 a", "PUBLISH2 2 b", "PUBLISH1 3 c")
	conn.send(mqtt.AppendPubrec(nil, 1), pub(2, 9, "in"))
	conn.expect("PUBREL 1", "PUBREC 9")
	conn.cut()
	conn = s.next()
	hand(t, c, 1, "d")
	conn.expect("CONNECT")
	conn.send(mqtt.AppendConnack(nil, false, 0))
	conn.expect("PUBLISH1 4 d") // never offered before: of no session
	conn.send(pub(2, 9, "new"))
	conn.expect("PUBREC 9")
	if a, b := <-got, <-got; a != "in" || b != "new" {
		t.Errorf("handled %q and %q", a, b)
	}
}

func TestStrictReceives(t *testing.T) {
	s := newScript(t)
	set := s.settings()
	var got []string
	set.OnMessage = func(topic string, p []byte) { got = append(got, topic+" "+string(p)) } // read after the answer
	_, conn := s.start(set)
	conn.send(pub(1, 5, "a"), pub(2, 6, "b"), pub(0, 0, "c"), pub(1, 5, "a", true), pub(2, 6, "b", true))
	conn.expect("PUBACK 5", "PUBREC 6", "PUBACK 5", "PUBREC 6")
	conn.cut()
	conn = s.accept(true)
	conn.send(pub(2, 6, "b", true)) // still the same one
	conn.expect("PUBREC 6")
	conn.send(mqtt.AppendPubrel(nil, 6))
	conn.expect("PUBCOMP 6")
	conn.send(mqtt.AppendPubrel(nil, 6), mqtt.AppendPubrel(nil, 44)) // unknown
	conn.expect("PUBCOMP 6", "PUBCOMP 44")
	conn.send(pub(2, 6, "d", true)) // a new publication, whatever its DUP says
	conn.expect("PUBREC 6")
	conn.cut()
	conn = s.accept(false) // a new session of the broker numbers from the start
	conn.send(pub(2, 6, "e"), pub(2, 7, strings.Repeat("long ", 5000)))
	conn.expect("PUBREC 6", "PUBREC 7")
	want := []string{"t a", "t b", "t c", "t a", "t d", "t e", "t " + strings.Repeat("long ", 5000)}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("handled %.200q", got)
	}
}

// The acknowledgement of a message is written when its handler has returned.
func TestStrictAcknowledgesAfterTheHandler(t *testing.T) {
	for qos, want := range map[byte]string{1: "PUBACK 5", 2: "PUBREC 5"} {
		s := newScript(t)
		set := s.settings()
		var returned atomic.Bool
		enter, leave := make(chan struct{}), make(chan struct{})
		set.OnMessage = func(string, []byte) { close(enter); <-leave; returned.Store(true) }
		_, conn := s.start(set)
		conn.send(pub(qos, 5, "a"))
		<-enter
		close(leave)
		conn.expect(want)
		if !returned.Load() {
			t.Errorf("QoS %d: acknowledged before the handler returned", qos)
		}
	}
}

func TestStrictHandshake(t *testing.T) {
	connack := func(flags, code byte) []byte { return []byte{0x20, 2, flags, code} }
	for _, tc := range []struct {
		name   string
		clean  bool
		answer []byte
		want   error
	}{
		{"accepted", false, connack(0, 0), nil},
		{"session of an earlier run", false, connack(1, 0), nil},
		{"refused", false, connack(0, 5), ErrRefused},
		{"refused with a session", false, connack(1, 5), errViolation},
		{"session after clean session", true, connack(1, 0), errViolation},
		{"reserved flags", false, connack(2, 0), errViolation},
		{"another packet first", false, pub(0, 0, "a"), errViolation},
		{"malformed", false, []byte{0xf0, 0}, mqtt.ErrMalformed},
		{"endless length", false, []byte{0x20, 0xff, 0xff, 0xff, 0xff, 0x7f}, mqtt.ErrMalformed},
	} {
		s := newScript(t)
		set := s.settings()
		set.Clean = tc.clean
		set.Will = &Will{Topic: "w", Payload: []byte("p"), QoS: 2, Retain: true}
		set.KeepAlive = 90 * time.Second
		c, err := Strict{}.New(set)
		if err != nil {
			t.Fatal(err)
		}
		failed := make(chan error, 1)
		go func() { failed <- c.Connect(t.Context()) }()
		conn := s.next()
		var info mqtt.ConnectInfo
		buf := make([]byte, 100)
		n, err := conn.conn.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		if err := conn.framer.Feed(buf[:n], 0, func(p *mqtt.Packet) { info, err = p.Connect() }); err != nil {
			t.Fatal(err)
		}
		if info.ClientID != "c" || info.Clean != tc.clean || info.WillTopic != "w" || info.WillQoS != 2 || !info.WillRetain || info.KeepAlive != 90 {
			t.Errorf("%s: CONNECT %+v", tc.name, info)
		}
		conn.send(tc.answer)
		if err := <-failed; !errors.Is(err, tc.want) {
			t.Errorf("%s: %v, want %v", tc.name, err, tc.want)
		}
		c.Close()
	}
}

func TestStrictClosesOnViolations(t *testing.T) {
	for name, packet := range map[string][]byte{
		"CONNACK again": mqtt.AppendConnack(nil, false, 0), "DISCONNECT": mqtt.AppendDisconnect(nil),
		"PINGREQ": mqtt.AppendPingreq(nil), "SUBSCRIBE": mqtt.AppendSubscribe(nil, 1, mqtt.Filter{Topic: "a"}),
		"CONNECT": mqtt.AppendConnect(nil, mqtt.ConnectInfo{}), "UNSUBACK": mqtt.AppendUnsuback(nil, 1),
		"SUBACK": mqtt.AppendSuback(nil, 9, 0), "flags": {0x60, 2, 0, 1}, "id 0": pub(1, 0, "a"),
		"id 0 of an answer": mqtt.AppendPubrec(nil, 0), "DUP at QoS 0": pub(0, 0, "a", true),
		"no topic":          mqtt.AppendPublish(nil, mqtt.Publish{}),
		"PUBACK for QoS 2":  mqtt.AppendPuback(nil, 1),
		"PUBREC for QoS 1":  mqtt.AppendPubrec(nil, 2),
		"PUBCOMP for QoS 1": mqtt.AppendPubcomp(nil, 2),
		"malformed":         {0x3e, 2, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScript(t)
			c, conn := s.start(s.settings())
			hand(t, c, 2, "a")
			hand(t, c, 1, "b")
			conn.expect("PUBLISH2 1 a", "PUBLISH1 2 b")
			conn.send(packet)
			if got := conn.read(); got != "" {
				t.Errorf("the client went on with %s", got)
			}
			conn = s.accept(true)
			conn.expect("PUBLISH2 dup 1 a", "PUBLISH1 dup 2 b") // nothing was lost by it
			if err := c.lastError(); !errors.Is(err, errViolation) && !errors.Is(err, mqtt.ErrMalformed) {
				t.Errorf("ended for %v", err)
			}
		})
	}
}

func TestStrictSubscribe(t *testing.T) {
	s := newScript(t)
	set := s.settings()
	set.WriteTimeout = 50 * time.Millisecond
	c, conn := s.start(set)
	subs := []scenarios.Subscription{{Topic: "a", QoS: 1}, {Topic: "b"}}
	for _, tc := range []struct {
		answer func(id uint16) []byte
		want   error
	}{
		{func(id uint16) []byte { return mqtt.AppendSuback(nil, id, 1, 0) }, nil},
		{func(id uint16) []byte { return mqtt.AppendSuback(nil, id, 0x80, 0) }, ErrRefused},
		{func(uint16) []byte { return mqtt.AppendPingresp(nil) }, context.DeadlineExceeded},
		{func(id uint16) []byte { return mqtt.AppendSuback(nil, id, 0) }, errAway}, // closed for it
	} {
		failed := make(chan error, 1)
		go func() { failed <- c.Subscribe(t.Context(), subs) }()
		var id uint16
		if _, err := fmt.Sscanf(conn.read(), "SUBSCRIBE %d", &id); err != nil {
			t.Fatal(err)
		}
		conn.send(tc.answer(id))
		if err := <-failed; !errors.Is(err, tc.want) {
			t.Errorf("%v, want %v", err, tc.want)
		}
	}
	if err := c.Subscribe(t.Context(), []scenarios.Subscription{{}}); !errors.Is(err, ErrRefused) {
		t.Errorf("empty filter: %v", err)
	}
}

func TestStrictIdentifiers(t *testing.T) {
	s := newScript(t)
	c, conn := s.start(s.settings())
	conn.cut()
	conn = s.next()
	payload := []byte("x")
	for n := range 65535 {
		if err := c.Publish("t", 1, false, payload); err != nil {
			t.Fatalf("message %d: %v", n+1, err)
		}
	}
	if err := c.Publish("t", 1, false, payload); !errors.Is(err, ErrRefused) {
		t.Errorf("a message without an identifier: %v", err)
	}
	conn.expect("CONNECT")
	conn.send(mqtt.AppendConnack(nil, true, 0))
	for id := 1; id <= 65535; id++ {
		conn.expect(fmt.Sprintf("PUBLISH1 %d x", id))
	}
	if err := c.Subscribe(t.Context(), []scenarios.Subscription{{Topic: "a"}}); !errors.Is(err, errNoID) {
		t.Errorf("SUBSCRIBE without an identifier: %v", err)
	}
	conn.send(mqtt.AppendPuback(nil, 4711), mqtt.AppendPuback(nil, 4711))
	await(t, "a free identifier", func() bool { return c.Publish("t", 2, false, payload) == nil })
	conn.expect("PUBLISH2 4711 x")
}

// A write that hangs holds up neither Publish nor the reader, and ends the
// connection after the write time-out.
func TestStrictHungWrite(t *testing.T) {
	s := newScript(t)
	set := s.settings()
	set.WriteTimeout = time.Second
	got := make(chan string, 9)
	set.OnMessage = func(_ string, p []byte) { got <- string(p) }
	c, conn := s.start(set)
	began := time.Now()
	for i := range 9 { // the broker does not read
		hand(t, c, byte(i%3), "x")
	}
	conn.send(pub(1, 1, "a"), pub(2, 2, "b"), pub(0, 0, "c"))
	for range 3 {
		<-got
	}
	if d := time.Since(began); d >= set.WriteTimeout {
		t.Errorf("held up for %s", d)
	}
	conn = s.accept(true) // the time-out ended the connection
	if n := len(conn.got); n != 0 {
		t.Errorf("%d packets before CONNACK", n)
	}
	big := bytes.Repeat([]byte("x"), strictMaxQueued)
	err := error(nil)
	for range 3 {
		err = errors.Join(err, c.Publish("t", 0, false, big))
	}
	if !errors.Is(err, ErrRefused) {
		t.Errorf("nothing bounds what waits to be written: %v", err)
	}
}

func TestStrictRefusesWhatNoPacketCarries(t *testing.T) {
	s := newScript(t)
	c, _ := s.start(s.settings())
	for _, topic := range []string{"", "a/#", "+", "a\x00", strings.Repeat("t", 1<<16)} {
		if err := c.Publish(topic, 0, false, nil); !errors.Is(err, ErrRefused) {
			t.Errorf("topic %.10q: %v", topic, err)
		}
	}
	if err := c.Publish("t", 3, false, nil); !errors.Is(err, ErrRefused) {
		t.Errorf("QoS 3: %v", err)
	}
	for name, set := range map[string]Settings{
		"no id":      {},
		"long id":    {ClientID: strings.Repeat("c", 1<<16)},
		"Will":       {ClientID: "c", Will: &Will{}},
		"Will's QoS": {ClientID: "c", Will: &Will{Topic: "w", QoS: 3}},
		"keep alive": {ClientID: "c", KeepAlive: 65536 * time.Second},
	} {
		if _, err := (Strict{}).New(set); !errors.Is(err, ErrConfig) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Between two packets of the client never lies more than the keep alive
// [MQTT-3.1.2-23], and a broker that is silent is left.
func TestStrictKeepAlive(t *testing.T) {
	s := newScript(t)
	set := s.settings()
	set.KeepAlive = time.Second
	c, conn := s.start(set)
	last := time.Now()
	for range 3 {
		conn.expect("PINGREQ")
		if gap := time.Since(last); gap > set.KeepAlive || gap < set.KeepAlive/2 {
			t.Errorf("PINGREQ after %s", gap)
		}
		last = time.Now()
		conn.send(mqtt.AppendPingresp(nil))
	}
	// A publisher hears nothing: it asks all the same.
	stop := time.Now().Add(900 * time.Millisecond)
	pinged := false
	for time.Now().Before(stop) {
		hand(t, c, 0, "x")
		switch got := conn.read(); got {
		case "PINGREQ":
			pinged = true
			conn.expect("PUBLISH0 x")
		case "PUBLISH0 x":
		default:
			t.Fatal(got)
		}
		time.Sleep(20 * time.Millisecond) // the pace of the traffic
	}
	if !pinged {
		t.Error("a publisher never asked whether the broker is there")
	}
}

func TestStrictLeavesASilentBroker(t *testing.T) {
	s := newScript(t)
	client, _ := net.Pipe()
	l := newStrictLink(&strictClient{settings: s.settings()}, client)
	l.client.settings.KeepAlive = time.Second
	l.heard = time.Now()
	if err := l.keepAlive(); err != nil {
		t.Fatal(err)
	}
	l.pinged = time.Now().Add(-strictPingWait + time.Minute/60)
	if err := l.keepAlive(); err != nil {
		t.Errorf("too early: %v", err)
	}
	l.pinged = time.Now().Add(-strictPingWait)
	if err := l.keepAlive(); err == nil || !strings.Contains(err.Error(), "PINGRESP") {
		t.Errorf("no PINGRESP: %v", err)
	}
}

func TestStrictPolicies(t *testing.T) {
	down := errors.New("down")
	var mu sync.Mutex
	dials, asked := 0, []int{}
	s := newScript(t)
	set := s.settings()
	s.fail = func() error {
		mu.Lock()
		defer mu.Unlock()
		if dials++; dials == 2 || dials == 3 {
			return down
		}
		return nil
	}
	const sleep = 30 * time.Millisecond
	set.Backoff = func(attempt int) time.Duration {
		mu.Lock()
		defer mu.Unlock()
		asked = append(asked, attempt)
		return sleep
	}
	var marks atomic.Int64
	set.OnReconnecting = func() { marks.Add(1) }
	connected := make(chan struct{}, 9)
	set.OnConnected = func() { connected <- struct{}{} }
	_, conn := s.start(set)
	<-connected
	began := time.Now()
	conn.cut()
	conn = s.accept(true)
	if d := time.Since(began); d < 3*sleep {
		t.Errorf("three sleeps of %s took %s", sleep, d)
	}
	<-connected
	conn.cut()
	s.accept(true)
	mu.Lock()
	defer mu.Unlock()
	if fmt.Sprint(asked) != "[1 2 3 1]" || marks.Load() != 4 {
		t.Errorf("asked for attempts %v, marked %d", asked, marks.Load())
	}
}

// Disconnect at any moment, and Connect right after it.
func TestStrictDisconnect(t *testing.T) {
	s := newScript(t)
	set := s.settings()
	c, conn := s.start(set)
	hand(t, c, 2, "a")
	conn.expect("PUBLISH2 1 a")
	left := make(chan struct{})
	go func() { defer close(left); c.Disconnect() }()
	conn.expect("DISCONNECT", "")
	<-left
	for qos := range byte(3) {
		if err := c.Publish("t", qos, false, []byte("x")); !errors.Is(err, ErrRefused) {
			t.Errorf("QoS %d after Disconnect: %v", qos, err)
		}
	}
	c.Disconnect() // nothing to end
	// In the dial, in the handshake: neither leaves anything behind.
	for range 100 {
		failed := make(chan error, 1)
		go func() { failed <- c.Connect(context.Background()) }()
		conn = s.next()
		conn.expect("CONNECT")
		c.Disconnect()
		if err := <-failed; err == nil {
			t.Fatal("connected without a CONNACK")
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error, 1)
	go func() { failed <- c.Connect(ctx) }()
	s.next().expect("CONNECT")
	cancel()
	if err := <-failed; !errors.Is(err, context.Canceled) {
		t.Errorf("given up: %v", err)
	}
	go func() { failed <- c.Connect(t.Context()) }()
	conn = s.accept(true)
	if err := <-failed; err != nil {
		t.Fatal(err)
	}
	conn.expect("PUBLISH2 dup 1 a") // session state stayed
	if err := c.Connect(t.Context()); err != nil {
		t.Errorf("connected already: %v", err)
	}
	c.Close()
	if err := c.Connect(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// A sleep of the policy ends with Close.
func TestStrictCloseCutsTheBackoff(t *testing.T) {
	s := newScript(t)
	set := s.settings()
	asleep := make(chan struct{})
	set.Backoff = func(int) time.Duration { close(asleep); return time.Hour }
	c, conn := s.start(set)
	conn.cut()
	<-asleep
	began := time.Now()
	c.Close()
	if d := time.Since(began); d > time.Second || !c.last.over() {
		t.Errorf("Close took %s, over %t", d, c.last.over())
	}
}
