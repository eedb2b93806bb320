package broker

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"

	"github.com/rebound-mqtt/rebound/harness/mqtt"
	"github.com/rebound-mqtt/rebound/harness/netfault"
	"github.com/rebound-mqtt/rebound/harness/target"
	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/harness/wire"
)

// resetting is a broker that resets connections: embedded, child, or one that a
// test makes wrong.
type resetting interface {
	target.Target
	target.Resetter
	online(ctx context.Context) (int64, error)
}

func (e *Embedded) online(context.Context) (int64, error) { return e.Stats().Clients, nil }

func (c *Child) online(ctx context.Context) (int64, error) {
	s, err := c.Stats(ctx)
	return s.Clients, err
}

// ends is the observer of a tap.
type ends chan timeline.End

func (ends) Packet(bool, *mqtt.Packet, timeline.Instant) {}
func (ends) Unsent(*mqtt.Packet)                         {}
func (e ends) End(end timeline.End)                      { e <- end }

// tapped connects a client with a tap, above what netfault puts under each
// client of a run with such faults.
func tapped(t testing.TB, b target.Target, links *netfault.Links, clock *timeline.Clock, info mqtt.ConnectInfo) (rawClient, ends) {
	t.Helper()
	c, end := dialRaw(t, b.Info().Addresses[0]), make(ends, 1)
	c.conn = wire.Tap(links.Wrap(info.ClientID, c.conn), clock.Now, end)
	c.write(mqtt.AppendConnect(nil, info))
	if ack := c.read(4); ack[0] != 0x20 || ack[3] != 0 {
		t.Fatalf("CONNACK % x", ack)
	}
	return c, end
}

// resetCase is a broker, and two of its clients.
type resetCase struct {
	t        testing.TB
	b        resetting
	clock    *timeline.Clock
	patience time.Duration
	wrong    problems
	other    rawClient
}

func (r *resetCase) bad(format string, args ...any) {
	r.wrong = append(r.wrong, fmt.Sprintf(format, args...))
}

// conformsToBrokersReset has the broker reset one of two clients, round by round:
// its tap sees an RST and nothing else, the broker lets go of it, keeps its
// session and sends its Will, and the other one reads each byte that is meant for
// it, and no other.
func conformsToBrokersReset(t testing.TB, b resetting, clock *timeline.Clock, rounds int, busy bool, patience time.Duration) error {
	t.Helper()
	r := &resetCase{t: t, b: b, clock: clock, patience: patience}
	r.other, _ = connectRaw(t, b.Info().Addresses[0], mqtt.ConnectInfo{ClientID: "other", Clean: true})
	defer r.other.conn.Close() //nolint:errcheck // it may have been reset
	r.other.subscribe("will", 0)
	links := netfault.NewLinks(clock.Now)
	for round := 0; round < rounds && len(r.wrong) == 0; round++ {
		r.round(links, fmt.Sprint("victim", round), busy)
	}
	if err := links.Close(); err != nil {
		r.bad("links: %v", err)
	}
	if len(r.wrong) == 0 {
		return nil
	}
	return errors.New(strings.Join(r.wrong, "\n"))
}

func (r *resetCase) round(links *netfault.Links, id string, busy bool) {
	info := mqtt.ConnectInfo{ClientID: id, WillTopic: "will", WillPayload: []byte(id)}
	victim, end := tapped(r.t, r.b, links, r.clock, info)
	_ = victim.conn.SetDeadline(time.Now().Add(r.patience))
	var running sync.WaitGroup
	var got bytes.Buffer
	chatting := make(chan struct{})
	running.Go(func() {
		if busy {
			_, _ = io.CopyN(&got, victim.conn, 64)
			close(chatting)
		}
		_, _ = io.Copy(&got, victim.conn)
	})
	if busy {
		for range 2 {
			running.Go(func() {
				for {
					if _, err := victim.conn.Write(mqtt.AppendPingreq(nil)); err != nil {
						return
					}
				}
			})
		}
		<-chatting
	}
	links.Doom(id)
	before := r.clock.Now()
	closed, err := r.b.Reset(r.t.Context(), id)
	if after := r.clock.Now(); err != nil || closed.Found == nil || !*closed.Found || closed.At < before || closed.At > after {
		r.bad("Reset says %+v, %v", closed, err)
	}
	running.Wait()
	_ = victim.conn.Close() // of one that was left alone, this is the end
	if e := <-end; e.Kind != timeline.EndReset || !strings.Contains(e.Err, syscall.ECONNRESET.Error()) && !busy {
		r.bad("the tap saw %s: %s", e.Kind, e.Err)
	}
	pingresp := mqtt.AppendPingresp(nil)
	if rest := bytes.TrimSuffix(bytes.ReplaceAll(got.Bytes(), pingresp, nil), pingresp[:1]); len(rest) > 0 {
		r.bad("the victim was sent % x", rest)
	}
	if closed, err := r.b.Reset(r.t.Context(), id); err != nil || closed.Found == nil || *closed.Found || closed.At != 0 {
		r.bad("a second Reset says %+v, %v", closed, err)
	}
	r.letGo(info)
}

