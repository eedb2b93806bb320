package wire

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rebound-mqtt/rebound/harness/mqtt"
	"github.com/rebound-mqtt/rebound/harness/timeline"
)

// How a real TCP connection ends, as its reader sees it.
func TestEndsOverTCP(t *testing.T) {
	for _, tc := range []struct {
		name string
		do   func(c net.Conn, peer *net.TCPConn)
		kind timeline.EndKind
		text string
	}{
		{"FIN", func(c net.Conn, peer *net.TCPConn) { peer.Close(); readAll(c) }, timeline.EndEOF, "EOF"},
		{"half a FIN", func(c net.Conn, peer *net.TCPConn) { _ = peer.CloseWrite(); readAll(c); c.Close() }, timeline.EndEOF, "EOF"},
		{"RST", func(c net.Conn, peer *net.TCPConn) { reset(peer); readAll(c) }, timeline.EndReset, "read: connection reset by peer"},
		{"RST, seen by the writer", func(c net.Conn, peer *net.TCPConn) { reset(peer); writeAll(c) }, timeline.EndReset, ""},
		{"local Close", func(c net.Conn, peer *net.TCPConn) { c.Close(); readAll(c); writeAll(c) }, timeline.EndLocal, ""},
		{"closed below the tap", func(c net.Conn, peer *net.TCPConn) { c.(*tap).Conn.Close(); readAll(c) }, timeline.EndLocal, "use of closed network connection"},
		{"read deadline", func(c net.Conn, peer *net.TCPConn) {
			_ = c.SetReadDeadline(time.Unix(1, 0))
			readAll(c)
			c.Close()
		}, timeline.EndTimeout, "i/o timeout"},
		{"both deadlines", func(c net.Conn, peer *net.TCPConn) {
			_ = c.SetDeadline(time.Unix(1, 0))
			writeAll(c)
			c.Close()
		}, timeline.EndTimeout, "i/o timeout"},
		{"read deadline survived", func(c net.Conn, peer *net.TCPConn) {
			_ = c.SetDeadline(time.Unix(1, 0))
			readAll(c)
			_ = c.SetDeadline(time.Time{})
			peer.Close()
			readAll(c)
		}, timeline.EndEOF, "EOF"},
		{"polled read", func(c net.Conn, peer *net.TCPConn) {
			_ = c.SetReadDeadline(time.Unix(1, 0))
			readAll(c)
			_ = c.SetReadDeadline(time.Time{})
			c.Close()
		}, timeline.EndLocal, ""},
		{"malformed bytes to the broker", func(c net.Conn, peer *net.TCPConn) {
			_, _ = c.Write([]byte("xxx"))
			c.Close()
		}, timeline.EndProtocol, "to the broker: malformed MQTT packet: PUBCOMP with a remaining length of 120, then local-close"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			raw, peer := tcpPair(t)
			go func() { _, _ = io.Copy(io.Discard, peer) }()
			r := &recorder{}
			tc.do(Tap(raw, ticks(), r), peer)
			end, ends := r.ended()
			if ends != 1 || end.Kind != tc.kind || (tc.text != "" && end.Err != tc.text) {
				t.Errorf("%d ends: %+v; want %s, %q", ends, end, tc.kind, tc.text)
			}
			for _, a := range []string{"127.0.0.1", "tcp", ":" + port(raw)} {
				if strings.Contains(end.Err, a) {
					t.Errorf("%q holds the address part %q", end.Err, a)
				}
			}
		})
	}
}

func readAll(c net.Conn) {
	for b := make([]byte, 64); ; {
		if _, err := c.Read(b); err != nil {
			return
		}
	}
}

func writeAll(c net.Conn) {
	for b := mqtt.AppendPingreq(nil); ; {
		if _, err := c.Write(b); err != nil {
			return
		}
	}
}

func reset(c *net.TCPConn) {
	_ = c.SetLinger(0)
	_ = c.Close()
}

func port(c net.Conn) string {
	_, p, _ := net.SplitHostPort(c.LocalAddr().String())
	return p
}

func TestEndsOverPipe(t *testing.T) {
	for _, tc := range []struct {
		name string
		do   func(c, peer net.Conn)
		kind timeline.EndKind
	}{
		{"the peer closes, read", func(c, peer net.Conn) { peer.Close(); readAll(c) }, timeline.EndEOF},
		{"the peer closes, write", func(c, peer net.Conn) { peer.Close(); writeAll(c) }, timeline.EndEOF},
		{"local Close", func(c, peer net.Conn) { c.Close(); readAll(c) }, timeline.EndLocal},
		{"closed below the tap", func(c, peer net.Conn) { c.(*tap).Conn.Close(); readAll(c) }, timeline.EndLocal},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, peer := net.Pipe()
			defer c.Close()
			defer peer.Close()
			r := &recorder{}
			tc.do(Tap(c, ticks(), r), peer)
			if end, ends := r.ended(); ends != 1 || end.Kind != tc.kind {
				t.Errorf("%d ends: %+v; want %s", ends, end, tc.kind)
			}
		})
	}
}

