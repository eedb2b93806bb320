package fleet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/rebound-mqtt/rebound/harness/mqtt"
	"github.com/rebound-mqtt/rebound/harness/timeline"
)

// rival is a second connection under the id of a client: its CONNECT makes the
// broker end the client's own [MQTT-3.1.4-2]. It is no client: it reads, and
// answers nothing, so that what it is sent at QoS 1 and 2 is owed to the client
// when that has its session back.
type rival struct {
	fleet    *Fleet
	obs      *conn
	conn     net.Conn
	accepted chan answer   // the CONNACK
	ended    chan struct{} // closed: nothing is read any more
}

// answer is a CONNACK.
type answer struct {
	at   timeline.Instant
	code byte
}

// Takeover opens a second connection under a client's id, which keeps the
// session (CleanSession 0) and has the fleet's keep alive and no Will. It is
// held until the broker ends it, as it must when the client comes back, or
// until hold has passed since its CONNACK; then it is closed without a
// DISCONNECT. That is not awaited: Takeover returns when the CONNACK was read,
// at that instant. The connection has a record and a number of its own, and
// what it reads counts for the client's session.
//
// It sends no PINGREQ: a broker ends one that is held for longer than 1.5 times
// the keep alive. The error wraps ErrRefused where the broker refused the
// CONNECT, and the cause of ctx where that ended first.
func (f *Fleet) Takeover(ctx context.Context, client int, hold time.Duration) (timeline.Instant, error) {
	timeout := f.cfg.ConnectTimeout
	if timeout <= 0 {
		timeout = defaultConnectTimeout
	}
	ctx, expire := context.WithTimeout(ctx, timeout)
	defer expire()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := context.AfterFunc(f.ctx, func() { cancel(ErrClosed) })
	defer stop()

	r, err := f.clients[client].rival(ctx)
	if err != nil {
		return 0, fmt.Errorf("takeover: %w", err)
	}
	if !f.spawn(func() { r.run(hold) }) {
		return 0, fmt.Errorf("takeover: %w", errors.Join(ErrClosed, r.conn.Close()))
	}
	a, err := r.await(ctx)
	switch {
	case err != nil:
		_ = r.conn.Close() // the reader ends with it
		return 0, fmt.Errorf("takeover: %w", err)
	case a.code != 0:
		return 0, fmt.Errorf("takeover: %w: CONNACK %d", ErrRefused, a.code)
	}
	return a.at, nil
}

// rival dials a second connection under the client's id.
func (c *client) rival(ctx context.Context) (*rival, error) {
	now := c.fleet.cfg.Clock.Now
	obs := c.session.rival(now())
	if obs == nil {
		return nil, ErrClosed
	}
	conn, local, remote, err := c.fleet.cfg.Dial(ctx, c.address(), c.session.id, obs.rec.N, obs)
	if err != nil {
		obs.dialFailed(now(), err)
		return nil, err
	}
	obs.dialed(now(), conn, local, remote)
	return &rival{
		fleet: c.fleet, obs: obs, conn: conn,
		accepted: make(chan answer, 1), ended: make(chan struct{}),
	}, nil
}

// run writes the CONNECT and reads until the connection ends.
func (r *rival) run(hold time.Duration) {
	defer close(r.ended)
	defer func() { _ = r.conn.Close() }()
	stop := context.AfterFunc(r.fleet.ctx, func() { _ = r.conn.Close() })
	defer stop()

	info := mqtt.ConnectInfo{ClientID: r.obs.s.id, KeepAlive: int(r.fleet.cfg.Fleet.Session.KeepAlive / time.Second)}
	if l := r.fleet.cfg.Login; l != nil {
		info.Username, info.Password = l.Username, l.Password
	}
	if _, err := r.conn.Write(mqtt.AppendConnect(nil, info)); err != nil {
		return
	}
	var timer *time.Timer // of hold, from the CONNACK on
	buf := make([]byte, 4096)
	for {
		if _, err := r.conn.Read(buf); err != nil {
			return
		}
		if timer != nil {
			continue
		}
		a, ok := r.obs.answer()
		if !ok {
			continue
		}
		r.accepted <- a
		if a.code != 0 {
			return
		}
		timer = time.AfterFunc(hold, func() { _ = r.conn.Close() })
		defer timer.Stop()
	}
}

// await waits for the CONNACK.
func (r *rival) await(ctx context.Context) (answer, error) {
	select {
	case a := <-r.accepted:
		return a, nil
	case <-ctx.Done():
		return answer{}, context.Cause(ctx)
	case <-r.ended:
	}
	select {
	case a := <-r.accepted: // and then ended
		return a, nil
	default:
		return answer{}, errors.New("the connection ended before its CONNACK")
	}
}

// answer is the CONNACK of a connection, once it was read.
func (c *conn) answer() (answer, bool) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	return answer{c.rec.Connack, c.rec.ConnackCode}, c.rec.Connack != 0
}
