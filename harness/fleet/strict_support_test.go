package fleet

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/rebound-mqtt/rebound/harness/mqtt"
	"github.com/rebound-mqtt/rebound/harness/protocol"
	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/scenarios"
)

// script is a broker that does what the test says, over net.Pipe: a write
// returns when the client has read all of it, so that the test knows what the
// client knows.
type script struct {
	t     testing.TB
	conns chan *scriptConn
	fail  func() error // of a dial; nil = none
}

func newScript(t testing.TB) *script { return &script{t: t, conns: make(chan *scriptConn, 64)} }

func (s *script) dial(ctx context.Context) (net.Conn, error) {
	if s.fail != nil {
		if err := s.fail(); err != nil {
			return nil, err
		}
	}
	client, broker := net.Pipe()
	c := &scriptConn{t: s.t, conn: broker}
	select {
	case s.conns <- c:
		return client, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// settings are those of a client of the script.
func (s *script) settings() Settings {
	return Settings{
		ClientID: "c", Addr: "tcp://script:1", Dial: s.dial,
		Reconnect: scenarios.Reconnect{Policy: "immediate"}, WriteTimeout: 2 * time.Second,
	}
}

// next is the client's next connection.
func (s *script) next() *scriptConn {
	s.t.Helper()
	select {
	case c := <-s.conns:
		return c
	case <-time.After(patience):
		s.t.Fatal("no further connection")
		return nil
	}
}

// accept takes the next connection and its CONNECT.
func (s *script) accept(present bool) *scriptConn {
	s.t.Helper()
	c := s.next()
	c.expect("CONNECT")
	c.send(mqtt.AppendConnack(nil, present, 0))
	return c
}

// start makes a strict client that is connected.
func (s *script) start(set Settings) (*strictClient, *scriptConn) {
	s.t.Helper()
	made, err := Strict{}.New(set)
	if err != nil {
		s.t.Fatal(err)
	}
	c := made.(*strictClient)
	s.t.Cleanup(c.Close)
	failed := make(chan error, 1)
	go func() { failed <- c.Connect(context.Background()) }()
	conn := s.accept(false)
	if err := <-failed; err != nil {
		s.t.Fatal(err)
	}
	return c, conn
}

// scriptConn is the broker's end of a connection.
type scriptConn struct {
	t      testing.TB
	conn   net.Conn
	framer mqtt.Framer
	got    []string
	buf    []byte
}

// text names a packet for a test: type, id, flags and payload where they say
// something.
func text(p *mqtt.Packet, payload []byte) string {
	switch {
	case p.Type == mqtt.PUBLISH && p.QoS() == 0:
		return fmt.Sprintf("PUBLISH0 %s", payload)
	case p.Type == mqtt.PUBLISH && p.Dup():
		return fmt.Sprintf("PUBLISH%d dup %d %s", p.QoS(), p.ID, payload)
	case p.Type == mqtt.PUBLISH:
		return fmt.Sprintf("PUBLISH%d %d %s", p.QoS(), p.ID, payload)
	case p.ID != 0:
		return fmt.Sprintf("%v %d", p.Type, p.ID)
	}
	return p.Type.String()
}

// read gives the next packet; "" = the connection has ended.
func (c *scriptConn) read() string {
	if c.buf == nil {
		c.buf = make([]byte, 1<<16)
	}
	buf := c.buf
	for len(c.got) == 0 {
		_ = c.conn.SetReadDeadline(time.Now().Add(patience))
		n, err := c.conn.Read(buf)
		left := buf[:n]
		for len(left) > 0 {
			size := packetSize(left)
			if size == 0 {
				c.t.Fatalf("the client wrote half a packet: % x", left)
			}
			whole := left[:size]
			bad := c.framer.Feed(whole, 0, func(p *mqtt.Packet) {
				c.got = append(c.got, text(p, whole[size-p.Payload:]))
			})
			if bad != nil {
				c.t.Fatal(bad)
			}
			left = left[size:]
		}
		if err != nil && len(c.got) == 0 {
			return ""
		}
	}
	p := c.got[0]
	c.got = c.got[1:]
	return p
}

func (c *scriptConn) expect(want ...string) {
	c.t.Helper()
	for _, w := range want {
		if got := c.read(); got != w {
			c.t.Fatalf("the client wrote %q, want %q", got, w)
		}
	}
}

// send writes packets; it returns when the client has read them.
func (c *scriptConn) send(b ...[]byte) {
	c.t.Helper()
	_ = c.conn.SetWriteDeadline(time.Now().Add(patience))
	if _, err := c.conn.Write(bytes.Join(b, nil)); err != nil {
		c.t.Fatal(err)
	}
}

func (c *scriptConn) cut() { _ = c.conn.Close() }

func pub(qos byte, id uint16, payload string, dup ...bool) []byte {
	return mqtt.AppendPublish(nil, mqtt.Publish{Topic: "t", ID: id, QoS: qos, Dup: len(dup) > 0, Payload: []byte(payload)})
}

// judge watches a client's wire, below all its connections, and keeps what
// breaks a rule for clients. It knows nothing of the client's own code.
type judge struct {
	mu       sync.Mutex
	conn     int
	faults   []string
	rules    protocol.Session
	out      map[uint16]*judged // what the client has to bring to an end
	order    []uint16           // ids of publishes without PUBACK or PUBREC, in the order of first sending
	releases []uint16           // ids with PUBREC and without PUBCOMP, in order
	relDue   []uint16           // PUBRELs that this connection has not seen yet
	pubDue   []uint16           // PUBLISHes that have to be sent again on it
	more     map[uint16]int     // PUBRECs read for what is released or not known
	late     map[uint16]bool    // acknowledged on it before it was sent again
	acks     []string           // what is owed, in order
	reached  map[string]int     // payload -> how often it was published as new

	seen      map[string]bool   // payloads that the client read
	inUse     map[uint16]string // inbound QoS 2 -> payload, until PUBREL
	swallowed map[string]bool   // read under an identifier in use for another one: the broker's fault
}

type judged struct {
	payload string
	qos     byte
	rel     bool // PUBREL offered
}

func newJudge() *judge {
	return &judge{
		out: map[uint16]*judged{}, reached: map[string]int{},
		seen: map[string]bool{}, inUse: map[uint16]string{}, swallowed: map[string]bool{},
	}
}

func (j *judge) fault(format string, args ...any) {
	j.faults = append(j.faults, fmt.Sprintf("connection %d: ", j.conn)+fmt.Sprintf(format, args...))
}

// begin opens a connection: what has to be sent again is known now.
func (j *judge) begin(raw net.Conn) net.Conn {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.conn++
	j.acks, j.more, j.late = nil, map[uint16]int{}, map[uint16]bool{}
	j.relDue, j.pubDue = slices.Clone(j.releases), slices.Clone(j.order)
	return &judgeConn{Conn: raw, judge: j, n: j.conn}
}

// dial puts the judge onto each connection.
func (j *judge) dial(dial func(context.Context) (net.Conn, error)) func(context.Context) (net.Conn, error) {
	return func(ctx context.Context) (net.Conn, error) {
		conn, err := dial(ctx)
		if err != nil {
			return nil, err
		}
		return j.begin(conn), nil
	}
}

type judgeConn struct {
	net.Conn
	judge   *judge
	n       int
	in, out []byte
	fi, fo  mqtt.Framer
}

func (c *judgeConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.in = c.judge.watch(c, append(c.in, b[:n]...), false)
	return n, err
}

func (c *judgeConn) Write(b []byte) (int, error) {
	c.out = c.judge.watch(c, append(c.out, b...), true)
	return c.Conn.Write(b)
}

func (j *judge) watch(c *judgeConn, b []byte, out bool) []byte {
	j.mu.Lock()
	defer j.mu.Unlock()
	f := &c.fi
	if out {
		f = &c.fo
	}
	for size := packetSize(b); size > 0; size = packetSize(b) {
		whole := b[:size]
		if err := f.Feed(whole, 0, func(p *mqtt.Packet) {
			j.rules.Packet(c.n, out, p, timeline.Instant(c.n), func(x protocol.Breach) {
				if x.Charge != timeline.ChargeBroker && !x.Warn {
					j.fault("rule %s: %s", x.Rule, x.Detail)
				}
			})
			if out {
				j.sent(p, string(whole[size-p.Payload:]))
			} else {
				j.read(p, string(whole[size-p.Payload:]))
			}
		}); err != nil {
			j.fault("%v", err)
		}
		b = b[size:]
	}
	return bytes.Clone(b)
}

// sent judges a packet of the client.
func (j *judge) sent(p *mqtt.Packet, payload string) {
	t := text(p, []byte(payload))
	switch p.Type {
	case mqtt.PUBREL:
		switch {
		case len(j.relDue) > 0 && j.relDue[0] == p.ID:
			j.relDue = j.relDue[1:]
		case j.more[p.ID] > 0:
			j.more[p.ID]--
		default:
			j.fault("%s, due are %d", t, j.relDue)
		}
	case mqtt.PUBLISH:
		switch {
		case p.Dup() && j.late[p.ID]: // on its way when the acknowledgement was read
			delete(j.late, p.ID)
			return
		case p.Dup() && len(j.pubDue) > 0 && j.pubDue[0] == p.ID:
			j.pubDue = j.pubDue[1:]
		case p.Dup() || len(j.pubDue) > 0:
			j.fault("%s, to be sent again first are %d", t, j.pubDue)
		}
	case mqtt.PUBACK, mqtt.PUBREC, mqtt.PUBCOMP:
		if len(j.acks) == 0 || j.acks[0] != t {
			j.fault("%s, owed are %q", t, j.acks)
		} else {
			j.acks = j.acks[1:]
		}
	}
	m := j.out[p.ID]
	switch {
	case p.Type == mqtt.PUBLISH && p.QoS() > 0 && !p.Dup():
		if m != nil {
			j.fault("%s: the identifier is in use for %s", t, m.payload)
		}
		j.out[p.ID] = &judged{payload: payload, qos: p.QoS()}
		j.order = append(j.order, p.ID)
		j.reached[payload]++
	case p.Type == mqtt.PUBLISH && p.QoS() > 0 && (m == nil || m.rel || m.payload != payload):
		j.fault("%s: not what is in flight (%+v)", t, m)
	case p.Type == mqtt.PUBREL && m != nil:
		m.rel = true
	}
}

// read notes what the client has to know from now on.
func (j *judge) read(p *mqtt.Packet, payload string) {
	drop := func(list *[]uint16) bool {
		i := slices.Index(*list, p.ID)
		if i >= 0 {
			*list = slices.Delete(*list, i, i+1)
		}
		return i >= 0
	}
	m := j.out[p.ID]
	switch p.Type {
	case mqtt.PUBLISH:
		j.seen[payload] = true
		switch p.QoS() {
		case 1:
			j.acks = append(j.acks, fmt.Sprintf("PUBACK %d", p.ID))
		case 2:
			j.acks = append(j.acks, fmt.Sprintf("PUBREC %d", p.ID))
			if old, used := j.inUse[p.ID]; used && old != payload {
				j.swallowed[payload] = true
			} else {
				j.inUse[p.ID] = payload
			}
		}
	case mqtt.PUBREL:
		delete(j.inUse, p.ID)
		j.acks = append(j.acks, fmt.Sprintf("PUBCOMP %d", p.ID))
	case mqtt.PUBACK:
		drop(&j.order)
		delete(j.out, p.ID)
		j.late[p.ID] = drop(&j.pubDue)
	case mqtt.PUBREC:
		if drop(&j.order) {
			j.releases = append(j.releases, p.ID)
			j.relDue = append(j.relDue, p.ID)
			j.late[p.ID] = drop(&j.pubDue)
		} else {
			j.more[p.ID]++
		}
	case mqtt.PUBCOMP:
		if m == nil || m.qos == 2 && slices.Contains(j.releases, p.ID) {
			drop(&j.releases)
			drop(&j.relDue)
			delete(j.out, p.ID)
		}
	}
}

// report fails the test for each fault.
func (j *judge) report(t interface{ Errorf(string, ...any) }) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, f := range j.faults {
		t.Errorf("%s", f)
	}
}
