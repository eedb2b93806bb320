package fleet

import (
	"context"
	"fmt"
	"io"
	"net"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rebound-mqtt/rebound/harness/mqtt"
	"github.com/rebound-mqtt/rebound/scenarios"
)

// answeringBroker is a broker on loopback that acknowledges what it reads and
// allocates nothing for it.
func answeringBroker(b *testing.B) func(context.Context) (net.Conn, error) {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go replyTo(conn)
		}
	}()
	return func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", l.Addr().String())
	}
}

func replyTo(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	var f mqtt.Framer
	var out []byte
	buf := make([]byte, 4096)
	emit := func(p *mqtt.Packet) {
		switch {
		case p.Type == mqtt.CONNECT:
			out = mqtt.AppendConnack(out, false, 0)
		case p.Type == mqtt.PUBLISH && p.QoS() == 1:
			out = mqtt.AppendPuback(out, p.ID)
		case p.Type == mqtt.PUBLISH && p.QoS() == 2:
			out = mqtt.AppendPubrec(out, p.ID)
		case p.Type == mqtt.PUBREL:
			out = mqtt.AppendPubcomp(out, p.ID)
		}
	}
	for {
		n, err := conn.Read(buf)
		if err != nil || f.Feed(buf[:n], 0, emit) != nil {
			return
		}
		if _, err := conn.Write(out); err != nil {
			return
		}
		out = out[:0]
	}
}

// BenchmarkDriverIdle is what a connected client that does nothing costs, the
// broker's side of the socket and its goroutine taken off.
func BenchmarkDriverIdle(b *testing.B) {
	for _, d := range Drivers() {
		b.Run(d.Info().Name, func(b *testing.B) {
			dial := answeringBroker(b)
			const clients = 200
			for b.Loop() {
				goroutines, heap := usage()
				all := make([]Client, clients)
				for i := range all {
					all[i] = benchClient(b, d, i, dial)
				}
				more, bytes := usage()
				b.ReportMetric(float64(more-goroutines)/clients-1, "goroutines/client")
				b.ReportMetric((float64(bytes)-float64(heap))/clients/1024, "KiB/client")
				for _, c := range all {
					c.Close()
				}
			}
		})
	}
}

func usage() (goroutines int, bytes uint64) {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return runtime.NumGoroutine(), m.HeapInuse + m.StackInuse
}

func benchClient(b *testing.B, d Driver, i int, dial func(context.Context) (net.Conn, error)) Client {
	b.Helper()
	c, err := d.New(Settings{
		ClientID: fmt.Sprint("c", i), Addr: "h:1", Dial: dial, KeepAlive: 30 * time.Second,
		Reconnect: scenarios.Reconnect{Policy: "paho"},
	})
	if err != nil {
		b.Fatal(err)
	}
	if err := c.Connect(b.Context()); err != nil {
		b.Fatal(err)
	}
	return c
}

// counted tells of each packet that a client reads.
type counted struct {
	net.Conn
	f    mqtt.Framer
	done *atomic.Int64
	emit func(*mqtt.Packet)
}

func (c *counted) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if bad := c.f.Feed(b[:n], 0, c.emit); bad != nil {
		return n, io.ErrUnexpectedEOF
	}
	return n, err
}

// BenchmarkDriverPublish is a message of 64 bytes from Publish to the last
// acknowledgement, with at most 64 in flight; the broker's part is the same for
// each driver.
func BenchmarkDriverPublish(b *testing.B) {
	for _, d := range Drivers() {
		for _, qos := range []byte{1, 2} {
			b.Run(fmt.Sprintf("%s/qos=%d", d.Info().Name, qos), func(b *testing.B) {
				var done atomic.Int64
				plain := answeringBroker(b)
				c := benchClient(b, d, 0, func(ctx context.Context) (net.Conn, error) {
					conn, err := plain(ctx)
					if err != nil {
						return nil, err
					}
					w := &counted{Conn: conn, done: &done}
					w.emit = func(p *mqtt.Packet) {
						if p.Type == mqtt.PUBACK || p.Type == mqtt.PUBCOMP {
							done.Add(1)
						}
					}
					return w, nil
				})
				defer c.Close()
				payload := make([]byte, 64)
				b.ReportAllocs()
				n := int64(0)
				for b.Loop() {
					for n-done.Load() >= 64 {
						runtime.Gosched()
					}
					if err := c.Publish("rb/dev-000001/cmd", qos, false, payload); err != nil {
						b.Fatal(err)
					}
					n++
				}
				for done.Load() < n {
					runtime.Gosched()
				}
			})
		}
	}
}
