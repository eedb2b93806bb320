package fleet

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/rebound-mqtt/rebound/harness/mqtt"
	"github.com/rebound-mqtt/rebound/reports"
	"github.com/rebound-mqtt/rebound/scenarios"
)

const (
	strictVersion = "1"

	// strictStopWait bounds Disconnect and Close, should a dial or a callback
	// not return.
	strictStopWait = 2 * time.Second
	// strictGoodbye is how long a DISCONNECT may take to be written.
	strictGoodbye = 250 * time.Millisecond
	// strictMaxQueued is how many bytes of QoS 0 may wait to be written for one
	// more message to be taken: nothing else bounds them.
	strictMaxQueued = 1 << 20

	maxTopic     = 1<<16 - 1                    // bytes
	maxKeepAlive = (1<<16 - 1) * time.Second    // section 3.1.2.10
	maxPayload   = 1<<28 - 1 - 2 - maxTopic - 2 // bytes that fit with any topic
)

var (
	errAway    = errors.New("not connected")
	errStopped = errors.New("disconnected by the application")
	errBusy    = errors.New("a connect is under way")
)

// Strict drives the harness's own client, which is small and keeps to the
// letter of MQTT 3.1.1: the control experiment. What is red with a library and
// green with Strict is the library's doing; what is red with both is not.
//
// Where the standard leaves a choice, or is often read loosely, it does this:
//
//   - With clean session 0 every unacknowledged PUBLISH and PUBREL is sent again
//     after each reconnect, with its identifier [MQTT-4.4.0-1], also when session
//     present is 0. The statement has no exception (that of MQTT 5.0 has one), and
//     section 3.2.2.2 lets the client proceed. So nothing that was accepted is
//     dropped, and what had its PUBREC goes on with PUBREL and is never published
//     again [MQTT-4.3.3-1]. The identifiers of inbound QoS 2 messages are
//     forgotten then: a new server session numbers from the start, and a new
//     message must not pass for an old copy.
//   - With clean session 1 all exchanges that have begun are dropped at each
//     reconnect, with no outcome [MQTT-3.1.2-6]. A message that waited and was
//     never offered to a connection is sent.
//   - PUBRELs are sent first, in the order of their PUBRECs [MQTT-4.6.0-4], then
//     PUBLISHes in the order of their first sending [MQTT-4.6.0-1], then what is
//     new. DUP is set where the packet was given to an earlier connection's
//     socket, whether or not it arrived.
//   - A QoS 2 message goes to the handler with its first PUBLISH, before the
//     PUBREC (method B of figure 4.3), a QoS 1 message before its PUBACK.
//   - Nothing limits what is in flight but the 65,535 identifiers; beyond, and
//     while away at QoS 0, Publish refuses.
//   - What a server must not send ends the connection [MQTT-4.8.0-1]. A PUBACK or
//     PUBCOMP that nothing waits for is let pass, as an answer to another copy.
//   - PINGREQ is sent when nothing was written, or nothing was read, for three
//     quarters of the keep alive, so that a late wake-up is still inside it
//     [MQTT-3.1.2-23]. Without a PINGRESP for 10 s, as in paho, the connection is
//     closed.
//
// It has all reconnect policies of Policies. Connect gives up its attempt when
// its context ends. A payload given to OnMessage is valid during the call.
type Strict struct{}

// Info implements Driver.
func (Strict) Info() reports.Driver {
	return reports.Driver{Name: "strict", Version: strictVersion}
}

