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
	// pahoCloseWait bounds Close; see pahoClient.Close.
	pahoCloseWait = 2 * time.Second
	pahoClosePoll = 5 * time.Millisecond

	// pahoTimedOut is the library's text for a message that its writer did not
	// take within the write time-out; it has no sentinel error for it.
	pahoTimedOut = "publish was broken by timeout"

	subackRefused = 0x80 // MQTT 3.1.1 section 3.9.3
)

// Paho drives eclipse/paho.mqtt.golang, an MQTT 3.1.1 client. Its reconnect
// policy is its own ("paho"): the first attempt is immediate, without jitter.
type Paho struct{}

// Info implements Driver.
func (Paho) Info() reports.Driver {
	return reports.Driver{Name: "paho", Version: moduleVersion(pahoModule, pahoVersion)}
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
	if s.Reconnect.Policy != pahoPolicy && s.Reconnect.Policy != "" {
		return nil, fmt.Errorf("%w %q for driver paho", ErrPolicy, s.Reconnect.Policy)
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
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.lib = paho.NewClient(c.options(server))
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
	o.SetKeepAlive(s.KeepAlive)
	o.SetStore(paho.NewOrderedMemoryStore()) // the default one re-sends in random order
	o.SetOrderMatters(true)
	o.SetResumeSubs(false)   // resubscribing is the fleet's choice, made from the tap
	o.SetConnectRetry(false) // a failed first connect is the fleet's to repeat
	o.SetAutoReconnect(true)
	o.SetConnectTimeout(s.ConnectTimeout)
	o.SetWriteTimeout(s.WriteTimeout)
	if s.Reconnect.Max > 0 {
		o.SetMaxReconnectInterval(s.Reconnect.Max)
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

	ctx    context.Context // ends at Close: aborts a dial
	cancel context.CancelFunc

	// live points at the library's own copy of its options. It is set and used
	// only on the library's reconnect goroutine, which is also their reader.
	live *paho.ClientOptions

	mu     sync.Mutex
	conn   net.Conn // of the latest attempt
	closed bool
}

// dial opens the transport of one attempt.
func (c *pahoClient) dial() (net.Conn, error) {
	ctx, cancel := context.WithTimeout(c.ctx, c.settings.ConnectTimeout)
	defer cancel()
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrClosed, err)
	}
	conn, err := c.settings.Dial(ctx)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, errors.Join(ErrClosed, conn.Close())
	}
	c.conn = conn
	return conn, nil
}

// reconnecting runs on the library's reconnect goroutine, before each attempt.
func (c *pahoClient) reconnecting(_ paho.Client, live *paho.ClientOptions) {
	c.live = live
	if c.settings.OnReconnecting != nil {
		c.settings.OnReconnecting()
	}
}

// notified makes Close quick: after a failed attempt the library sleeps for up
// to MaxReconnectInterval before it looks whether it was disconnected. The
// notification comes on the reconnect goroutine just before that sleep, so it
// can be cut there, and only there: a sleep that has begun can't be woken.
func (c *pahoClient) notified(_ paho.Client, n paho.ConnectionNotification) {
	if n.Type() != paho.ConnectionNotificationTypeFailed || c.ctx.Err() == nil || c.live == nil {
		return
	}
	c.live.SetMaxReconnectInterval(1)
}

// Connect implements Client.
func (c *pahoClient) Connect(ctx context.Context) error {
	t := c.lib.Connect()
	select {
	case <-t.Done():
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := t.Error(); err != nil {
		return fmt.Errorf("connect: %w", err)
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

// Disconnect implements Client.
func (c *pahoClient) Disconnect() {
	c.lib.Disconnect(uint(pahoQuiesce / time.Millisecond))
}

// Close implements Client. It sends a DISCONNECT where it can and waits up to
// 2 s for the library's goroutines to end. One case may outlast it: a client
// that sleeps in the library's backoff can't be woken. Its two goroutines end,
// without another dial, when the sleep does, at most Reconnect.Max later.
func (c *pahoClient) Close() {
	c.mu.Lock()
	c.closed = true
	conn := c.conn
	c.mu.Unlock()
	c.cancel()

	quiesce := pahoQuiesce
	if !c.lib.IsConnectionOpen() {
		quiesce = time.Millisecond // there is no one to say goodbye to
	}
	// Never twice: a second Disconnect in the reconnecting state makes the
	// first one give up, and would leak the workers of a late success.
	c.lib.Disconnect(uint(quiesce / time.Millisecond))
	if conn != nil {
		_ = conn.Close() // ends a handshake that waits for its CONNACK; else a harmless second Close
	}
	// After a Disconnect while reconnecting, IsConnected stays true exactly
	// until the library has come to rest.
	for deadline := time.Now().Add(pahoCloseWait); c.lib.IsConnected() && time.Now().Before(deadline); {
		time.Sleep(pahoClosePoll)
	}
}
