package netfault

import (
	"errors"
	"net"
	"os"
	"slices"
	"time"
)

// maxHeld bounds what waits in one direction of one connection, in bytes. Behind
// it a Write waits, and the kernel keeps what comes: the peer's window closes.
const maxHeld = 64 << 10

// slow is the part of a connection that only an impaired one needs. What arrives
// is read on the library's own goroutine, and kept until it is due; what the
// library writes is kept until a goroutine, the pump, writes it. All of it is
// guarded by conn.mu.
type slow struct {
	filters []filter
	in, out lane
	wake    chan struct{} // closed at each change
	pumping bool
	scratch []byte // to read into
	err     error  // of a write that the library was told had gone well
}

// filter is one impairment of a connection.
type filter struct {
	of       *impairment
	up, down shaper
}

// lane is what waits in one direction, in order.
type lane struct {
	queue []piece
	size  int // in bytes
	last  time.Time
}

// piece is bytes, or what comes behind them.
type piece struct {
	due   time.Time
	b     []byte
	err   error // in: the end of the stream
	fin   bool  // out: the FIN is sent
	close bool  // out: the socket is closed, which was in state was
	was   state
}

func (l *lane) push(p piece) {
	if p.due.Before(l.last) {
		p.due = l.last // the order stays
	}
	l.last = p.due
	l.queue = append(l.queue, p)
	l.size += len(p.b)
}

func (l *lane) pop() piece {
	p := l.queue[0]
	l.queue[0] = piece{}
	l.queue = l.queue[1:]
	l.size -= len(p.b)
	return p
}

// hurry makes all due.
func (l *lane) hurry(now time.Time) {
	for i := range l.queue {
		l.queue[i].due = now
	}
	l.last = now
}

// head is when the first piece is due; false if there is none.
func (l *lane) head() (time.Time, bool) {
	if len(l.queue) == 0 {
		return time.Time{}, false
	}
	return l.queue[0].due, true
}

// holds reports whether a direction is held.
func (s *slow) holds(out bool) bool {
	return slices.ContainsFunc(s.filters, func(f filter) bool { return out && f.up.Hold || !out && f.down.Hold })
}

// due is when a piece of n bytes that comes now may pass.
func (s *slow) due(out bool, n int) time.Time {
	now := time.Now()
	due := now
	for i := range s.filters {
		shaper := &s.filters[i].down
		if out {
			shaper = &s.filters[i].up
		}
		due = due.Add(shaper.late(now, n))
	}
	return due
}

// take queues bytes of one direction.
func (s *slow) take(out bool, b []byte) {
	l := &s.in
	if out {
		l = &s.out
	}
	for part := range slices.Chunk(b, segment) {
		l.push(piece{due: s.due(out, len(part)), b: slices.Clone(part)})
	}
}

// impair puts an impairment onto the connection.
func (c *conn) impair(of *impairment, up, down shaper) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state == closed {
		return
	}
	s := c.slowly()
	s.filters = append(s.filters, filter{of, up, down})
	c.changed(s)
}

// lift takes it off.
func (c *conn) lift(of *impairment) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.slow.Load()
	if s == nil {
		return
	}
	s.filters = slices.DeleteFunc(s.filters, func(f filter) bool { return f.of == of })
	if len(s.filters) == 0 {
		s.hasten()
	}
	c.changed(s)
	c.pump(s)
	c.settle(s)
}

// hasten makes due what is late.
func (s *slow) hasten() {
	now := time.Now()
	s.in.hurry(now)
	s.out.hurry(now)
}

// hasten makes due what is late.
func (c *conn) hasten() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.slow.Load(); s != nil {
		s.hasten()
		c.changed(s)
	}
}

// isOver reports whether the connection is closed and the broker knows.
func (c *conn) isOver() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state == closed && c.slow.Load() == nil
}

// slowly gives the slow part, made if there is none. c.mu is held, here and
// below.
func (c *conn) slowly() *slow {
	s := c.slow.Load()
	if s == nil {
		s = &slow{wake: make(chan struct{})}
		c.slow.Store(s)
	}
	return s
}

// settle makes the connection fast again when nothing slows it.
func (c *conn) settle(s *slow) {
	if len(s.filters) > 0 || len(s.in.queue) > 0 || len(s.out.queue) > 0 || s.pumping || c.slow.Load() != s {
		return
	}
	// An error that they give is one of a closed socket, which the next Read
	// gives too.
	_ = c.Conn.SetReadDeadline(c.readBy.time())
	_ = c.Conn.SetWriteDeadline(c.write.time())
	c.slow.Store(nil)
	s.again()
}

// past is a deadline that wakes at once.
var past = time.Unix(1, 0)

// changed has all who wait look again.
func (c *conn) changed(s *slow) {
	s.again()
	_ = c.Conn.SetReadDeadline(past)
}

func (s *slow) again() {
	close(s.wake)
	s.wake = make(chan struct{})
}

