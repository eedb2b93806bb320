package fleet

import (
	"sync"
	"time"
)

const (
	// firstRetry is the pause between attempts of a connect. The library
	// repeats only connects after a loss.
	firstRetry = time.Second
	// restPoll is the first pause until a library that was told to disconnect is
	// asked again whether it takes a Connect; it doubles up to restSlow.
	restPoll = 5 * time.Millisecond
	restSlow = 200 * time.Millisecond
	// arrival is how long a Disconnect waits for a library to say that it is
	// connected, when the wire has said so already.
	arrival = time.Second
)

// bringing is where a client stands between its library's Connect and
// Disconnect. client.mu guards it.
//
// The two must not be called just as they come. A Disconnect that overtakes the
// start of a Connect would be without effect, and one that is called a second
// time before the library has come to rest makes paho give up the first and
// stay between the states for good. So:
//   - one loop at a time calls Connect, until one attempt of it has succeeded
//     that no Disconnect came across;
//   - Disconnect waits until a Connect that has been called has begun to dial,
//     and the loop calls none while a Disconnect is under way;
//   - a library that has been told to disconnect is not told again until it is
//     seen to have taken a Connect. Where a connection is accepted already, that
//     is awaited: a Disconnect that found a live connection has to end it.
type bringing struct {
	change   *sync.Cond // on client.mu; made by wait
	begun    bool       // the first connect was due
	loop     bool       // connect runs
	entering bool       // Connect was called and has not begun to dial
	dropping bool       // the library's Disconnect is under way
	down     bool       // told to disconnect, and not yet seen to take a Connect
	drops    int        // Disconnects so far
	dropped  int64      // number of the connection that the last one had to end, 0 = none was accepted
	wake     chan struct{}
}

// wait waits for a change. c.mu is held.
func (c *client) wait() {
	if c.change == nil {
		c.change = sync.NewCond(&c.mu)
	}
	c.change.Wait()
}

// changed wakes who waits. c.mu is held.
func (c *client) changed() {
	if c.change != nil {
		c.change.Broadcast()
	}
}

// first begins the first connect.
func (c *client) first() {
	c.mu.Lock()
	c.begun = true
	c.mu.Unlock()
	c.bring()
}

// bring has a loop bring the client up: the one that runs, at once, or a new
// one. False after Close.
func (c *client) bring() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.wake == nil {
		c.wake = make(chan struct{}, 1)
	}
	if c.loop {
		select {
		case c.wake <- struct{}{}:
		default:
		}
		return true
	}
	c.loop = c.fleet.spawn(c.connect)
	return c.loop
}

// connect calls the library's Connect until the client is up.
func (c *client) connect() {
	lib, err := c.library()
	if err != nil {
		return // closed in the meantime: New has tried the driver with these settings
	}
	rest := restPoll
	for {
		call, ok := c.enter()
		if !ok {
			return
		}
		switch c.left(call, lib.Connect(c.fleet.ctx)) {
		case callDone:
			return
		case callTried:
			ok, rest = c.pause(firstRetry), restPoll
		case callNotTaken:
			ok, rest = c.pause(rest), min(2*rest, restSlow)
		}
		if !ok {
			return
		}
	}
}

// pause waits, but not while a Disconnect wants another attempt at once; false
// when the fleet was stopped.
func (c *client) pause(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-c.fleet.ctx.Done():
		return false
	case <-c.wake:
	case <-t.C:
	}
	return true
}

// call is one call of the library's Connect.
type call struct {
	drops int // before it
	dials int
}

// outcome is what became of a call.
type outcome int

const (
	callDone     outcome = iota // the library keeps the client connected from here
	callTried                   // an attempt failed, or was given up
	callNotTaken                // the library has not come to rest yet
)

// enter begins a call; false after Close.
func (c *client) enter() (call, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.dropping {
		c.wait()
	}
	if c.closed {
		return call{}, false
	}
	c.entering = true
	return call{drops: c.drops, dials: c.session.connecting()}, true
}

// dialing says that the library begins an attempt.
func (c *client) dialing() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.entering = false
	c.changed()
}

// left says what became of a call that returned err.
func (c *client) left(before call, err error) outcome {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.entering = false
	c.changed()
	dials, open := c.session.attempts()
	dialled := dials > before.dials
	switch {
	case c.drops != before.drops, c.down && !dialled:
		// What this call began is being ended, or it began nothing.
		return callNotTaken
	case err != nil:
		// An attempt that is still under way is none of this call's: the library
		// makes it before it comes to rest.
		c.down = c.down && open
		return callTried
	}
	c.down, c.loop = false, false
	if !c.up.Swap(true) {
		c.fleet.up.Add(1)
		c.fleet.signal()
	}
	return callDone
}

// Disconnect has the client's library end its connection, with a DISCONNECT, or
// give up the attempt that is under way, and begins to connect again at once,
// which it does not wait for. Calls for one client come one after the other;
// each returns within the bound of the library's Disconnect.
//
// A client whose first connect is not due yet has nothing to end. One that is
// still on its way back from an earlier Disconnect, and has no accepted
// connection yet, is only kept from pausing.
// ErrClosed after Close.
func (f *Fleet) Disconnect(client int) error {
	c := f.clients[client]
	c.turn.Lock()
	defer c.turn.Unlock()
	lib, begun, err := c.drop()
	if err != nil || !begun {
		return err
	}
	if lib != nil {
		lib.Disconnect()
		c.rested()
	}
	if !c.bring() {
		return ErrClosed
	}
	return nil
}

// drop gives the library when it has to be told to disconnect.
func (c *client) drop() (lib Client, begun bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	expired := false
	await := time.AfterFunc(arrival, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		expired = true
		c.changed()
	})
	defer await.Stop()
	for !c.closed && (c.entering || c.arriving() && !expired) {
		c.wait()
	}
	switch {
	case c.closed, c.fleet.ctx.Err() != nil:
		return nil, false, ErrClosed
	case !c.begun || c.lib == nil || c.down:
		return nil, c.begun, nil
	}
	c.drops++
	c.dropping, c.down, c.dropped = true, true, c.session.liveN.Load()
	return c.lib, true, nil
}

// arriving reports whether a connection was accepted since the last Disconnect
// and the library's Connect has not returned yet. c.mu is held.
func (c *client) arriving() bool {
	live := c.session.liveN.Load()
	return c.down && live != 0 && live != c.dropped
}

// rested says that the library's Disconnect has returned.
func (c *client) rested() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dropping = false
	c.changed()
}