// letGo says that the broker has met the end of a broken connection.
func (r *resetCase) letGo(info mqtt.ConnectInfo) {
	will := mqtt.AppendPublish(nil, mqtt.Publish{Topic: "will", Payload: info.WillPayload})
	_ = r.other.conn.SetDeadline(time.Now().Add(r.patience))
	got := make([]byte, len(will))
	if n, err := io.ReadFull(r.other.conn, got); err != nil || !bytes.Equal(got, will) {
		r.bad("the other client read % x, %v, want the Will % x", got[:n], err, will)
		return
	}
	_, _ = r.other.conn.Write(mqtt.AppendPingreq(nil))
	if n, err := io.ReadFull(r.other.conn, got[:2]); err != nil || got[0] != 0xd0 {
		r.bad("the other client read % x, %v, want a PINGRESP", got[:n], err)
	}
	for late := time.Now().Add(r.patience); ; time.Sleep(time.Millisecond) {
		n, err := r.b.online(r.t.Context())
		if err != nil || n > 1 && time.Now().After(late) {
			r.bad("the broker has %d clients, want the other one: %v", n, err)
		}
		if err != nil || n <= 1 || time.Now().After(late) {
			break
		}
	}
	again, present := connectRaw(r.t, r.b.Info().Addresses[0], mqtt.ConnectInfo{ClientID: info.ClientID})
	if !present {
		r.bad("the session is gone")
	}
	again.write(mqtt.AppendDisconnect(nil))
	again.rest()
}