// wait gives the lock up until something changes or t, zero = never, has come.
func (c *conn) wait(s *slow, t time.Time) {
	wake := s.wake
	c.mu.Unlock()
	defer c.mu.Lock()
	if t.IsZero() {
		<-wake
		return
	}
	timer := time.NewTimer(time.Until(t))
	defer timer.Stop()
	select {
	case <-wake:
	case <-timer.C:
	}
}

// arrived queues what was read of the socket, and its end.
func (c *conn) arrived(b []byte, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.keep(b, err)
}

func (c *conn) keep(b []byte, err error) {
	end := err != nil && !errors.Is(err, os.ErrDeadlineExceeded)
	if c.state == closed || len(b) == 0 && !end {
		return
	}
	s := c.slowly()
	s.take(false, b)
	if end {
		s.in.push(piece{due: s.due(false, 0), err: err})
	}
}

// readSlow is Read while the connection is slow; not done says that it is fast
// again.
func (c *conn) readSlow(b []byte) (n int, err error, done bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		s, now := c.slow.Load(), time.Now()
		switch {
		case c.state == closed:
			return 0, c.opError("read", net.ErrClosed), true
		case s == nil:
			return 0, nil, false
		case c.readBy.passed(now):
			return 0, c.opError("read", os.ErrDeadlineExceeded), true
		}
		until := c.readBy.time()
		due, any := s.in.head()
		held := s.holds(false)
		if c.settle(s); c.slow.Load() != s {
			continue
		}
		switch {
		case !any || held:
		case !due.After(now):
			n, err := c.deliver(s, b)
			return n, err, true
		case until.IsZero() || due.Before(until):
			until = due
		}
		if any && (held || s.in.size >= maxHeld || s.in.queue[len(s.in.queue)-1].err != nil) {
			c.wait(s, until)
		} else {
			c.pull(s, until)
		}
	}
}

// deliver hands the first piece over. An end stays where it is.
func (c *conn) deliver(s *slow, b []byte) (int, error) {
	p := &s.in.queue[0]
	if err := p.err; err != nil {
		c.mu.Unlock()
		defer c.mu.Lock()
		return 0, c.readError(err)
	}
	n := copy(b, p.b)
	s.in.size -= n
	if p.b = p.b[n:]; len(p.b) == 0 && (n > 0 || len(b) > 0) {
		s.in.pop()
		c.settle(s)
	}
	return n, nil
}

// pull reads the socket until then, zero = never.
func (c *conn) pull(s *slow, until time.Time) {
	if s.scratch == nil {
		s.scratch = make([]byte, 2*segment)
	}
	_ = c.Conn.SetReadDeadline(until)
	c.mu.Unlock()
	n, err := c.Conn.Read(s.scratch)
	c.mu.Lock()
	c.keep(s.scratch[:n], err)
}

// writeSlow is Write while the connection is slow; not done says that it is fast
// again, for the rest.
func (c *conn) writeSlow(b []byte) (n int, err error, done bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		s := c.slow.Load()
		switch {
		case c.state == closed:
			return n, c.opError("write", net.ErrClosed), true
		case c.state == finned:
			return n, c.writeError(), true
		case c.state == aborted:
			return n, c.opError("write", errReset), true
		case s == nil:
			return n, nil, false
		case s.err != nil:
			return n, s.err, true
		case c.write.passed(time.Now()):
			return n, c.opError("write", os.ErrDeadlineExceeded), true
		}
		room := min(len(b)-n, maxHeld-s.out.size)
		s.take(true, b[n:n+room])
		if n += room; room > 0 {
			c.pump(s)
		}
		if n == len(b) {
			return n, nil, true
		}
		c.wait(s, c.write.time())
	}
}

// SetDeadline sets both deadlines.
func (c *conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// SetReadDeadline sets the deadline of Read.
func (c *conn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.readBy = deadlineOf(t)
	if s := c.slow.Load(); s != nil {
		c.changed(s)
		return nil
	}
	return c.Conn.SetReadDeadline(t)
}

// SetWriteDeadline sets the deadline of Write.
func (c *conn) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.write = deadlineOf(t)
	s := c.slow.Load()
	if s != nil {
		c.changed(s)
	}
	if s != nil && s.pumping {
		return nil // the pump has none
	}
	return c.Conn.SetWriteDeadline(t)
}

// deadline is an instant in ns since epoch, 0 = none: a third of a time.Time.
type deadline int64

var epoch = time.Now()

func deadlineOf(t time.Time) deadline {
	if t.IsZero() {
		return 0
	}
	if d := deadline(t.Sub(epoch)); d != 0 {
		return d
	}
	return 1
}

func (d deadline) time() time.Time {
	if d == 0 {
		return time.Time{}
	}
	return epoch.Add(time.Duration(d))
}

func (d deadline) passed(now time.Time) bool { return d != 0 && !d.time().After(now) }
