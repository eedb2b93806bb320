package netfault

import (
	"errors"
	"io"
	"os"
	"sync"

	"github.com/rebound-mqtt/rebound/harness/mqtt"
	"github.com/rebound-mqtt/rebound/harness/timeline"
)

// framed is a connection whose packets are held against the rules of its
// client. It is over when a rule ended it, as a conn after its FIN.
type framed struct {
	*conn
	now    func() timeline.Instant
	client *client
	n      int
	ending bool // a rule ends it, or is about to; guarded by client.mu

	// Readers and writers are serialised, each over the whole system call, as
	// the socket itself does.
	rmu sync.Mutex
	in  flow
	wmu sync.Mutex
	out flow
}

// flow is one direction of a framed connection. Whether a packet passes is
// decided on its first byte; it counts as acted on when it is whole.
type flow struct {
	framed *framed
	out    bool
	framer mqtt.Framer
	acting *armed // on the packet under way; nil = it passes
	blind  bool   // where packets begin is not known any more, after bytes that are no MQTT or a failed write: all passes
	over   bool   // a rule ended the connection in this direction

	// Of the chunk in hand:
	b    []byte
	end  int   // where the packets seen so far end
	done int   // bytes that are settled: passed or kept from passing
	kept int   // in: bytes that pass, moved to the front
	err  error // out: of a write
}

// Read reads what passes. At the end that a rule makes it gives io.EOF, when
// what came before was read.
func (w *framed) Read(b []byte) (int, error) {
	w.rmu.Lock()
	defer w.rmu.Unlock()
	f := &w.in
	for {
		if f.over {
			return 0, io.EOF
		}
		n, err := w.conn.Read(b)
		f.take(b[:n])
		switch {
		case f.over && f.kept > 0:
			return f.kept, nil
		case f.over:
		case err != nil:
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				f.broken()
			}
			return f.kept, err
		case f.kept > 0 || len(b) == 0:
			return f.kept, nil
		}
	}
}

// Write writes what passes and tells the same of what is swallowed. It fails
// where a rule ends the connection, and from then on.
func (w *framed) Write(b []byte) (int, error) {
	w.wmu.Lock()
	defer w.wmu.Unlock()
	f := &w.out
	if f.over {
		return 0, w.writeError()
	}
	f.take(b)
	switch {
	case f.err != nil:
		f.broken() // what of the rest will be offered again is not known
		return f.done, f.err
	case f.done < len(b):
		return f.done, w.writeError()
	}
	return f.done, nil
}

// take lets pass what may pass of the next chunk of the stream.
func (f *flow) take(b []byte) {
	f.b, f.done, f.kept, f.err = b, 0, 0, nil
	if f.blind {
		f.pass(len(b))
		f.b = nil
		return
	}
	f.end = -f.framer.Partial()
	bad := f.framer.Feed(b, 0, func(p *mqtt.Packet) { f.packet(p) })
	if bad != nil {
		f.broken()
	}
	if start := f.end; !f.stopped() && f.framer.Partial() > 0 && bad == nil {
		if start >= 0 {
			f.acting = f.framed.client.ask(f.framed, f.out, b[start])
		}
		if f.acting != nil && f.acting.Act != CutAfter && f.pass(min(start+f.acting.Keep, len(b))) {
			f.done = len(b) // the beginning of what is not to pass
		}
	}
	if !f.stopped() {
		f.pass(len(b))
	}
	f.b = nil
}

// stopped reports whether nothing more of the chunk in hand is to pass.
func (f *flow) stopped() bool { return f.over || f.err != nil }

// packet settles a packet that is whole with the chunk in hand.
func (f *flow) packet(p *mqtt.Packet) {
	if f.stopped() {
		return
	}
	w, start := f.framed, f.end
	f.end += p.Size
	if start >= 0 {
		f.acting = w.client.ask(w, f.out, f.b[start])
	}
	a := f.acting
	f.acting = nil
	passes := a == nil || a.Act == CutAfter
	var message mqtt.Header
	if p.Type >= mqtt.PUBLISH && p.Type <= mqtt.PUBCOMP {
		message = w.client.follow(f.out, passes, p)
	}
	if a == nil {
		return
	}
	upTo := min(start+a.Keep, f.end-1)
	if passes {
		upTo = f.end
	}
	if !f.pass(upTo) {
		w.client.giveBack(a)
		return
	}
	w.client.acts(a)
	h := Hit{N: w.n, At: w.now(), Out: f.out, Packet: p.Type, ID: p.ID, Message: message, Passed: passes}
	if a.Hit != nil {
		a.Hit(h)
	}
	if a.Act == Swallow {
		f.done = f.end
	}
	if a.ends() {
		f.over = true
		w.finish()
	}
	if a.Done != nil {
		a.Done(h)
	}
}

// pass lets the bytes of the chunk up to here pass; false if they did not.
func (f *flow) pass(to int) bool {
	if to <= f.done {
		return true
	}
	run := f.b[f.done:to]
	if !f.out {
		f.kept += copy(f.b[f.kept:], run)
		f.done = to
		return true
	}
	var n int
	n, f.err = f.framed.conn.Write(run)
	f.done += n
	return f.err == nil
}

// broken says that the stream can not be followed any more.
func (f *flow) broken() {
	f.blind = true
	if f.acting != nil {
		f.framed.client.giveBack(f.acting)
		f.acting = nil
	}
}
