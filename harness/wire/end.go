package wire

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/rebound-mqtt/rebound/harness/mqtt"
	"github.com/rebound-mqtt/rebound/harness/timeline"
)

// ringSize is how many of the last packets a connection remembers.
const ringSize = 16

// entry is one packet in the ring, in 16 bytes; head 0 marks one taken back.
type entry struct {
	at    timeline.Instant
	bytes uint32
	id    uint16
	head  byte // type and flags as on the wire
	out   bool
}

// ending gathers what the End of a connection will say.
type ending struct {
	partialIn, partialOut atomic.Int32 // bytes of unfinished packets
	lateIn, lateOut       atomic.Int64 // instant of a time-out that may yet be survived, 0 = none

	told sync.WaitGroup // of the call of End, once over

	mu    sync.Mutex
	ring  [ringSize]entry
	n     uint64           // packets seen
	bad   error            // first malformed bytes
	badAt timeline.Instant // 0 = none
	over  bool             // End is called, or was
}

// seen puts a packet into the ring.
func (e *ending) seen(out bool, p *mqtt.Packet, at timeline.Instant) {
	e.mu.Lock()
	e.ring[e.n%ringSize] = entry{at: at, bytes: uint32(p.Size), id: p.ID, head: byte(p.Type)<<4 | p.Flags, out: out}
	e.n++
	e.mu.Unlock()
}

// unsee takes the newest such outgoing packet out of the ring.
func (e *ending) unsee(p *mqtt.Packet) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for back := uint64(1); back <= min(e.n, ringSize); back++ {
		x := &e.ring[(e.n-back)%ringSize]
		if x.out && x.head == byte(p.Type)<<4|p.Flags && x.id == p.ID && x.at == timeline.Instant(p.First) {
			x.head = 0
			return
		}
	}
}

// fed takes note of the state of one direction's framer.
func (e *ending) fed(out bool, partial int, bad error, at timeline.Instant) {
	if out {
		e.partialOut.Store(int32(partial))
	} else {
		e.partialIn.Store(int32(partial))
	}
	if bad == nil {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.badAt == 0 {
		e.badAt, e.bad = at, bad
		if out {
			e.bad = fmt.Errorf("to the broker: %w", bad)
		} else {
			e.bad = fmt.Errorf("from the broker: %w", bad)
		}
	}
}

// failed takes note of an error of Read or Write; torn says that a write was
// accepted in part.
func (e *ending) failed(obs Observer, err error, out, torn bool, at timeline.Instant) {
	if errors.Is(err, os.ErrDeadlineExceeded) && !torn {
		late := &e.lateIn
		if out {
			late = &e.lateOut
		}
		late.CompareAndSwap(0, int64(at))
		return
	}
	e.finish(obs, kindOf(err, out), bare(err), at)
}

// closed takes note of a local Close.
func (e *ending) closed(obs Observer, at timeline.Instant) { e.finish(obs, timeline.EndLocal, "", at) }

// refreshed says that the library set a new read deadline: it lived on.
func (e *ending) refreshed() { e.lateIn.Store(0) }

// accepted says that a write was accepted whole.
func (e *ending) accepted() {
	if e.lateOut.Load() != 0 {
		e.lateOut.Store(0)
	}
}

// finish reports the end, the first time; what came earlier and was held back
// goes before the cause that it is called with. Nobody goes on before the end
// is told: when a library has come to rest, so has the record of its connection.
func (e *ending) finish(obs Observer, kind timeline.EndKind, text string, at timeline.Instant) {
	e.mu.Lock()
	if e.over {
		e.mu.Unlock()
		e.told.Wait()
		return
	}
	e.over = true
	e.told.Add(1)
	defer e.told.Done()
	end := timeline.End{At: at, Kind: kind, Err: text}
	late := e.late()
	switch {
	case late != 0 && (e.badAt == 0 || late < e.badAt):
		end.At, end.Kind, end.Err = late, timeline.EndTimeout, os.ErrDeadlineExceeded.Error()
	case e.badAt != 0:
		end.Kind, end.Err = timeline.EndProtocol, fmt.Sprintf("%v, then %s", e.bad, kind)
		if text != "" {
			end.Err += ": " + text
		}
	}
	end.PartialIn, end.PartialOut = int(e.partialIn.Load()), int(e.partialOut.Load())
	end.Last = e.last()
	e.mu.Unlock()
	obs.End(end)
}

// late is the earlier of the time-outs that were held back.
func (e *ending) late() timeline.Instant {
	in, out := timeline.Instant(e.lateIn.Load()), timeline.Instant(e.lateOut.Load())
	if in == 0 || out != 0 && out < in {
		return out
	}
	return in
}

// Last lists the last packets until now, oldest first. The observer may call it
// from a call of its own, of Packet too: then the newest packets include the
// reported one.
func (e *ending) Last() []timeline.Packet {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.last()
}

// last lists the ring, oldest first. e.mu is held.
func (e *ending) last() []timeline.Packet {
	last := make([]timeline.Packet, 0, min(e.n, ringSize))
	for i := e.n - min(e.n, ringSize); i < e.n; i++ {
		if x := &e.ring[i%ringSize]; x.head != 0 {
			last = append(last, timeline.Packet{
				At: x.at, Out: x.out, Type: mqtt.Type(x.head >> 4).String(), Flags: x.head & 15,
				ID: x.id, Bytes: int(x.bytes),
			})
		}
	}
	return last
}

// kindOf says what kind of end an error of Read, or of Write (out), is. The tap
// latches a local Close before the socket sees it, so that a closed socket or
// pipe without one was closed below the tap, or, for the write on a pipe, by
// the peer.
func kindOf(err error, out bool) timeline.EndKind {
	var timeout net.Error
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF),
		out && errors.Is(err, io.ErrClosedPipe):
		return timeline.EndEOF
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE),
		errors.Is(err, syscall.ENOTCONN), errors.Is(err, syscall.ECONNABORTED):
		return timeline.EndReset
	case errors.Is(err, net.ErrClosed), errors.Is(err, io.ErrClosedPipe):
		return timeline.EndLocal
	case errors.As(err, &timeout) && timeout.Timeout():
		return timeline.EndTimeout
	}
	return timeline.EndOther
}

// bare is an error's text without the addresses that net puts around it.
func bare(err error) string {
	for op := (*net.OpError)(nil); errors.As(err, &op) && op.Err != nil; {
		err = op.Err
	}
	return err.Error()
}
