package measure

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/rebound-mqtt/rebound/harness/timeline"
)

// The schedules of the two that measure the harness's own lateness.
const (
	canaryEvery = 10 * time.Millisecond
	echoEvery   = 50 * time.Millisecond
	echoBytes   = 16
)

// lateness measures ticks of an absolute schedule: each tick counts once, with
// the time from when it was due to when it was served. A stall of 500 ms is
// thus 50 late ticks of a 10 ms schedule and not a single one.
type lateness struct {
	period timeline.Instant
	mu     sync.Mutex
	on     bool
	due    timeline.Instant // of the oldest tick not yet served
	hist   *Hist
	spare  *Hist
}

func newLateness(period time.Duration) *lateness {
	return &lateness{period: timeline.Instant(period), hist: NewHist(Nanoseconds), spare: NewHist(Nanoseconds)}
}

// start sets the schedule: the first tick is due a period after now.
func (l *lateness) start(now timeline.Instant) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.on, l.due = true, now+l.period
}

// stop ends the schedule: no tick is due any more.
func (l *lateness) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.on = false
}

func (l *lateness) next() timeline.Instant {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.due
}

// serve serves all ticks that are due at now.
func (l *lateness) serve(now timeline.Instant) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.serveLocked(now)
}

func (l *lateness) serveLocked(now timeline.Instant) {
	for ; l.on && l.due <= now; l.due += l.period {
		l.hist.Record(int64(now - l.due))
	}
}

// serveOne serves the tick that was due at due, unless a border has closed it.
func (l *lateness) serveOne(due, now timeline.Instant) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.on && l.due == due {
		l.hist.Record(int64(now - due))
		l.due += l.period
	}
}

// cut gives the values since the last cut; they are the caller's until the next
// one. At the border of a phase the ticks that are due and not served yet are
// closed with their lateness so far: the part of a stall that lies in the phase
// stays in the phase, and the ticks due after the border show the rest.
func (l *lateness) cut(now timeline.Instant, border bool) *Hist {
	l.mu.Lock()
	defer l.mu.Unlock()
	if border {
		l.serveLocked(now)
	}
	l.hist, l.spare = l.spare, l.hist
	l.hist.Reset()
	return l.spare
}

// waiter sleeps until instants of the clock, with one timer.
type waiter struct {
	clock *timeline.Clock
	timer *time.Timer
}

func newWaiter(clock *timeline.Clock) *waiter {
	return &waiter{clock: clock, timer: time.NewTimer(0)}
}

// until reports false when ctx ended first.
func (w *waiter) until(ctx context.Context, at timeline.Instant) bool {
	w.timer.Reset(time.Until(w.clock.Time(at)))
	select {
	case <-ctx.Done():
		w.timer.Stop()
		return false
	case <-w.timer.C:
		return true
	}
}

// runCanary serves the canary's ticks until ctx ends. It is a plain goroutine
// with no privileges: it waits in the same queues as the clients' goroutines.
func runCanary(ctx context.Context, clock *timeline.Clock, l *lateness) {
	w := newWaiter(clock)
	for w.until(ctx, l.next()) {
		l.serve(clock.Now())
	}
}

// echoPair is a TCP connection of the process to itself.
type echoPair struct{ near, far net.Conn }

func (p echoPair) close() {
	_ = p.near.Close() // nothing in flight matters
	_ = p.far.Close()
}

// dialEcho makes the pair on 127.0.0.1.
func dialEcho(ctx context.Context) (echoPair, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return echoPair{}, fmt.Errorf("echo pair: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = listener.Close() })
	defer func() {
		stop()
		_ = listener.Close() // also on the way out without an error
	}()
	near, err := (&net.Dialer{}).DialContext(ctx, "tcp", listener.Addr().String())
	if err != nil {
		return echoPair{}, fmt.Errorf("echo pair: %w", err)
	}
	far, err := listener.Accept() // the kernel has the connection waiting
	if err != nil {
		_ = near.Close()
		return echoPair{}, fmt.Errorf("echo pair: %w", err)
	}
	pair := echoPair{near, far}
	if far.RemoteAddr().String() != near.LocalAddr().String() {
		pair.close()
		return echoPair{}, errors.New("echo pair: a stranger connected")
	}
	return pair, nil
}

// answer sends back what comes until the pair is closed. (io.Copy would splice
// inside the kernel and leave the scheduler out.)
func (p echoPair) answer() {
	var b [echoBytes]byte
	for {
		if _, err := io.ReadFull(p.far, b[:]); err != nil {
			return
		}
		if _, err := p.far.Write(b[:]); err != nil {
			return
		}
	}
}

// runEcho serves the echo's ticks: each is a round trip that begins when it is
// due, or as soon as the one before it is over. It ends with ctx, or with the
// error that broke the pair.
func runEcho(ctx context.Context, clock *timeline.Clock, l *lateness, p echoPair) error {
	w := newWaiter(clock)
	var b [echoBytes]byte
	for {
		due := l.next()
		if !w.until(ctx, due) {
			return nil
		}
		_, err := p.near.Write(b[:])
		if err == nil {
			_, err = io.ReadFull(p.near, b[:])
		}
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("echo pair: %w", err)
		}
		l.serveOne(due, clock.Now())
	}
}
