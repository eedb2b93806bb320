package fleet

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/rebound-mqtt/rebound/harness/mqtt"
)

// strictRun is the life of a client from Connect to Disconnect: one goroutine
// that dials, reads, and dials again.
type strictRun struct {
	client *strictClient
	ctx    context.Context // ends at Disconnect and Close
	cancel context.CancelFunc
	first  chan error    // outcome of the first attempt
	done   chan struct{} // closed when all has ended
	up     bool          // the first attempt succeeded; guarded by the client's lock
	told   sync.WaitGroup
}

func newStrictRun(c *strictClient) *strictRun {
	r := &strictRun{client: c, first: make(chan error, 1), done: make(chan struct{})}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	return r
}

// over reports whether the run has come to rest.
func (r *strictRun) over() bool {
	select {
	case <-r.done:
		return true
	default:
		return false
	}
}

// loop is the client's goroutine.
func (r *strictRun) loop() {
	defer close(r.done)
	defer r.told.Wait()
	defer r.cancel()
	l, err := r.attempt()
	if err != nil {
		r.leave()
		r.first <- err
		return
	}
	r.first <- nil
	for l != nil {
		r.lost(l, l.read())
		l = r.reconnect()
	}
	r.leave()
}

// leave says that the client is no longer kept connected.
func (r *strictRun) leave() {
	c := r.client
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.run == r {
		c.run = nil
	}
}

// lost takes a connection that is over out of use.
func (r *strictRun) lost(l *strictLink, why error) {
	c := r.client
	c.mu.Lock()
	c.why = why
	l.end()
	c.mu.Unlock()
	_ = l.conn.Close() // ends a write that hangs
	l.writers.Wait()

	c.mu.Lock()
	defer c.mu.Unlock()
	for _, w := range l.subscribes {
		close(w.done)
	}
	clear(l.subscribes)
}

// reconnect dials by the policy until there is a connection; nil when the run
// was stopped.
func (r *strictRun) reconnect() *strictLink {
	c := r.client
	var sleep time.Duration
	if c.settings.Backoff == nil {
		sleep = c.schedule.lost(time.Now())
	}
	for attempt := 1; r.wanted(); attempt++ {
		if c.settings.Backoff != nil {
			sleep = c.settings.Backoff(attempt)
		}
		if !pause(r.ctx, sleep) || !r.wanted() {
			return nil
		}
		if c.settings.OnReconnecting != nil {
			c.settings.OnReconnecting()
		}
		l, err := r.attempt()
		if err == nil {
			return l
		}
		if c.settings.Backoff == nil {
			sleep = c.schedule.again(time.Now())
		}
	}
	return nil
}

// wanted reports whether the application still wants the connection. A broker
// ends it as soon as it has read the DISCONNECT, while Disconnect still waits
// to hear that it was written: the run's context ends only then.
func (r *strictRun) wanted() bool {
	c := r.client
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.run == r
}

// pause sleeps; false when ctx ended, which alone ends a sleep of Never.
func pause(ctx context.Context, d time.Duration) bool {
	switch {
	case d == Never:
		<-ctx.Done()
		return false
	case d <= 0:
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// attempt makes a connection that is ready for use.
func (r *strictRun) attempt() (*strictLink, error) {
	c := r.client
	ctx, cancel := context.WithTimeout(r.ctx, c.settings.ConnectTimeout)
	defer cancel()
	if r.ctx.Err() != nil {
		return nil, errStopped
	}
	conn, err := c.settings.Dial(ctx)
	if err != nil {
		return nil, err
	}
	l := newStrictLink(c, conn)
	// Disconnect ends whatever the connection does.
	l.release = context.AfterFunc(r.ctx, func() { _ = conn.Close() })
	present, err := l.handshake(ctx)
	if err == nil && !r.adopt(l, present) {
		err = errStopped
	}
	if err != nil {
		l.release()
		_ = conn.Close()
		return nil, err
	}
	if told := c.settings.OnConnected; told != nil {
		r.told.Go(told)
	}
	return l, nil
}

// adopt makes the connection the live one and queues what has to be sent again;
// false when the run was stopped.
func (r *strictRun) adopt(l *strictLink, present bool) bool {
	c := r.client
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.run != r {
		return false
	}
	r.up = true
	c.session.resume(c.settings.Clean, present)
	c.link = l
	l.flush()
	return true
}

// handshake sends CONNECT and awaits CONNACK.
func (l *strictLink) handshake(ctx context.Context) (present bool, err error) {
	if deadline, ok := ctx.Deadline(); ok {
		if err := l.conn.SetDeadline(deadline); err != nil {
			return false, err
		}
	}
	if err := l.greet(); err != nil {
		return false, err
	}
	l.emit = func(p *mqtt.Packet) { present, l.err = l.connack(p) }
	for l.packets == 0 {
		if err := l.fill(); err != nil {
			return false, err
		}
		if err := l.handle(1); err != nil {
			return false, err
		}
	}
	l.emit = l.packet
	return present, l.conn.SetDeadline(time.Time{})
}

// greet writes the CONNECT.
func (l *strictLink) greet() error {
	s := &l.client.settings
	info := mqtt.ConnectInfo{ClientID: s.ClientID, Clean: s.Clean, KeepAlive: int(s.KeepAlive / time.Second)}
	if w := s.Will; w != nil {
		info.WillTopic, info.WillPayload, info.WillQoS, info.WillRetain = w.Topic, w.Payload, w.QoS, w.Retain
	}
	if s.Login != nil {
		info.Username, info.Password = s.Login.Username, s.Login.Password
	}
	l.wrote.Store(int64(time.Since(l.born)))
	_, err := l.conn.Write(mqtt.AppendConnect(nil, info))
	return err
}

// connack reads the broker's answer, which has to come first [MQTT-3.2.0-1].
func (l *strictLink) connack(p *mqtt.Packet) (present bool, err error) {
	present, code, err := p.Connack()
	switch {
	case errors.Is(err, mqtt.ErrType):
		return false, fmt.Errorf("%w: %v before CONNACK", errViolation, p.Type)
	case err != nil:
		return false, err
	case p.Flags != 0 || p.Body[0] > 1: // [MQTT-2.2.2-2], section 3.2.2.1
		return false, fmt.Errorf("%w: reserved flags of CONNACK set", errViolation)
	case code != 0 && present: // [MQTT-3.2.2-4]
		return false, fmt.Errorf("%w: CONNACK %d with session present", errViolation, code)
	case code != 0:
		return false, fmt.Errorf("connection %w by the broker: CONNACK code %d", ErrRefused, code)
	case present && l.client.settings.Clean: // [MQTT-3.2.2-1]
		return false, fmt.Errorf("%w: session present after clean session 1", errViolation)
	}
	return present, nil
}
