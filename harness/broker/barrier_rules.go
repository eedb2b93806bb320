package broker

import (
	"errors"
	"fmt"
	"time"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
	"golang.org/x/time/rate"

	"github.com/rebound-mqtt/rebound/harness/target"
)

var (
	// errGone: the client had given up before its turn came.
	errGone = errors.New("the client left while it waited at a gate")
	// errShut: a gate closes the connection.
	errShut = errors.New("a gate closes the connection")
	// errClosing: the broker closes.
	errClosing = errors.New("the broker closes")
	// errQuota: a client published more than its quota.
	errQuota = errors.New("the client published more than its quota")
)

// refusal is a CONNECT that is answered with a CONNACK.
type refusal struct {
	code packets.Code // of MQTT 3.1.1, see codeFor
}

func (r refusal) Error() string { return fmt.Sprintf("refused at a gate: CONNACK %d", r.code.Code) }

// codeFor is the code for one version of the protocol.
func (r refusal) codeFor(version byte) packets.Code {
	if version < 5 {
		return r.code
	}
	switch r.code.Code {
	case target.RefusedUser:
		return packets.ErrBadUsernameOrPassword
	case target.RefusedAuthorization:
		return packets.ErrNotAuthorized
	}
	return packets.ErrServerUnavailable
}

// connect takes a CONNECT through the barriers. An error ends the connection; a
// refusal is to be answered before.
func (s *barriers) connect(cl *mochi.Client) error {
	return s.each(cl, func(b *barrier) func(*held) error {
		switch {
		case b.ConnectLimit != nil:
			return b.limit
		case b.SlowAuth != nil:
			return b.authenticate
		case b.RejectAuth != nil:
			return b.reject
		}
		return nil
	})
}

// subscribe holds a SUBSCRIBE.
func (s *barriers) subscribe(cl *mochi.Client) {
	_ = s.each(cl, func(b *barrier) func(*held) error { // who has left meanwhile: the SUBACK finds out
		if b.SubscribeSlow == nil {
			return nil
		}
		return func(h *held) error { return b.wait(b.SubscribeSlow.Delay, h.gone()) }
	})
}

// publish holds a PUBLISH. An error ends the connection.
func (s *barriers) publish(cl *mochi.Client) error {
	return s.each(cl, func(b *barrier) func(*held) error {
		if b.PublishQuota == nil {
			return nil
		}
		return b.publish
	})
}

// each takes a packet through the barriers that have a rule for it.
func (s *barriers) each(cl *mochi.Client, rule func(*barrier) func(*held) error) error {
	all := s.list()
	if all == nil {
		return nil
	}
	h := &held{client: cl}
	defer h.release()
	for _, b := range all {
		do := rule(b)
		if do == nil || !b.enter(cl.ID) {
			continue
		}
		err := do(h)
		if _, answered := errors.AsType[refusal](err); err != nil && !answered {
			cl.Stop(err) // before it is counted out: who lifts the barrier finds it closed
		}
		b.leave(err)
		if err != nil {
			return err
		}
	}
	return nil
}

// forget drops what is kept for a connection, which has ended.
func (s *barriers) forget(cl *mochi.Client) {
	for _, b := range s.list() {
		b.mu.Lock()
		delete(b.buckets, cl)
		b.mu.Unlock()
	}
}

// held is a connection in a hook. mochi's deadline, which counts from the last
// packet, does not run out while its packet is held.
type held struct {
	client *mochi.Client
	waited bool
}

// gone is closed once the client has left; from then on it waits without a
// deadline. nil = that can't be known of this connection.
func (h *held) gone() <-chan struct{} {
	h.waited = true
	bound(h.client.Net.Conn, 0)
	if c, ok := h.client.Net.Conn.(*earlyConn); ok {
		return c.gone()
	}
	return nil
}

// release sets the deadline again, as mochi does before it reads [MQTT-3.1.2-24].
func (h *held) release() {
	if h.waited {
		bound(h.client.Net.Conn, time.Duration(h.client.State.Keepalive)*time.Second*3/2)
	}
}

// limit is the rule of ConnectLimit.
func (b *barrier) limit(h *held) error {
	if b.bucket.Allow() {
		return nil
	}
	switch b.ConnectLimit.Then {
	case target.ThenRefuse:
		return refusal{packets.Err3ServerUnavailable}
	case target.ThenHang:
		b.delayed()
		select {
		case <-b.lifted:
		case <-h.gone():
			return errGone
		case <-b.closing:
			return errClosing
		}
	}
	return errShut
}

// reject is the rule of RejectAuth.
func (b *barrier) reject(h *held) error {
	switch {
	case !b.picks(h.client.ID, b.RejectAuth.Share):
		return nil
	case b.RejectAuth.Code == target.RefusedUser:
		return refusal{packets.ErrMalformedUsernameOrPassword}
	}
	return refusal{packets.Err3NotAuthorized}
}

// authenticate is the rule of SlowAuth.
func (b *barrier) authenticate(h *held) error {
	gone := h.gone()
	if err := b.queue(); err != nil {
		return err
	}
	b.delayed()
	if b.workers != nil {
		defer func() { <-b.workers }()
	}
	timer := time.NewTimer(b.draw())
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-b.lifted:
	case <-b.closing:
		return errClosing
	}
	select {
	case <-gone: // the backend has worked for nobody
		return errGone
	default:
		return nil
	}
}

// queue waits for a worker. Go's channels serve their senders in order. Once
// the barrier is lifted there are workers for all.
func (b *barrier) queue() error {
	if b.workers == nil {
		return nil
	}
	select {
	case b.workers <- struct{}{}:
		return nil
	default:
	}
	b.mu.Lock()
	full := b.queued >= b.SlowAuth.Queue
	if !full {
		b.queued++
	}
	b.mu.Unlock()
	if full {
		return refusal{packets.Err3ServerUnavailable}
	}
	defer func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.queued--
	}()
	select {
	case b.workers <- struct{}{}: // also once it is lifted: those before it are answered at once
		return nil
	case <-b.closing:
		return errClosing
	}
}

// draw gives the time that one attempt takes.
func (b *barrier) draw() time.Duration {
	s := b.SlowAuth
	d := s.Delay
	b.mu.Lock()
	switch s.Distribution {
	case target.DelayUniform:
		d = time.Duration(b.rng.Float64() * 2 * float64(s.Delay))
	case target.DelayExponential:
		d = time.Duration(b.rng.ExpFloat64() * float64(s.Delay))
	}
	b.mu.Unlock()
	if s.Max > 0 {
		d = min(d, s.Max)
	}
	return d
}

// publish is the rule of PublishQuota.
func (b *barrier) publish(h *held) error {
	q := b.PublishQuota
	b.mu.Lock()
	bucket := b.buckets[h.client]
	if bucket == nil {
		bucket = rate.NewLimiter(rate.Limit(q.Rate), q.Burst)
		b.buckets[h.client] = bucket
	}
	b.mu.Unlock()
	if q.Then == target.ThenClose {
		if !bucket.Allow() {
			return fmt.Errorf("%w: %g/s", errQuota, q.Rate)
		}
		return nil
	}
	if d := bucket.Reserve().Delay(); d > 0 {
		return b.wait(d, h.gone())
	}
	return nil
}
