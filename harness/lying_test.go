package harness

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/rebound-mqtt/rebound/harness/fleet"
	"github.com/rebound-mqtt/rebound/harness/mqtt"
)

// lie says what passes instead of a whole control packet: the packet itself to
// let it pass, others to change, double or add something, none to swallow it.
// Out is from client to broker. It is called by the one goroutine that reads,
// or writes, the connection.
type lie func(out bool, p *mqtt.Packet, raw []byte) [][]byte

// passes lets a packet pass.
func passes(raw []byte) [][]byte { return [][]byte{raw} }

// liar is a connection that lies. Below the tap it makes a faulty broker or
// network of a good one, above it a faulty library.
type liar struct {
	net.Conn
	lie lie

	rmu sync.Mutex
	in  splitter
	buf bytes.Buffer // to be read

	wmu sync.Mutex
	out splitter
}

func lying(c net.Conn, l lie) net.Conn { return &liar{Conn: c, lie: l} }

func (l *liar) Read(b []byte) (int, error) {
	l.rmu.Lock()
	defer l.rmu.Unlock()
	for l.buf.Len() == 0 {
		chunk := make([]byte, 4096)
		n, err := l.Conn.Read(chunk)
		for _, raw := range l.in.split(chunk[:n]) {
			for _, instead := range l.told(false, raw) {
				l.buf.Write(instead)
			}
		}
		if l.buf.Len() == 0 && err != nil {
			return 0, err
		}
	}
	return l.buf.Read(b)
}

func (l *liar) Write(b []byte) (int, error) {
	l.wmu.Lock()
	defer l.wmu.Unlock()
	var all []byte
	for _, raw := range l.out.split(b) {
		for _, instead := range l.told(true, raw) {
			all = append(all, instead...)
		}
	}
	if len(all) == 0 {
		return len(b), nil
	}
	if _, err := l.Conn.Write(all); err != nil {
		return 0, err
	}
	return len(b), nil
}

func (l *liar) told(out bool, raw []byte) (instead [][]byte) {
	var f mqtt.Framer
	err := f.Feed(raw, 0, func(p *mqtt.Packet) { instead = l.lie(out, p, raw) })
	if err != nil {
		return passes(raw)
	}
	return instead
}

// splitter cuts a byte stream into whole control packets.
type splitter struct{ rest []byte }

func (s *splitter) split(b []byte) [][]byte {
	s.rest = append(s.rest, b...)
	var packets [][]byte
	for {
		n := packetSize(s.rest)
		if n == 0 || n > len(s.rest) {
			return packets
		}
		packets = append(packets, bytes.Clone(s.rest[:n]))
		s.rest = s.rest[n:]
	}
}

// packetSize reads the size of the first packet off its fixed header (MQTT
// 3.1.1 section 2.2.3), 0 = not yet known.
func packetSize(b []byte) int {
	length := 0
	for i := 1; i < len(b) && i <= 4; i++ {
		length |= int(b[i]&0x7f) << (7 * (i - 1))
		if b[i] < 0x80 {
			return length + i + 1
		}
	}
	return 0
}

// lyingLibrary is a client library that does not write, or read, what it
// should: the lie stands above the tap. Made anew for each connection.
func lyingLibrary(d fleet.Driver, make func(clientID string) lie) fleet.Driver {
	return bentDriver{d, func(s *fleet.Settings) {
		dial, id := s.Dial, s.ClientID
		l := make(id)
		if l == nil {
			return
		}
		s.Dial = func(ctx context.Context) (net.Conn, error) {
			c, err := dial(ctx)
			if err != nil {
				return nil, err
			}
			return lying(c, l), nil
		}
	}}
}

// bentDriver changes the settings of each client that it makes. It has the name
// of the driver that it bends, and so takes its row.
type bentDriver struct {
	fleet.Driver
	bend func(*fleet.Settings)
}

func (d bentDriver) New(s fleet.Settings) (fleet.Client, error) {
	d.bend(&s)
	return d.Driver.New(s)
}

func TestLying(t *testing.T) {
	ping, pong := mqtt.AppendPingreq(nil), []byte{0xd0, 0}
	pub := mqtt.AppendPublish(nil, mqtt.Publish{Topic: "a", QoS: 1, ID: 7, Payload: []byte("x")})
	var seen []mqtt.Type
	l := func(out bool, p *mqtt.Packet, raw []byte) [][]byte {
		seen = append(seen, p.Type)
		switch p.Type {
		case mqtt.PINGREQ:
			return nil
		case mqtt.PUBLISH:
			return [][]byte{raw, raw}
		}
		return passes(raw)
	}
	near, far := net.Pipe()
	done := make(chan []byte)
	go func() {
		got, _ := io.ReadAll(far)
		done <- got
	}()
	c := lying(near, l)
	for _, b := range [][]byte{ping, pub[:3], pub[3:], append(bytes.Clone(ping), pub...)} {
		if n, err := c.Write(b); n != len(b) || err != nil {
			t.Fatal(n, err)
		}
	}
	near.Close() //nolint:errcheck // a pipe
	if got, want := <-done, bytes.Repeat(pub, 4); !bytes.Equal(got, want) {
		t.Errorf("got % x, want % x", got, want)
	}
	if want := []mqtt.Type{mqtt.PINGREQ, mqtt.PUBLISH, mqtt.PINGREQ, mqtt.PUBLISH}; cmp.Diff(want, seen) != "" {
		t.Error(cmp.Diff(want, seen))
	}
	// Inbound, byte by byte.
	in := lying(readConn{r: iotest.OneByteReader(bytes.NewReader(append(bytes.Clone(pong), pub...)))}, l)
	got, err := io.ReadAll(in)
	if want := append(bytes.Clone(pong), bytes.Repeat(pub, 2)...); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%v: got % x, want % x", err, got, want)
	}
	if _, err := in.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("got %v", err)
	}
}

type readConn struct {
	net.Conn
	r io.Reader
}

func (c readConn) Read(b []byte) (int, error) { return c.r.Read(b) }