func TestTheBrokersResetConforms(t *testing.T) {
	clock := timeline.NewClock()
	for name, b := range map[string]resetting{
		KindEmbedded: startTest(t, Options{Clock: clock}), KindChild: startTestChild(t, Options{Clock: clock}),
	} {
		for _, busy := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/busy=%v", name, busy), func(t *testing.T) {
				if err := conformsToBrokersReset(t, b, clock, 100, busy, patience); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// wrongResetter has a planted fault.
type wrongResetter struct {
	*Embedded
	reset func(b *Embedded, id string)
}

func (w wrongResetter) Reset(_ context.Context, id string) (target.Closed, error) {
	found, at := w.Online(id), timeline.Instant(0)
	if found {
		at = w.clock.Now()
		w.reset(w.Embedded, id)
	}
	return target.Closed{Found: &found, At: at}, nil
}

// Each planted reset must be caught by the test that the real one passes.
func TestConformanceCatchesWrongResets(t *testing.T) {
	of := func(b *Embedded, id string) *earlyConn {
		cl, _ := b.server.Clients.Get(id)
		return cl.Net.Conn.(*earlyConn)
	}
	for name, reset := range map[string]func(*Embedded, string){
		"nothing":           func(*Embedded, string) {},
		"a FIN":             func(b *Embedded, id string) { _ = of(b, id).Close() },
		"a kick":            func(b *Embedded, id string) { _, _, _ = b.CloseClient(t.Context(), id) },
		"only a FIN":        func(b *Embedded, id string) { _ = of(b, id).socket.(*net.TCPConn).CloseWrite() },
		"of another client": func(b *Embedded, _ string) { _, _, _ = b.reset("other") },
		"of everybody":      func(b *Embedded, id string) { _, _, _ = b.reset(id); _, _, _ = b.reset("other") },
		"a DISCONNECT first": func(b *Embedded, id string) {
			_, _ = of(b, id).Write(mqtt.AppendDisconnect(nil))
			_, _, _ = b.reset(id)
		},
		"without its Will": func(b *Embedded, id string) {
			cl, _ := b.server.Clients.Get(id)
			cl.Properties.Will.Flag = 0
			_, _, _ = b.reset(id)
		},
		"of its session too": func(b *Embedded, id string) {
			_, _, _ = b.reset(id)
			b.server.Clients.Delete(id)
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := wrongResetter{startTest(t, Options{}), reset}
			err := conformsToBrokersReset(t, w, w.clock, 1, false, 200*time.Millisecond)
			if err == nil {
				t.Error("not caught")
			}
			t.Log(err)
		})
	}
}

// A reset goes below TLS and WebSocket, which would say goodbye first.
func TestTheBrokersResetOnEachTransport(t *testing.T) {
	b, byScheme, pool := startEverywhere(t, "")
	for scheme, addr := range byScheme {
		t.Run(scheme, func(t *testing.T) {
			lost := make(chan error, 1)
			c := paho.NewClient(paho.NewClientOptions().AddBroker(addr).SetClientID(scheme).SetProtocolVersion(4).
				SetAutoReconnect(false).SetTLSConfig(&tls.Config{RootCAs: pool}).
				SetConnectionLostHandler(func(_ paho.Client, err error) { lost <- err }))
			if token := c.Connect(); !token.WaitTimeout(patience) || token.Error() != nil {
				t.Fatal(token.Error())
			}
			if closed, err := b.Reset(testContext(t), scheme); err != nil || !*closed.Found {
				t.Fatal(closed, err)
			}
			select {
			case err := <-lost:
				if !errors.Is(err, syscall.ECONNRESET) {
					t.Errorf("it was lost with %v", err)
				}
			case <-time.After(patience):
				t.Fatal("the reset was never seen")
			}
			eventually(t, "the door is empty", func() bool { return b.door.count() == 0 })
		})
	}
}

// A reset of who is not there, of one without a socket, and by a broker that is
// not there or stands still.
func TestResetsOfNobody(t *testing.T) {
	b, c := startTest(t, Options{}), startTestChild(t, Options{})
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for name, r := range map[string]target.Resetter{KindEmbedded: b, KindChild: c} {
		if closed, err := r.Reset(testContext(t), "nobody"); err != nil || closed.Found == nil || *closed.Found || closed.At != 0 {
			t.Errorf("%s: nobody: %+v, %v", name, closed, err)
		}
		if _, err := r.Reset(ended, "nobody"); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: cancelled: %v", name, err)
		}
	}
	if _, err := c.Reset(testContext(t), strings.Repeat("x", maxControlLine)); !errors.Is(err, ErrControl) {
		t.Errorf("an id that no line can hold: %v", err)
	}
	inline := b.server.NewClient(nil, "inline", "pipe-less", true)
	b.server.Clients.Add(inline)
	if _, err := b.Reset(testContext(t), "pipe-less"); !errors.Is(err, ErrNoSocket) {
		t.Errorf("no socket: %v", err)
	}
	b.server.Clients.Delete("pipe-less")
	if err := c.Pause(true); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Reset(testContext(t), "nobody"); !errors.Is(err, ErrDown) {
		t.Errorf("paused: %v", err)
	}
	if err := errors.Join(c.Pause(false), c.Kill()); err != nil {
		t.Fatal(err)
	}
	if closed, err := c.Reset(testContext(t), "nobody"); err != nil || *closed.Found {
		t.Errorf("killed: %+v, %v", closed, err)
	}
}

// BenchmarkChildReset is 64 calls at once over the one control pipe.
func BenchmarkChildReset(b *testing.B) {
	c, err := StartChild(b.Context(), Options{}, nil, nil)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	var conns []net.Conn
	for i := range b.N {
		r, _ := connectRaw(b, c.Info().Addresses[i%len(c.Info().Addresses)], mqtt.ConnectInfo{ClientID: strconv.Itoa(i), Clean: true})
		conns = append(conns, r.conn)
	}
	next := make(chan int)
	var workers sync.WaitGroup
	b.ResetTimer()
	for range 64 {
		workers.Go(func() {
			for i := range next {
				if closed, err := c.Reset(b.Context(), strconv.Itoa(i)); err != nil || !*closed.Found {
					b.Error(closed, err)
				}
			}
		})
	}
	for i := range conns {
		next <- i
	}
	close(next)
	workers.Wait()
	b.StopTimer()
	for _, c := range conns {
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			b.Fatal(err)
		}
	}
}
