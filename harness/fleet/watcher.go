package fleet

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rebound-mqtt/rebound/harness/mqtt"
	"github.com/rebound-mqtt/rebound/harness/target"
	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/scenarios"
)

// WatcherConfig is what the watcher of Wills is made from.
type WatcherConfig struct {
	Plan  *scenarios.Plan
	Run   string
	RunID uint64
	Index int // of its connections' records in the fleet "control", behind those of Control; 0 = DefaultControl

	Driver    Driver
	Addresses []string
	Dial      DialFunc
	Login     *target.Login // as in Config
	Clock     *timeline.Clock

	Record func(timeline.Conn) // as in Config
	// Will is given each Will Message of this run that is read. A retained copy
	// that the broker sends for a new subscription has Retain and nothing in
	// Wrong: it is no second Will. Never called twice at once.
	Will func(timeline.Will)

	ConnectTimeout time.Duration // as in Config
	WriteTimeout   time.Duration
}

// Watcher reads the Wills of all fleets over one connection of its own, with a
// clean session, so that nothing is sent to it twice across connections. When
// it was there to read them, the records of its connections tell. Without a
// Will in the plan it has no client, and does nothing.
type Watcher struct {
	*Fleet
	watch *watch
}

// NewWatcher makes the watcher and starts nothing. A Will that is sent before
// Ready has returned may be missed.
func NewWatcher(cfg WatcherConfig) (*Watcher, error) {
	if cfg.Index <= 0 {
		cfg.Index = DefaultControl
	}
	if cfg.Record == nil {
		cfg.Record = func(timeline.Conn) {}
	}
	w := &watch{cfg: cfg, granted: map[string]byte{}, kept: map[string]int{}}
	spec := scenarios.Fleet{
		Name: ControlFleet, ClientID: strings.ReplaceAll(controlID, "{index}", strconv.Itoa(cfg.Index)),
		Session:   scenarios.Session{Clean: true, KeepAlive: controlKeepAlive},
		Reconnect: scenarios.Reconnect{Policy: pahoPolicy, Max: controlReconnect},
		Back:      scenarios.BackSubscribed,
	}
	for _, filter := range willFilters(cfg.Plan, cfg.Run) {
		spec.Subscribe = append(spec.Subscribe, scenarios.Subscription{Topic: filter, QoS: 2})
	}
	f, err := New(Config{
		Run: cfg.Run, RunID: cfg.RunID, Clients: min(1, len(spec.Subscribe)), Fleet: spec,
		Driver: cfg.Driver, Addresses: cfg.Addresses, Dial: cfg.Dial, Login: cfg.Login, Clock: cfg.Clock,
		Record:   func(c timeline.Conn) { c.Client = cfg.Index; cfg.Record(c) },
		Accounts: Accounts{Sessions: w, Deliveries: w}, Wills: w.read,
		ConnectTimeout: cfg.ConnectTimeout, WriteTimeout: cfg.WriteTimeout,
	})
	if err != nil {
		return nil, err
	}
	return &Watcher{Fleet: f, watch: w}, nil
}

// Ready waits until the watcher is connected and its subscriptions are granted.
func (w *Watcher) Ready(ctx context.Context) error {
	const poll = 5 * time.Millisecond
	tick := time.NewTicker(poll)
	defer tick.Stop()
	for w.Connected() < w.Len() {
		select {
		case <-ctx.Done():
			return fmt.Errorf("watcher of wills: not subscribed: %w", context.Cause(ctx))
		case <-w.Changed():
		case <-tick.C:
		}
	}
	return nil
}

// watch compares what the watcher reads with what the clients asked for.
type watch struct {
	discard
	cfg WatcherConfig

	mu      sync.Mutex
	conn    int             // the connection in use
	first   int             // the first that was accepted
	granted map[string]byte // QoS by filter
	kept    map[string]int  // by topic: the connection on which its retained copy was read
}

// Connected implements Sessions.
func (w *watch) Connected(_ string, conn int, _ bool, _ timeline.Instant) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.conn = conn
	if w.first == 0 {
		w.first = conn
	}
}

// Subscribed implements Deliveries.
func (w *watch) Subscribed(_, filter string, granted byte, _ timeline.Instant) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.granted[filter] = granted
}

// Corrupt implements Deliveries: on the topic of a Will, it is one whose payload
// was changed on its way. The account does not say at which QoS it came.
func (w *watch) Corrupt(_ string, topic []byte, at timeline.Instant) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range w.cfg.Plan.Fleets {
		f := &w.cfg.Plan.Fleets[i]
		for client := range f.Clients {
			id := ClientID(f.ClientID, w.cfg.Run, f.Name, client)
			if f.Will != nil && Topic(f.Will.Topic, w.cfg.Run, id) == string(topic) {
				w.cfg.Will(timeline.Will{ClientID: id, Topic: string(topic), At: at, Wrong: "the payload is not that of the CONNECT"})
				return
			}
		}
	}
}

// read handles a Will at the tap.
func (w *watch) read(p *mqtt.Packet, at timeline.Instant) {
	if p.Header.Run != w.cfg.RunID {
		return // kept by the broker from another run
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	will := timeline.Will{Topic: string(p.Topic), QoS: p.QoS(), Retain: p.Retain(), DUP: p.Dup(), At: at}
	fleet, client := int(p.Header.Stream)-1, p.Header.Seq-1
	fleets := w.cfg.Plan.Fleets
	if fleet < 0 || fleet >= len(fleets) || fleets[fleet].Will == nil || client >= uint64(fleets[fleet].Clients) {
		will.Wrong = "the payload names no client of this run that has a Will"
	} else {
		f := &fleets[fleet]
		will.ClientID = ClientID(f.ClientID, w.cfg.Run, f.Name, int(client))
		will.Wrong = strings.Join(w.differs(f.Will, &will, p, willHeader(fleet, int(client), w.cfg.RunID)), "; ")
	}
	w.cfg.Will(will)
}

// differs says how a Will differs from that of the CONNECT. w.mu is held.
func (w *watch) differs(asked *scenarios.Will, got *timeline.Will, p *mqtt.Packet, h mqtt.Header) (wrong []string) {
	if want := Topic(asked.Topic, w.cfg.Run, got.ClientID); got.Topic != want {
		wrong = append(wrong, "topic, want "+want)
	}
	qos := asked.QoS
	for filter, granted := range w.granted { // one at most matches
		if scenarios.Matches(filter, got.Topic) && granted < subackRefused {
			qos = min(qos, granted)
		}
	}
	if got.QoS != qos {
		wrong = append(wrong, fmt.Sprintf("QoS %d, want %d", got.QoS, qos))
	}
	if got.Retain && !w.keeps(asked, got.Topic) {
		// RETAIN is 0 for a subscription that was there before [MQTT-3.3.1-9].
		wrong = append(wrong, "RETAIN 1, want 0")
	}
	if p.Payload != mqtt.HeaderSize || p.Header != h {
		wrong = append(wrong, "the payload is not that of the CONNECT")
	}
	return wrong
}

// keeps reports whether a message with RETAIN 1 can be the copy that the broker
// kept and sends once for a new subscription [MQTT-3.3.1-8]. Before the first
// one no client of this run had a Will to keep. w.mu is held.
func (w *watch) keeps(asked *scenarios.Will, topic string) bool {
	if !asked.Retain || w.conn == w.first || w.kept[topic] == w.conn {
		return false
	}
	w.kept[topic] = w.conn
	return true
}
