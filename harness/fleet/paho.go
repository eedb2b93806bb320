package fleet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"

	"github.com/rebound-mqtt/rebound/reports"
	"github.com/rebound-mqtt/rebound/scenarios"
)

const (
	pahoModule = "github.com/eclipse/paho.mqtt.golang"
	// pahoVersion is the version in go.mod, for binaries without module
	// information: those of go test.
	pahoVersion = "1.5.1"
	pahoPolicy  = "paho"

	defaultConnectTimeout = 10 * time.Second
	defaultWriteTimeout   = 5 * time.Second

	// pahoQuiesce is how long an orderly disconnect may wait for its DISCONNECT
	// to be written before the connection is closed under it.
	pahoQuiesce = 250 * time.Millisecond
	// pahoCloseWait bounds Disconnect and Close; see pahoClient.Disconnect.
	pahoCloseWait = 2 * time.Second
	pahoPoll      = 5 * time.Millisecond

	// pahoTimedOut is the library's text for a message that its writer did not
	// take within the write time-out; it has no sentinel error for it. pahoEnding
	// is that of a Connect while an earlier connection is still being ended.
	pahoTimedOut = "publish was broken by timeout"
	pahoEnding   = "status can only transition to connecting from disconnected"

	subackRefused = 0x80 // MQTT 3.1.1 section 3.9.3
)

// Paho drives eclipse/paho.mqtt.golang, an MQTT 3.1.1 client. Its own reconnect
// policy is "paho": the first attempt is immediate, without jitter. Under the
// others the library's sleeps are off, and the policy's are slept in its
// reconnecting callback, for which it waits.
type Paho struct{}

// Info implements Driver.
func (Paho) Info() reports.Driver {
	return reports.Driver{Name: "paho", Version: moduleVersion(pahoModule, pahoVersion), KnownDefects: pahoDefects()}
}

// pahoDefects is the library's table of known defects: each row is proved in
// docs/track-record.md.
func pahoDefects() []reports.KnownDefect {
	var table []reports.KnownDefect
	row := func(name, check, condition, doc string) {
		table = append(table, reports.KnownDefect{
			Check: check, Condition: condition, Doc: doc, Reference: "docs/track-record.md#" + name, Versions: pahoVersion,
		})
	}
	row("paho-pubrel-forgotten", "publish-after-pubrel", "published-again-at-a-reconnect",
		"no PUBREL is stored: after a reconnect the exchange begins again with PUBLISH")
	row("paho-pubrel-forgotten", "duplicated", "republished-after-pubrel",
		"a PUBLISH that comes again after its PUBREL is a new message to the broker")
	row("paho-pubrel-forgotten", "resend-order", "pubrel-at-a-reconnect",
		"a PUBREL that should have been sent again first comes after the PUBLISH that was sent again, and its PUBREC")
	row("paho-resume-after-clean", "duplicated", "republished-after-clean",
		"with a clean session, what the store holds is sent again after a reconnect")
	row("paho-resume-after-clean", "resend-after-clean", "published-again-at-a-reconnect",
		"with a clean session, what the store holds is sent again after a reconnect")
	row("paho-handled-twice", "duplicated", "redelivered-before-pubrel",
		"a QoS 2 PUBLISH that is sent again before its PUBREL is handed to the application again")
	row("paho-dup-on-first", "dup-flag", "first-sent-with-dup",
		"a message that was given while the library was away is sent with DUP = 1")
	return table
}

// moduleVersion is the version of a module that this binary was built with.
func moduleVersion(path, fallback string) string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range info.Deps {
			if m.Path == path {
				return strings.TrimPrefix(m.Version, "v")
			}
		}
	}
	return fallback
}

// New implements Driver.
func (Paho) New(s Settings) (Client, error) {
	if s.Backoff == nil {
		var err error
		if s.Backoff, err = ownBackoff(s); err != nil {
			return nil, fmt.Errorf("driver paho: %w", err)
		}
	}
	if s.ConnectTimeout <= 0 {
		s.ConnectTimeout = defaultConnectTimeout
	}
	if s.WriteTimeout <= 0 {
		s.WriteTimeout = defaultWriteTimeout
	}
	server, err := serverURL(s.Addr)
	if err != nil {
		return nil, err
	}
	c := &pahoClient{settings: s}
	c.life, c.leave = context.WithCancel(context.Background())
	o := c.options(server)
	c.longest = o.MaxReconnectInterval
	c.lib = paho.NewClient(o)
	return c, nil
}