func TestKindOf(t *testing.T) {
	for _, tc := range []struct {
		err  error
		kind timeline.EndKind
	}{
		{fmt.Errorf("tls: %w", io.ErrUnexpectedEOF), timeline.EndEOF},
		{&net.OpError{Op: "write", Err: syscall.EPIPE}, timeline.EndReset},
		{syscall.ENOTCONN, timeline.EndReset},
		{syscall.ECONNABORTED, timeline.EndReset},
		{syscall.EHOSTUNREACH, timeline.EndOther},
		{errors.New("?"), timeline.EndOther},
		// a FIN from below the tap: the write fails because of it
		{fmt.Errorf("%w after %w", syscall.EPIPE, io.EOF), timeline.EndEOF},
	} {
		if k := kindOf(tc.err, true); k != tc.kind {
			t.Errorf("%v: %s, want %s", tc.err, k, tc.kind)
		}
	}
}

// Readers, writers and a closer at once: each packet is reported, one end.
func TestConcurrentUse(t *testing.T) {
	raw, peer := tcpPair(t)
	r := &recorder{}
	c := Tap(raw, ticks(), r)
	const writers, each = 4, 200

	var group sync.WaitGroup
	group.Go(func() { // the peer echoes, then closes
		if _, err := io.CopyN(peer, peer, writers*each*int64(len(pub(1)))); err != nil {
			t.Error(err)
		}
		_ = peer.CloseWrite()
	})
	group.Go(func() {
		readAll(c)
		c.Close()
	})
	for w := range writers {
		group.Go(func() {
			for i := range each {
				if _, err := c.Write(pub(uint16(w*each + i))); err != nil {
					t.Error(err)
				}
				_ = c.SetDeadline(time.Time{})
			}
		})
	}
	group.Wait()
	seen := map[string]int{}
	for _, l := range r.take() {
		way, _, _ := strings.Cut(l, " ")
		seen[way]++
	}
	if seen["in"] != writers*each || seen["out"] != writers*each || seen["unsent"] != 0 {
		t.Errorf("%v packets of %d each way", seen, writers*each)
	}
	end, ends := r.ended()
	if ends != 1 || end.Kind != timeline.EndEOF || end.PartialIn != 0 || end.PartialOut != 0 {
		t.Errorf("%d ends: %+v", ends, end)
	}
}

// Close must reach a writer that the peer's full window blocks.
func TestCloseWakesABlockedWriter(t *testing.T) {
	c, peer := net.Pipe()
	defer peer.Close()
	r := &recorder{}
	tapped := Tap(c, ticks(), r)
	done := make(chan error)
	go func() { _, err := tapped.Write(pub(1)); done <- err }()
	if _, err := io.ReadFull(peer, make([]byte, 3)); err != nil {
		t.Fatal(err)
	}
	tapped.Close()
	if err := <-done; err == nil {
		t.Error("the blocked write succeeded")
	}
	want(t, r.take(), "out PUBLISH 1 at 1", "unsent PUBLISH 1")
	if end, ends := r.ended(); ends != 1 || end.Kind != timeline.EndLocal {
		t.Errorf("%d ends: %+v", ends, end)
	}
}

// TestEndIsToldFirst: while one goroutine tells the end, the others that meet it
// do not go on. A library whose reader had returned would seem at rest, and the
// end would come when the run's files are closed.
func TestEndIsToldFirst(t *testing.T) {
	for name, meet := range map[string]func(net.Conn){
		"read":  func(c net.Conn) { _, _ = c.Read(make([]byte, 1)) },
		"write": func(c net.Conn) { _, _ = c.Write(mqtt.AppendPingreq(nil)) },
		"close": func(c net.Conn) { _ = c.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				shut := func([]byte) (int, error) { return 0, net.ErrClosed }
				o := &slowEnd{free: make(chan struct{})}
				c := Tap(&script{read: shut, write: shut, close: func() {}}, ticks(), o)
				var met atomic.Bool
				var both sync.WaitGroup
				both.Go(func() { _ = c.Close() })
				synctest.Wait()
				both.Go(func() { meet(c); met.Store(true) })
				synctest.Wait()
				if met.Load() {
					t.Error("went on before the end was told")
				}
				close(o.free)
				both.Wait()
				if _, n := o.ended(); n != 1 {
					t.Errorf("told %d times", n)
				}
			})
		})
	}
}

// slowEnd is an observer to whom it takes time to be told the end.
type slowEnd struct {
	recorder
	free chan struct{}
}

func (o *slowEnd) End(e timeline.End) {
	<-o.free
	o.recorder.End(e)
}
