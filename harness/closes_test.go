package harness

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/rebound-mqtt/rebound/harness/broker"
	"github.com/rebound-mqtt/rebound/harness/closeconn"
	"github.com/rebound-mqtt/rebound/harness/closeconn/acs"
	"github.com/rebound-mqtt/rebound/harness/fault"
	"github.com/rebound-mqtt/rebound/harness/measure"
	"github.com/rebound-mqtt/rebound/harness/mqtt"
	"github.com/rebound-mqtt/rebound/harness/target"
	"github.com/rebound-mqtt/rebound/harness/timeline"
)

// closesRig is a broker in this process and a client of its endpoint.
type closesRig struct {
	scheme  acs.Scheme
	clock   *timeline.Clock
	target  target.Target
	client  *closeconn.Client
	answers *measure.Hist
	rates   []float64 // closes per second, by round
}

func newClosesRig(b *testing.B, scheme acs.Scheme) *closesRig {
	r := &closesRig{scheme: scheme, clock: timeline.NewClock(), answers: measure.NewHist(measure.Nanoseconds)}
	o := CloseOptions{Scheme: string(scheme)}
	to := TargetOptions{Broker: broker.Options{Clock: r.clock}}
	if o.Signed() {
		o.Credentials = randomKey()
		to.Key = &o.Credentials
	}
	var err error
	if r.target, err = StartTarget(b.Context(), broker.KindEmbedded, to); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = r.target.Close() })
	cfg := o.client(r.target.Info().Endpoint)
	cfg.Clock, cfg.SameClock, cfg.Retries = r.clock, true, -1
	if r.client, err = closeconn.NewClient(cfg); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = r.client.Close() })
	return r
}

// round connects n clients and closes them as fast as possible.
func (r *closesRig) round(b *testing.B, n int) {
	conns := connectMany(b, r.target.Info().Addresses, n)
	began := time.Now()
	if err := closeMany(b.Context(), r.client, r.clock, n, r.answers); err != nil {
		b.Fatal(err)
	}
	r.rates = append(r.rates, float64(n)/time.Since(began).Seconds())
	for _, c := range conns {
		_ = c.Close() // the broker has closed it
	}
}

// BenchmarkCloses9000 closes 9,000 real connections as fast as possible, as a
// storm does, unsigned and by either signature, turn and turn about, so that a
// busy machine does not favour one:
//
//	go test -run '^$' -bench Closes9000 -benchtime 5x ./harness
//
// The rate is the median of the rounds; latencies are of all their calls.
// Broker, endpoint, clients and closer share this process.
func BenchmarkCloses9000(b *testing.B) {
	const clients = 9000
	var rigs []*closesRig
	for _, scheme := range []acs.Scheme{acs.None, acs.RPC, acs.ACS3} {
		rigs = append(rigs, newClosesRig(b, scheme))
	}
	b.ResetTimer()
	for i := range b.N {
		for k := range rigs {
			rigs[(i+k)%len(rigs)].round(b, clients)
		}
	}
	b.ReportMetric(0, "ns/op") // of no meaning: it holds the connects
	for _, r := range rigs {
		slices.Sort(r.rates)
		b.ReportMetric(r.rates[len(r.rates)/2], string(r.scheme)+"-closes/s")
		q := r.answers.Summary(0)
		for name, v := range map[string]*float64{"p50": q.P50, "p99": q.P99, "max": q.Max} {
			b.ReportMetric(*v*1000, string(r.scheme)+"-"+name+"-ms")
		}
	}
}

// connectMany connects n raw clients, each with a session of its own.
func connectMany(tb testing.TB, addresses []string, n int) []net.Conn {
	conns := make([]net.Conn, n)
	var group errgroup.Group
	group.SetLimit(64)
	for i := range conns {
		group.Go(func() error {
			conn, err := net.Dial("tcp", strings.TrimPrefix(addresses[i%len(addresses)], "tcp://"))
			if err != nil {
				return err
			}
			conns[i] = conn
			hello := mqtt.AppendConnect(nil, mqtt.ConnectInfo{ClientID: fmt.Sprintf("dev-%06d", i), Clean: true})
			_, err = conn.Write(hello)
			return errors.Join(err, conn.SetReadDeadline(time.Now().Add(time.Minute)), readN(conn, 4))
		})
	}
	if err := group.Wait(); err != nil {
		tb.Fatal(err)
	}
	return conns
}

func readN(r io.Reader, n int) error {
	_, err := io.ReadFull(r, make([]byte, n))
	return err
}

// closeMany closes all of them with as many calls open as a fault has.
func closeMany(ctx context.Context, c *closeconn.Client, clock *timeline.Clock, n int, answers *measure.Hist) error {
	took := make([]int64, n)
	var group errgroup.Group
	group.SetLimit(fault.DefaultConcurrency)
	for i := range n {
		group.Go(func() error {
			began := clock.Now()
			closed, err := c.CloseConnection(ctx, fmt.Sprintf("dev-%06d", i))
			took[i] = int64(clock.Now() - began)
			if err == nil && (closed.Found == nil || !*closed.Found) {
				err = fmt.Errorf("client %d was not online", i)
			}
			return err
		})
	}
	err := group.Wait()
	for _, ns := range took {
		answers.Record(ns)
	}
	return err
}
