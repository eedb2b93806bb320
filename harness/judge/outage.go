package judge

import (
	"time"

	"github.com/rebound-mqtt/rebound/harness/timeline"
)

// Unscripted is the cause of an outage that no action explains.
const Unscripted = "unscripted"

// Why an outage is censored.
const (
	CensoredHorizon = "horizon"   // not back when its wave was over
	CensoredStopped = "stopped"   // not back when the run was stopped
	CensoredAgain   = "hit again" // hit a second time before it was back
)

// Outage is the time that one client was away: from the intended instant of
// its fault (of an unscripted one: from its noticed end; of a late hit: from
// the issue) to the instant it was back. All attempts in between belong to it.
type Outage struct {
	Fleet    string
	Client   int
	ClientID string
	Cause    string           // fault of the action, or Unscripted
	Action   *timeline.Action // nil when unscripted, or by an extent
	Extent   *timeline.Extent // the fault without victims that it is charged to; nil = none
	Late     bool             // by a late hit

	Start    timeline.Instant
	Issued   timeline.Instant // s, 0 when unscripted
	Closed   timeline.Instant // b, not before s; 0 = not known
	Noticed  timeline.Instant // n: end of the lost connection at the tap
	Returned timeline.Instant // when the client really was back, even past the horizon; 0 = never
	Until    timeline.Instant // end of the watch: back, or the instant of censoring
	Censored string           // "" = back in time; else why not

	Lost      *timeline.Conn
	Attempts  []*timeline.Conn // up to and with the one that came back
	Continual bool             // paho's regime at this loss: it slept before its first retry
	Parts     Parts            // of an outage that is back in time; else zero

	ProberAway timeline.Instant // part of Parts.FirstMessage without a live prober
}

// Back reports whether the client was back before the horizon.
func (o *Outage) Back() bool { return o.Censored == "" }

// Away is the length of the outage, or of the watch when it is censored.
func (o *Outage) Away() time.Duration { return time.Duration(o.Until - o.Start) }

// Holds reports whether an instant lies in the outage.
func (o *Outage) Holds(t timeline.Instant) bool { return o.Start <= t && t <= o.Until }

// backAt is the instant at which a client on this connection was back, by its
// fleet's definition; 0 = never. A TCP connect is never back, and neither is a
// refused CONNECT.
func backAt(c *timeline.Conn, def string) timeline.Instant {
	if !accepted(c) {
		return 0
	}
	at := c.FirstMessage
	switch def {
	case "connack":
		at = c.Connack
	case "subscribed":
		at = c.Restored
	}
	if at != 0 && unscripted(c) && at > c.End {
		return 0
	}
	return at
}

// outagesOf lays down the outages of one client, in order, and gives the ends
// that nothing explains. An end without a cause inside an open outage is one
// of its retries; a hit before back closes the open outage and opens a new one.
func outagesOf(cl *Client, causes map[*timeline.Conn]*timeline.Action, faults extents, rules Rules) (outages []*Outage, loose []*timeline.Conn) {
	var open *Outage
	regime := newPahoRegime(rules.Max[cl.Fleet])
	def := rules.Back[cl.Fleet]
	for _, c := range cl.Conns {
		if open != nil {
			open.Attempts = append(open.Attempts, c)
			if at := backAt(c, def); at != 0 {
				open.Returned = max(at, open.Start)
				open = nil
			}
		}
		if !unscripted(c) {
			continue
		}
		continual := regime.loss(c.End)
		action, outside := causes[c], (*timeline.Extent)(nil)
		if action == nil {
			if outside = faults.cause(cl.Fleet, c.End); outside == nil {
				loose = append(loose, c)
			} else {
				faults.ended[outside.ID]++
			}
			if open != nil {
				continue
			}
		}
		if open != nil && action.Lasting && open.Action == action {
			continue // a retry under the same fault
		}
		next := newOutage(cl, c, action, continual)
		if outside != nil {
			next.Extent, next.Cause = outside, outside.Fault
		}
		if open != nil {
			open.Censored = CensoredAgain
			open.Until = max(open.Start, next.Start)
		}
		open = next
		outages = append(outages, open)
	}
	return outages, loose
}

func newOutage(cl *Client, lost *timeline.Conn, a *timeline.Action, continual bool) *Outage {
	o := &Outage{
		Fleet: cl.Fleet, Client: cl.Index, ClientID: cl.ID, Cause: Unscripted,
		Start: lost.End, Noticed: lost.End, Lost: lost, Continual: continual,
	}
	if a == nil {
		return o
	}
	o.Cause, o.Action = a.Fault, a
	o.Start, o.Issued = a.Intended, a.Issued
	// A late hit ended a connection that was not there at i.
	if !live(lost, a.Intended) {
		o.Late = true
		o.Start = a.Issued
	}
	if a.Lasting && lost.Connack > a.Issued { // made under the fault: its time away begins with its end
		o.Start, o.Issued = lost.End, lost.End
	}
	if a.Closed != 0 {
		o.Closed = max(a.Closed, a.Issued)
	}
	return o
}

// wave is the wave of the fault that the outage is charged to, if there is one.
func (o *Outage) wave() (waveKey, bool) {
	switch {
	case o.Action != nil:
		return waveKey{o.Action.Phase, o.Action.Wave}, true
	case o.Extent != nil:
		return waveKey{o.Extent.Phase, o.Extent.Wave}, true
	}
	return waveKey{}, false
}

// close fixes the end of the watch at the outage's horizon and takes an outage
// that is back apart.
func (o *Outage) close(horizon map[waveKey]timeline.Instant, stop timeline.Instant) {
	if o.Censored != "" {
		return
	}
	end := stop
	if k, scripted := o.wave(); scripted {
		if h, found := horizon[k]; found {
			end = h
		}
	}
	if o.Returned != 0 && o.Returned <= end {
		o.Until = o.Returned
		o.Parts = Decompose(o)
		return
	}
	o.Until = max(o.Start, end)
	o.Censored = CensoredHorizon
	if end == stop {
		o.Censored = CensoredStopped
	}
}

// pahoRegime follows the rule by which paho sleeps before its first retry: it
// does when a loss comes less than twice its process time (3 s) plus its last
// sleep after the loss before; the sleep is 1 s at first, doubles, and is
// bounded by the policy's maximum.
type pahoRegime struct {
	max, sleep timeline.Instant
	last       timeline.Instant
	lost       bool
}

const (
	pahoFirstSleep = timeline.Instant(time.Second)
	pahoProcess    = timeline.Instant(2 * 3 * time.Second)
)

func newPahoRegime(longest time.Duration) *pahoRegime {
	p := &pahoRegime{max: timeline.Instant(longest)}
	if p.max <= 0 {
		p.max = timeline.Instant(10 * time.Minute) // the library's own default
	}
	return p
}

// loss tells of a loss at t and reports whether it was a continual one.
func (p *pahoRegime) loss(t timeline.Instant) bool {
	continual := p.lost && t-p.last <= pahoProcess+p.sleep
	p.last, p.lost = t, true
	switch {
	case !continual:
		p.sleep = 0
	case p.sleep == 0:
		p.sleep = min(pahoFirstSleep, p.max)
	default:
		p.sleep = min(2*p.sleep, p.max)
	}
	return continual
}
