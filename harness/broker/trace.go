package broker

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/gorilla/websocket"
	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/rebound-mqtt/rebound/harness/target"
)

// The bounds of the device trace, in events: the youngest of all clients, and
// of one, so that a client that flaps does not push out everyone else's; and in
// bytes of client ids, which can have 64 KiB each. A full trace is about 10 MB,
// with long ids twice that.
const (
	maxTrace       = 1 << 17
	maxTraceDevice = 1000
	maxTraceIDs    = 8 << 20
)

// What a trace says of an event, in the words of the cloud's device trace
// where it has one.
const (
	reasonAccepted     = "accepted"
	reasonBlocked      = "not authorized"
	reasonTakenOver    = "clientId conflict"
	reasonKeepAlive    = "no heart"
	reasonClientClosed = "closed by client"
	reasonDisconnect   = "disconnected by client"
	reasonProtocol     = "invalid param"
	reasonNetwork      = "Socket IOException"
	reasonKick         = "closed by administrative action"
	reasonBrokerClosed = "closed by broker"
	reasonBusy         = "server unavailable"
	reasonQuota        = "publish quota exceeded"
)

// trace remembers connects and ends of clients. Each event is O(1): it stands
// in two lists, of all events and of its client's, linked by index.
type trace struct {
	now     func() time.Time
	random  uint64 // first half of the connections' ids, so that those of two brokers differ
	max     int    // events
	maxEach int    // events of one client
	maxIDs  int    // bytes of all clients' ids

	mu      sync.Mutex
	slots   []traceSlot
	free    []int32 // slots that hold no event
	oldest  int32   // of all; none = no event
	newest  int32
	devices map[string]*traced       // those with events
	ids     int                      // bytes of their ids
	open    map[*mochi.Client]uint64 // the connections that have not ended, with their numbers
	kicks   map[*mochi.Client]*kick  // the first that is closing one of these
	conns   uint64                   // connections so far
}

const none = int32(-1)

// traced is one client: its events, oldest first.
type traced struct {
	id          string
	first, last int32
	count       int
	current     *mochi.Client // its connection; nil = none
}

type traceSlot struct {
	device       *traced
	at           int64 // Unix time, ns
	kind, reason string
	connection   uint64
	older, newer int32 // of all events
	next         int32 // the client's next
}

func newTrace() *trace {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return &trace{
		now: time.Now, random: binary.BigEndian.Uint64(b[:]), max: maxTrace, maxEach: maxTraceDevice, maxIDs: maxTraceIDs,
		oldest: none, newest: none, devices: make(map[string]*traced), open: make(map[*mochi.Client]uint64),
		kicks: make(map[*mochi.Client]*kick),
	}
}

// connected notes a connection. One that it took over has ended before it,
// whenever mochi comes to say so. (Of two clients that connect at once, mochi
// may leave both connected: then nothing has ended.)
func (t *trace) connected(cl *mochi.Client) {
	t.mu.Lock()
	defer t.mu.Unlock()
	d := t.device(cl.ID)
	t.over(d)
	t.conns++
	t.open[cl] = t.conns
	t.add(d, target.DeviceConnect, reasonAccepted, t.conns)
	if !cl.Closed() { // else a younger one has come before it
		d.current = cl
	}
}

// over notes that the client's connection has ended, as its next CONNECT shows
// before mochi comes to say so.
func (t *trace) over(d *traced) {
	switch {
	case d.current == nil:
	case t.kicks[d.current] != nil:
		t.end(d, d.current, t.kicks[d.current])
	case d.current.Closed():
		t.end(d, d.current, nil)
	}
}

// kicking says that a connection is about to be closed for this cause, and
// gives the first kick of it; nil = the connection is not known yet, or no more.
func (t *trace) kicking(cl *mochi.Client, cause *kick) *kick {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, open := t.open[cl]; open && t.kicks[cl] == nil {
		t.kicks[cl] = cause
	}
	return t.kicks[cl]
}

// ended notes the end of a connection, unless connected has done so. mochi also
// says it of sessions that it restores from a store, which never connected.
func (t *trace) ended(cl *mochi.Client, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, open := t.open[cl]; open {
		t.end(t.device(cl.ID), cl, err)
	}
}

func (t *trace) end(d *traced, cl *mochi.Client, err error) {
	kind, reason := endOf(cl, err)
	if t.kicks[cl] != nil && cl.Properties.ProtocolVersion >= 5 && endedByClient(cl) { // as it was told to
		kind, reason = target.DeviceClose, reasonKick
	}
	t.add(d, kind, reason, t.open[cl])
	delete(t.open, cl)
	delete(t.kicks, cl)
	if d.current == cl {
		d.current = nil
	}
}

// refused notes a CONNECT that was not let in.
func (t *trace) refused(cl *mochi.Client, reason string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	d := t.device(cl.ID)
	t.over(d)
	t.conns++
	t.add(d, target.DeviceClose, reason, t.conns)
}