// serverURL is the address as a URL. The library wants one to iterate over,
// although Dial alone decides where a connection goes.
func serverURL(addr string) (string, error) {
	if !strings.Contains(addr, "://") {
		addr = "tcp://" + addr
	}
	if _, err := url.Parse(addr); err != nil {
		return "", fmt.Errorf("%w: address: %w", ErrConfig, err)
	}
	return addr, nil
}

func (c *pahoClient) options(server string) *paho.ClientOptions {
	s := &c.settings
	o := paho.NewClientOptions().AddBroker(server)
	o.SetClientID(s.ClientID)
	o.SetProtocolVersion(4) // else a refused first connect is dialled again at once as MQTT 3.1
	o.SetCleanSession(s.Clean)
	if s.Login != nil {
		o.SetUsername(s.Login.Username)
		o.SetPassword(string(s.Login.Password))
	}
	o.SetKeepAlive(s.KeepAlive)
	o.SetStore(newPahoStore())
	o.SetOrderMatters(true)
	o.SetResumeSubs(false)   // resubscribing is the fleet's choice, made from the tap
	o.SetConnectRetry(false) // a failed first connect is the fleet's to repeat
	o.SetAutoReconnect(true)
	o.SetConnectTimeout(s.ConnectTimeout)
	o.SetWriteTimeout(s.WriteTimeout)
	switch {
	case s.Backoff != nil:
		o.SetMaxReconnectInterval(0) // it caps every sleep of backoff.go, also the first
	case s.Reconnect.Max > 0:
		o.SetMaxReconnectInterval(s.Reconnect.Max)
	}
	if w := s.Will; w != nil {
		o.SetBinaryWill(w.Topic, w.Payload, w.QoS, w.Retain)
	}
	o.SetCustomOpenConnectionFn(func(*url.URL, paho.ClientOptions) (net.Conn, error) { return c.dial() })
	o.SetReconnectingHandler(c.reconnecting)
	o.SetConnectionNotificationHandler(c.notified)
	if s.OnConnected != nil {
		o.SetOnConnectHandler(func(paho.Client) { s.OnConnected() })
	}
	// One default handler and no route per filter: a resumed session has no
	// SUBSCRIBE that would add one, and overlapping filters would handle twice.
	o.SetDefaultPublishHandler(func(_ paho.Client, m paho.Message) {
		if s.OnMessage != nil {
			s.OnMessage(m.Topic(), m.Payload())
		}
	})
	return o
}

// pahoClient is one client of the library.
type pahoClient struct {
	settings Settings
	lib      paho.Client

	// Used only by the library's goroutine that makes an attempt: that of a
	// Connect or of a reconnect, never both at a time.
	live    *paho.ClientOptions // the library's own copy of its options; nil before the first reconnect
	longest time.Duration       // what live's MaxReconnectInterval is to be
	attempt int                 // of this outage
	failed  bool                // the latest attempt did

	mu     sync.Mutex
	life   context.Context // ends at Disconnect and Close: aborts a dial and a sleep
	leave  context.CancelFunc
	conn   net.Conn // of the latest attempt
	closed bool
}

// current is the context of the time from Connect to Disconnect.
func (c *pahoClient) current() context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.life
}

// dial opens the transport of one attempt.
func (c *pahoClient) dial() (net.Conn, error) {
	life := c.current()
	if err := life.Err(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrClosed, err)
	}
	c.failed = false
	if c.live != nil {
		c.live.SetMaxReconnectInterval(c.longest) // notified may have cut it for an earlier Disconnect
	}
	ctx, cancel := context.WithTimeout(life, c.settings.ConnectTimeout)
	defer cancel()
	conn, err := c.settings.Dial(ctx)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if life.Err() != nil {
		return nil, errors.Join(ErrClosed, conn.Close())
	}
	c.conn = conn
	return conn, nil
}

// reconnecting runs on the library's reconnect goroutine, before each attempt.
func (c *pahoClient) reconnecting(_ paho.Client, live *paho.ClientOptions) {
	c.live = live
	if !c.failed {
		c.attempt = 0
	}
	c.attempt++
	if life := c.current(); c.settings.Backoff != nil && life.Err() == nil {
		pause(life, c.settings.Backoff(c.attempt))
	}
	if c.settings.OnReconnecting != nil {
		c.settings.OnReconnecting()
	}
}

// notified makes Disconnect quick: after a failed attempt the library sleeps for
// up to MaxReconnectInterval before it looks whether it was disconnected. The
// notification comes on the attempt's goroutine just before that sleep, so it
// can be cut there, and only there: a sleep that has begun can't be woken.
func (c *pahoClient) notified(_ paho.Client, n paho.ConnectionNotification) {
	if n.Type() != paho.ConnectionNotificationTypeFailed {
		return
	}
	c.failed = true
	if c.live != nil && c.current().Err() != nil {
		c.live.SetMaxReconnectInterval(1)
	}
}

