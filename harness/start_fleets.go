package harness

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"time"

	"github.com/rebound-mqtt/rebound/harness/fleet"
	"github.com/rebound-mqtt/rebound/harness/target"
	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/harness/wire"
)

// startControl lays out the streams, opens their accounts and connects the
// built-in fleet, before there is anything to probe or publish to.
func (r *run) startControl(ctx context.Context) error {
	streams, err := fleet.Streams(r.plan, r.id, fleet.DefaultControl)
	if err != nil {
		return err
	}
	for _, s := range streams {
		r.book.AddStream(s.ID, s.Publisher, s.Topic, s.QoS)
	}
	r.sentinels.streams = streams
	r.bystanders.take(streams)
	r.traffic, err = fleet.NewTraffic(fleet.TrafficConfig{
		Clock: r.clock, Items: r.plan.Traffic, Streams: streams, Accounts: r.accounts(),
	})
	if err != nil {
		return err
	}
	r.later(r.traffic.Close) // after the fleets
	r.control, err = fleet.NewControl(fleet.ControlConfig{
		Run: r.id, RunID: r.number, Driver: r.driver, Addresses: r.target.Info().Addresses,
		Dial: r.dial, Login: r.login, Clock: r.clock, Record: r.note, Accounts: r.traffic.Accounts(), Finding: r.find,
	})
	if err != nil {
		return err
	}
	r.later(r.control.Close)
	r.watcher, err = fleet.NewWatcher(fleet.WatcherConfig{
		Plan: r.plan, Run: r.id, RunID: r.number, Driver: r.driver, Addresses: r.target.Info().Addresses,
		Dial: r.dial, Login: r.login, Clock: r.clock, Record: r.note,
		Will: func(w timeline.Will) { r.ev.add(timeline.Event{Will: &w}) },
	})
	if err != nil {
		return err
	}
	r.later(r.watcher.Close)
	r.control.Start(ctx)
	r.watcher.Start(ctx)
	ready, cancel := context.WithTimeout(ctx, controlWait)
	defer cancel()
	err = errors.Join(r.control.Ready(ready), r.watcher.Ready(ready))
	switch {
	case err != nil && ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		return fmt.Errorf("%w: the control connections: %w", target.ErrUnreachable, err)
	}
	return nil
}

// controlWait bounds the first connect of the control fleet.
const controlWait = 10 * time.Second

// makeFleets makes the clients; nothing dials before the first phase.
func (r *run) makeFleets() error {
	for i, pf := range r.plan.Fleets {
		f, err := fleet.New(fleet.Config{
			Run: r.id, RunID: r.number, Clients: pf.Clients, Fleet: pf.Fleet, Probe: pf.Probe,
			Driver: r.driver, Addresses: r.target.Info().Addresses, Dial: r.dial, Login: r.login, Clock: r.clock,
			Record: r.note, Accounts: r.traffic.Accounts(), Prober: r.control, Finding: r.find,
			Will:     fleet.Wills(r.plan, i, r.id, r.number),
			Policies: r.opts.Tables.Policies, Seed: mix(r.plan.Seed, "reconnect of "+pf.Name, 0, 0),
		})
		if err != nil {
			return err
		}
		for i := range f.Len() {
			r.book.AddSubscriber(f.ID(i))
			r.where[f.ID(i)] = place{f, i}
			r.bystanders.add(pf.Name, i, f.ID(i))
		}
		r.fleets = append(r.fleets, f)
		r.byName[pf.Name] = f
		r.later(f.Close)
	}
	return r.traffic.Join(append(r.fleets, r.control.Fleet)...)
}

// connect begins to connect the clients by their schedules, once: in the first
// phase, so that its connects are measured in it.
func (r *run) connect(ctx context.Context) {
	if r.connecting {
		return
	}
	r.connecting = true
	for _, f := range r.fleets {
		f.Start(ctx)
	}
}

// accounts joins the fleet's books to the ledger.
func (r *run) accounts() fleet.Accounts {
	return fleet.Accounts{
		Sessions: r.book, Publications: r.book, Deliveries: r.bystanders, Handlings: r.book, Sentinels: r.sentinels, Timetable: r.book,
	}
}

// dial gives a client its connection: the transport, under the fault layer,
// under the tap (library ↔ tap ↔ frame faults ↔ netfault ↔ TCP or pipe).
func (r *run) dial(ctx context.Context, addr, clientID string, n int, tap fleet.Tap) (net.Conn, string, string, error) {
	raw := func(ctx context.Context) (net.Conn, error) {
		conn, err := r.open(ctx, addr, clientID)
		if err == nil && r.opts.WrapConn != nil {
			conn = r.opts.WrapConn(clientID, conn)
		}
		return conn, err
	}
	// What is armed on a client is for its own connections; a closer ends
	// whichever is the newest.
	rival, ok := tap.(interface{ Rival() bool })
	own := !(ok && rival.Rival())
	var conn net.Conn
	var err error
	if r.links != nil && (own || r.plan.Closer == CloserFIN) {
		conn, err = r.links.Dial(ctx, clientID, raw)
	} else {
		conn, err = raw(ctx)
	}
	if err != nil {
		return nil, "", "", err
	}
	local, remote := conn.LocalAddr().String(), conn.RemoteAddr().String()
	if r.frames != nil && own {
		conn = r.frames.Wrap(clientID, n, conn)
	}
	return wire.Tap(conn, r.clock.Now, tap), local, remote, nil
}

// open connects to the broker, by TCP unless the target has a way of its own.
func (r *run) open(ctx context.Context, addr, clientID string) (net.Conn, error) {
	if t, ok := r.target.(target.Dialer); ok {
		return t.Dial(ctx, addr)
	}
	u, err := url.Parse(addr)
	if err != nil {
		return nil, fmt.Errorf("target address: %w", err)
	}
	d := net.Dialer{LocalAddr: r.source(clientID)}
	return d.DialContext(ctx, "tcp", u.Host)
}

// place is where a client id belongs.
type place struct {
	fleet *fleet.Fleet
	index int
}