// New implements Driver.
func (Strict) New(s Settings) (Client, error) {
	if s.ConnectTimeout <= 0 {
		s.ConnectTimeout = defaultConnectTimeout
	}
	if s.WriteTimeout <= 0 {
		s.WriteTimeout = defaultWriteTimeout
	}
	switch {
	case s.ClientID == "" && !s.Clean: // [MQTT-3.1.3-7]
		return nil, fmt.Errorf("%w: a session that is kept needs a client id", ErrConfig)
	case len(s.ClientID) > maxTopic, s.Will != nil && (len(s.Will.Topic) > maxTopic || len(s.Will.Payload) > maxTopic):
		return nil, fmt.Errorf("%w: longer than a CONNECT can carry", ErrConfig)
	case s.Will != nil && (s.Will.Topic == "" || s.Will.QoS > 2):
		return nil, fmt.Errorf("%w: impossible Will", ErrConfig)
	case s.KeepAlive < 0 || s.KeepAlive > maxKeepAlive:
		return nil, fmt.Errorf("%w: keep alive of %s", ErrConfig, s.KeepAlive)
	}
	if _, err := serverURL(s.Addr); err != nil {
		return nil, err
	}
	c := &strictClient{settings: s, schedule: pahoSchedule{max: pahoMaxSleep, attempt: s.ConnectTimeout}}
	if s.Reconnect.Max > 0 {
		c.schedule.max = s.Reconnect.Max
	}
	if s.Backoff == nil {
		var err error
		if c.settings.Backoff, err = ownBackoff(s); err != nil {
			return nil, fmt.Errorf("driver strict: %w", err)
		}
	}
	return c, nil
}

// strictClient is one client. Its goroutine (strictRun) dials and reads; what
// is to be written is queued under mu, for a writer that runs as long as there
// is something to write (strictLink.flush).
type strictClient struct {
	settings Settings
	schedule pahoSchedule // of the policy paho; only the run's goroutine uses it

	mu      sync.Mutex // never held over I/O or a callback
	session strictSession
	link    *strictLink // the live connection, CONNACK 0 read; nil = away
	run     *strictRun  // nil = the application wants no connection
	last    *strictRun  // the latest one; it may still be ending
	closed  bool
	why     error // why the latest connection ended, for whoever debugs
}

// Connect implements Client.
func (c *strictClient) Connect(ctx context.Context) error {
	r, err := c.start(ctx)
	if r == nil {
		return err
	}
	select {
	case err = <-r.first:
	case <-ctx.Done():
		c.stop(r)
		err = ctx.Err()
	}
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	return nil
}

// start begins a run, when the one before has come to rest.
func (c *strictClient) start(ctx context.Context) (*strictRun, error) {
	for {
		c.mu.Lock()
		switch last := c.last; {
		case c.closed:
			c.mu.Unlock()
			return nil, fmt.Errorf("connect: %w", ErrClosed)
		case c.run != nil && c.run.up:
			c.mu.Unlock()
			return nil, nil // it keeps itself connected
		case c.run != nil:
			c.mu.Unlock()
			return nil, fmt.Errorf("connect: %w", errBusy)
		case last != nil && !last.over():
			c.mu.Unlock()
			select {
			case <-last.done:
			case <-ctx.Done():
				return nil, fmt.Errorf("connect: %w", ctx.Err())
			}
		default:
			r := newStrictRun(c)
			c.run, c.last = r, r
			c.mu.Unlock()
			go r.loop()
			return r, nil
		}
	}
}

// Disconnect implements Client.
func (c *strictClient) Disconnect() {
	c.mu.Lock()
	r := c.run
	c.mu.Unlock()
	if r != nil {
		c.stop(r)
	}
}

// stop ends a run in at most strictGoodbye + strictStopWait.
func (c *strictClient) stop(r *strictRun) {
	c.mu.Lock()
	var written <-chan struct{}
	if c.run == r {
		c.run = nil
		if l := c.link; l != nil {
			// Nothing may follow a DISCONNECT [MQTT-3.14.4-2].
			c.link = nil
			l.queue = mqtt.AppendDisconnect(l.queue)
			l.empty = make(chan struct{})
			written = l.empty
			l.flush()
		}
	}
	c.mu.Unlock()
	if written != nil {
		await := time.NewTimer(strictGoodbye)
		defer await.Stop()
		select {
		case <-written:
		case <-await.C:
		}
	}
	r.cancel()
	await := time.NewTimer(strictStopWait)
	defer await.Stop()
	select {
	case <-r.done:
	case <-await.C:
	}
}

