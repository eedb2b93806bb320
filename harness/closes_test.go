package harness

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
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
	"github.com/rebound-mqtt/rebound/harness/timeline"
)

// BenchmarkCloses9000 closes 9,000 real connections as fast as possible, as a
// storm does, unsigned and by either signature in one run:
//
//	go test -run '^$' -bench Closes9000 -benchtime 1x ./harness
//
// Broker, endpoint, clients and closer share this process.
func BenchmarkCloses9000(b *testing.B) {
	const clients = 9000
	for _, scheme := range []acs.Scheme{acs.None, acs.RPC, acs.ACS3} {
		b.Run(string(scheme), func(b *testing.B) {
			clock := timeline.NewClock()
			o := CloseOptions{Scheme: string(scheme)}
			to := TargetOptions{Broker: broker.Options{Clock: clock}}
			if o.Signed() {
				o.Credentials = randomKey()
				to.Key = &o.Credentials
			}
			t, err := StartTarget(b.Context(), broker.KindEmbedded, to)
			if err != nil {
				b.Fatal(err)
			}
			defer t.Close() //nolint:errcheck // the benchmark's own
			cfg := o.client(t.Info().Endpoint)
			cfg.Clock, cfg.SameClock, cfg.Retries = clock, true, -1
			client, err := closeconn.NewClient(cfg)
			if err != nil {
				b.Fatal(err)
			}
			defer client.Close() //nolint:errcheck // it can not fail
			answers := measure.NewHist(measure.Nanoseconds)
			for range b.N {
				b.StopTimer()
				conns := connectMany(b, t.Info().Addresses, clients)
				b.StartTimer()
				if err := closeMany(b.Context(), client, clock, clients, answers); err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				for _, c := range conns {
					c.Close() //nolint:errcheck // the broker has closed it
				}
				b.StartTimer()
			}
			b.ReportMetric(float64(b.N*clients)/b.Elapsed().Seconds(), "closes/s")
			q := answers.Summary(0)
			for name, v := range map[string]*float64{"p50-ms": q.P50, "p99-ms": q.P99, "max-ms": q.Max} {
				b.ReportMetric(*v*1000, name)
			}
		})
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