// Connect implements Client. The attempt goes on when ctx ends, until
// Disconnect. After a Disconnect that could not wait for the library to come to
// rest, it waits for that.
func (c *pahoClient) Connect(ctx context.Context) error {
	if err := c.begin(); err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	tick := time.NewTicker(pahoPoll)
	defer tick.Stop()
	for {
		t := c.lib.Connect()
		select {
		case <-t.Done():
		case <-ctx.Done():
			return ctx.Err()
		}
		err := t.Error()
		if err == nil {
			return nil
		}
		if err.Error() != pahoEnding {
			return fmt.Errorf("connect: %w", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// begin starts a new life where the last one was ended.
func (c *pahoClient) begin() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed:
		return ErrClosed
	case c.life.Err() != nil:
		c.life, c.leave = context.WithCancel(context.Background())
	}
	return nil
}

// Subscribe implements Client.
func (c *pahoClient) Subscribe(ctx context.Context, subs []scenarios.Subscription) error {
	filters := make(map[string]byte, len(subs))
	for _, s := range subs {
		filters[s.Topic] = s.QoS
	}
	t := c.lib.SubscribeMultiple(filters, nil)
	bound := time.NewTimer(c.settings.WriteTimeout)
	defer bound.Stop()
	select {
	case <-t.Done():
	case <-bound.C:
		return fmt.Errorf("subscribe: no SUBACK in %s: %w", c.settings.WriteTimeout, context.DeadlineExceeded)
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := t.Error(); err != nil {
		return fmt.Errorf("subscribe: %w", err)
	}
	// A refused filter leaves no error in the token.
	var refused []string
	if st, ok := t.(*paho.SubscribeToken); ok {
		for filter, code := range st.Result() {
			if code >= subackRefused {
				refused = append(refused, filter)
			}
		}
	}
	if len(refused) > 0 {
		slices.Sort(refused)
		return fmt.Errorf("subscribe: %w by the broker: %s", ErrRefused, strings.Join(refused, ", "))
	}
	return nil
}

// Publish implements Client. While the library reconnects, it keeps a QoS 1
// message and silently drops a QoS 0 one: both count as taken here.
func (c *pahoClient) Publish(topic string, qos byte, retain bool, payload []byte) error {
	t := c.lib.Publish(topic, qos, retain, payload)
	select {
	case <-t.Done():
	default:
		return nil
	}
	err := t.Error()
	if err == nil {
		return nil
	}
	// Nothing keeps a QoS 0 message that the writer did not take.
	refused := errors.Is(err, paho.ErrNotConnected) || err.Error() == pahoTimedOut
	if pt, ok := t.(*paho.PublishToken); ok && qos > 0 {
		// With a packet id it is in the store, and is sent after a reconnect,
		// whatever the token says.
		refused = pt.MessageID() == 0
	}
	if refused {
		return fmt.Errorf("publish: %w: %w", ErrRefused, err)
	}
	return nil
}

// Disconnect implements Client. It sends a DISCONNECT where it can and waits up
// to 2 s for the library to come to rest. One case may outlast that: a client
// that sleeps in the library's own backoff can't be woken. Its two goroutines
// end, without another dial, when the sleep does, at most Reconnect.Max later.
func (c *pahoClient) Disconnect() {
	c.mu.Lock()
	// Never twice: a second Disconnect in the reconnecting state makes the
	// library's first one give up, and would leak the workers of a late success.
	if c.life.Err() != nil {
		c.mu.Unlock()
		return
	}
	c.leave()
	conn := c.conn
	c.mu.Unlock()

	quiesce := pahoQuiesce
	if !c.lib.IsConnectionOpen() {
		quiesce = time.Millisecond // there is no one to say goodbye to
	}
	c.lib.Disconnect(uint(quiesce / time.Millisecond))
	if conn != nil {
		_ = conn.Close() // ends a handshake that waits for its CONNACK; else a harmless second Close
	}
	// After a Disconnect while reconnecting, IsConnected stays true exactly
	// until the library has come to rest.
	for deadline := time.Now().Add(pahoCloseWait); c.lib.IsConnected() && time.Now().Before(deadline); {
		time.Sleep(pahoPoll)
	}
}

// Close implements Client: see Disconnect for what may outlast it.
func (c *pahoClient) Close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.Disconnect()
}