func (t *trace) device(id string) *traced {
	d := t.devices[id]
	if d == nil { // known from its first event on
		// mochi's id is a part of the whole CONNECT in memory, Will included.
		d = &traced{id: strings.Clone(id), first: none, last: none}
	}
	return d
}

// add appends an event, in the place of the client's oldest when it has its
// share, else of the oldest of all when the trace is full.
func (t *trace) add(d *traced, kind, reason string, connection uint64) {
	if d.count >= t.maxEach {
		t.drop(d.first)
	} else if len(t.slots) >= t.max && len(t.free) == 0 {
		t.drop(t.oldest)
	}
	if d.count == 0 { // new, or drop has forgotten it
		t.ids += len(d.id)
		for t.ids > t.maxIDs && t.oldest != none {
			t.drop(t.oldest)
		}
		t.devices[d.id] = d
	}
	var i int32
	if n := len(t.free); n > 0 {
		i, t.free = t.free[n-1], t.free[:n-1]
	} else {
		i = int32(len(t.slots))
		t.slots = append(t.slots, traceSlot{})
	}
	t.slots[i] = traceSlot{
		device: d, at: t.now().UnixNano(), kind: kind, reason: reason, connection: connection,
		older: t.newest, newer: none, next: none,
	}
	if t.newest != none {
		t.slots[t.newest].newer = i
	} else {
		t.oldest = i
	}
	t.newest = i
	if d.last != none {
		t.slots[d.last].next = i
	} else {
		d.first = i
	}
	d.last = i
	d.count++
}

// drop frees a slot, which is the first of its client, and forgets a client
// with nothing left.
func (t *trace) drop(i int32) {
	s := t.slots[i]
	if s.older != none {
		t.slots[s.older].newer = s.newer
	} else {
		t.oldest = s.newer
	}
	if s.newer != none {
		t.slots[s.newer].older = s.older
	} else {
		t.newest = s.older
	}
	d := s.device
	d.first = s.next
	d.count--
	if d.first == none {
		d.last = none
		delete(t.devices, d.id)
		t.ids -= len(d.id)
	}
	t.slots[i] = traceSlot{}
	t.free = append(t.free, i)
}

// events of one client within [from, to], oldest first.
func (t *trace) events(clientID string, from, to time.Time) []target.DeviceEvent {
	t.mu.Lock()
	defer t.mu.Unlock()
	d := t.devices[clientID]
	if d == nil {
		return nil
	}
	var out []target.DeviceEvent
	for i := d.first; i != none; i = t.slots[i].next {
		s := t.slots[i]
		at := time.Unix(0, s.at)
		if at.Before(from) || at.After(to) {
			continue
		}
		out = append(out, target.DeviceEvent{
			At: at, ClientID: clientID, Kind: s.kind, Reason: s.reason,
			Connection: fmt.Sprintf("%016x%016x", t.random, s.connection),
		})
	}
	return out
}

// Trace tells the connects and ends of one client within [from, to] of the wall
// clock, oldest first: the youngest 1000 of it among the youngest 131,072 of
// all clients. A client may know of an event some microseconds before it is here.
func (e *Embedded) Trace(clientID string, from, to time.Time) []target.DeviceEvent {
	return e.gate.trace.events(clientID, from, to)
}

// endOf tells how a connection ended, from the first cause that mochi kept and
// the error of its reader.
func endOf(cl *mochi.Client, err error) (kind, reason string) {
	if cause := cl.StopCause(); cause != nil {
		err = cause
	}
	if _, kicked := errors.AsType[*kick](err); kicked {
		return target.DeviceClose, reasonKick
	}
	if code, said := errors.AsType[packets.Code](err); said {
		return endByCode(code)
	}
	network, _ := errors.AsType[net.Error](err)
	_, closed := errors.AsType[*websocket.CloseError](err)
	switch {
	case errors.Is(err, errBlocked):
		return target.DeviceClose, reasonBlocked
	case errors.Is(err, errQuota):
		return target.DeviceClose, reasonQuota
	case errors.Is(err, errBinary):
		return target.DeviceClose, reasonProtocol
	case errors.Is(err, os.ErrDeadlineExceeded), network != nil && network.Timeout():
		return target.DeviceClose, reasonKeepAlive
	case errors.Is(err, net.ErrClosed): // our own end of it, by the door
		return target.DeviceClose, reasonBrokerClosed
	case closed, errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET):
		return target.DeviceClose, reasonClientClosed
	}
	return target.DeviceClose, reasonNetwork
}

// endByCode is endOf for the ends that have a reason code.
func endByCode(code packets.Code) (kind, reason string) {
	switch code {
	case packets.CodeDisconnect, packets.CodeDisconnectWillMessage:
		return target.DeviceDisconnect, reasonDisconnect
	case packets.ErrSessionTakenOver:
		return target.DeviceClose, reasonTakenOver
	case packets.ErrServerShuttingDown:
		return target.DeviceClose, reasonBrokerClosed
	}
	return target.DeviceClose, reasonProtocol
}