// Close implements Client: it disconnects, and waits at most about 2 s for what
// the client started. Only a dial or a callback that does not return outlasts it.
func (c *strictClient) Close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.Disconnect()
}

// Publish implements Client; it never blocks. At QoS 1 and 2 the message is kept
// until it is acknowledged, and taken also while the client reconnects.
func (c *strictClient) Publish(topic string, qos byte, retain bool, payload []byte) error {
	if topic == "" || len(topic) > maxTopic || strings.ContainsAny(topic, "+#\x00") || qos > 2 || len(payload) > maxPayload {
		return fmt.Errorf("publish: %w: no PUBLISH can carry it", ErrRefused) // [MQTT-3.3.2-2]
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.take(topic, qos, retain, payload); err != nil {
		return fmt.Errorf("publish: %w: %w", ErrRefused, err)
	}
	return nil
}

// take queues a message. c.mu is held.
func (c *strictClient) take(topic string, qos byte, retain bool, payload []byte) error {
	l := c.link
	switch {
	case c.run == nil || !c.run.up:
		return errAway
	case qos == 0 && l == nil:
		return errAway
	case qos == 0 && c.session.waiting > strictMaxQueued:
		return fmt.Errorf("%d bytes wait to be written", c.session.waiting)
	}
	id := uint16(0)
	if qos > 0 {
		var err error
		if id, err = c.session.newID(l); err != nil {
			return err
		}
	}
	c.session.publish(id, topic, qos, retain, payload)
	if l != nil {
		l.flush()
	}
	return nil
}

// Subscribe implements Client. A SUBSCRIBE is not repeated after a reconnect.
func (c *strictClient) Subscribe(ctx context.Context, subs []scenarios.Subscription) error {
	if len(subs) == 0 {
		return nil // there is no SUBSCRIBE without a filter [MQTT-3.8.3-3]
	}
	w, err := c.ask(subs)
	if err != nil {
		return fmt.Errorf("subscribe: %w", err)
	}
	bound := time.NewTimer(c.settings.WriteTimeout)
	defer bound.Stop()
	select {
	case <-w.done:
	case <-bound.C:
		return fmt.Errorf("subscribe: no SUBACK in %s: %w", c.settings.WriteTimeout, context.DeadlineExceeded)
	case <-ctx.Done():
		return ctx.Err()
	}
	if w.codes == nil {
		return fmt.Errorf("subscribe: connection lost: %w", errAway)
	}
	var refused []string
	for i, code := range w.codes {
		if code == subackRefused {
			refused = append(refused, subs[i].Topic)
		}
	}
	if len(refused) > 0 {
		return fmt.Errorf("subscribe: %w by the broker: %s", ErrRefused, strings.Join(refused, ", "))
	}
	return nil
}

// ask queues a SUBSCRIBE.
func (c *strictClient) ask(subs []scenarios.Subscription) (*waiting, error) {
	filters := make([]mqtt.Filter, len(subs))
	for i, s := range subs {
		if s.Topic == "" || len(s.Topic) > maxTopic || s.QoS > 2 {
			return nil, fmt.Errorf("%w: no SUBSCRIBE can carry filter %q", ErrRefused, s.Topic)
		}
		filters[i] = mqtt.Filter{Topic: s.Topic, QoS: s.QoS}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	l := c.link
	if l == nil {
		return nil, errAway
	}
	id, err := c.session.newID(l)
	if err != nil {
		return nil, err
	}
	w := &waiting{filters: len(filters), done: make(chan struct{})}
	l.subscribes[id] = w
	l.queue = mqtt.AppendSubscribe(l.queue, id, filters...)
	l.flush()
	return w, nil
}
