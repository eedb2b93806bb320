package netfault

import (
	"bytes"
	"io"
	"net"
	"slices"
	"testing"
	"time"
)

// conformsToLate makes the connection of one client late: each packet arrives
// whole, in order, not before its time; packets that follow closely are not late
// one after the other; a Close comes behind what was written. A new connection
// is late too; another client's is not.
func conformsToLate(t testing.TB, network string, s faults, way Way, least, most, patience time.Duration) error {
	t.Helper()
	v := &verdict{t: t, patience: patience, quiet: 5 * time.Millisecond}
	victim, other := newParty(t, network, s, "victim"), newParty(t, network, s, "other")
	v.untouched(victim, "before")
	lift := s.Impair("victim", Impairment{Up: way, Down: way, New: true, Seed: 7})
	fresh := newParty(t, network, s, "victim")
	for _, p := range []party{victim, fresh} {
		v.late(p, least, most)
	}
	v.untouched(other, "other")
	v.done("the last write", v.says(fresh.client, []byte("last")))
	if err := fresh.client.Close(); err != nil {
		v.bad("Close gives %w", err)
	}
	v.ends(fresh.atBroker, io.EOF)
	if got, _ := fresh.atBroker.now(); !bytes.HasSuffix([]byte(got), []byte("last")) {
		v.bad("the Close overtook what was written: %.40q", got)
	}
	lift()
	lift()
	up, _ := victim.atBroker.now()
	down, _ := victim.atClient.now()
	began := time.Now()
	v.goesOn(victim, []byte(up), []byte(down))
	if took := time.Since(began); took >= least {
		v.bad("after the lift a packet takes %s", took)
	}
	return v.result()
}

// late sends packets 2 ms apart both ways.
func (v *verdict) late(p party, least, most time.Duration) {
	const packets, size = 20, 100
	for _, dir := range []struct {
		from net.Conn
		to   *ear
	}{{p.client, p.atBroker}, {p.broker, p.atClient}} {
		before, _ := dir.to.now()
		want := append([]byte(before), text(packets*size, 'a')...)
		var sent []time.Time
		for part := range slices.Chunk(want[len(before):], size) {
			sent = append(sent, time.Now())
			v.done("a write", v.says(dir.from, part))
			time.Sleep(2 * time.Millisecond)
		}
		v.hears(dir.to, want)
		dir.to.mu.Lock()
		at := dir.to.at[len(before):]
		dir.to.mu.Unlock()
		for i := range min(len(sent), len(at)/size) {
			if took := at[i*size].Sub(sent[i]); took < least || took > most {
				v.bad("packet %d took %s to %s, want %s to %s", i, took, dir.to.who, least, most)
				break
			}
		}
	}
}

func TestLateConforms(t *testing.T) {
	const ms = time.Millisecond
	forEachNetwork(t, func(t *testing.T, network string) {
		for name, way := range map[string]Way{
			"latency": {Delay: 30 * ms},
			"jitter":  {Delay: 30 * ms, Jitter: 30 * ms},
		} {
			// The upper bound is loose: a machine that stands still is no fault. A
			// delay of each packet behind the other would be 20 times as long.
			if err := conformsToLate(t, network, newFaults(t), way, 30*ms, 400*ms, 10*time.Second); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

// conformsToBandwidth sends bytes through a limit: they need their time, in each
// direction, and not much more than it; all arrive.
func conformsToBandwidth(t testing.TB, network string, s faults, patience time.Duration) error {
	t.Helper()
	v := &verdict{t: t, patience: patience}
	p := newParty(t, network, s, "victim")
	const limit, bytes = 100_000, 20_000
	defer s.Impair("victim", Impairment{Up: Way{Rate: limit}, Down: Way{Rate: limit}})()
	for _, dir := range []struct {
		from net.Conn
		to   *ear
	}{{p.client, p.atBroker}, {p.broker, p.atClient}} {
		began := time.Now()
		wrote := v.says(dir.from, text(bytes, 'a'))
		v.hears(dir.to, text(bytes, 'a'))
		v.done("a write", wrote)
		took, least := time.Since(began), time.Duration(bytes-segment)*time.Second/limit
		if took < least || took > 3*least {
			v.bad("%d bytes to %s took %s, want at least %s", bytes, dir.to.who, took, least)
		}
	}
	return v.result()
}

func TestBandwidthConforms(t *testing.T) {
	forEachNetwork(t, func(t *testing.T, network string) {
		if err := conformsToBandwidth(t, network, newFaults(t), 10*time.Second); err != nil {
			t.Error(err)
		}
	})
}

// The same seed draws the same; each connection and direction draws its own;
// a draw is within its bounds, and all of them are used.
func TestJitterRepeats(t *testing.T) {
	draws := func(seed, stream uint64) (all []time.Duration) {
		s := newShaper(Way{Delay: 10, Jitter: 5}, seed, stream)
		for range 100 {
			all = append(all, s.late(time.Time{}, 1))
		}
		return all
	}
	if !slices.Equal(draws(1, 2), draws(1, 2)) {
		t.Error("the same seed draws other delays")
	}
	for _, other := range [][]time.Duration{draws(2, 2), draws(1, 3)} {
		if slices.Equal(draws(1, 2), other) {
			t.Error("another seed or stream draws the same delays")
		}
	}
	if lo, hi := slices.Min(draws(1, 2)), slices.Max(draws(1, 2)); lo != 10 || hi != 15 {
		t.Errorf("delays from %d to %d, want 10 to 15", lo, hi)
	}
}

// Several impairments on one client add up, and each is lifted alone.
func TestImpairmentsAddUp(t *testing.T) {
	s, v := newFaults(t), &verdict{t: t, patience: 10 * time.Second, quiet: 30 * time.Millisecond}
	p := newParty(t, "tcp", s, "c")
	late := s.Impair("c", Impairment{Up: Way{Delay: 50 * time.Millisecond}})
	later := s.Impair("c", Impairment{Up: Way{Delay: 50 * time.Millisecond}})
	began := time.Now()
	v.done("a write", v.says(p.client, []byte("one")))
	v.hears(p.atBroker, []byte("one"))
	if took := time.Since(began); took < 100*time.Millisecond {
		t.Errorf("two delays of 50 ms are %s", took)
	}
	hold := s.Impair("c", Impairment{Up: Way{Hold: true}})
	v.done("a write", v.says(p.client, []byte("two")))
	late()
	later()
	v.silent(p.atBroker)
	hold()
	v.hears(p.atBroker, []byte("onetwo"))
	waitUntil(t, func() bool { return p.client.(*conn).slow.Load() == nil })
	if err := v.result(); err != nil {
		t.Error(err)
	}
}

// wrongLate has a planted fault below the wrapper, or in its impairment.
type wrongLate struct {
	*Links
	change func(*Impairment)
	lift   func(lift func())
	below  func(net.Conn) net.Conn
}

func (w wrongLate) Wrap(id string, c net.Conn) net.Conn {
	if w.below != nil && id == "victim" {
		c = w.below(c)
	}
	return w.Links.Wrap(id, c)
}

func (w wrongLate) Impair(id string, im Impairment) func() {
	if w.change != nil {
		w.change(&im)
	}
	lift := w.Links.Impair(id, im)
	if w.lift != nil {
		return func() { w.lift(lift) }
	}
	return lift
}

// losing loses a packet on its way to the broker.
type losing struct {
	*net.TCPConn
	n *int
}

func (l losing) Write(b []byte) (int, error) {
	if *l.n++; *l.n == 8 {
		return len(b), nil
	}
	return l.TCPConn.Write(b)
}

// queued waits with each packet for the one before it.
type queued struct{ *net.TCPConn }

func (q queued) Write(b []byte) (int, error) {
	time.Sleep(30 * time.Millisecond)
	return q.TCPConn.Write(b)
}

func TestConformanceCatchesWrongLates(t *testing.T) {
	const ms = time.Millisecond
	for name, w := range map[string]wrongLate{
		"nothing":              {change: func(im *Impairment) { im.Up, im.Down = Way{}, Way{} }},
		"one direction":        {change: func(im *Impairment) { im.Down = Way{} }},
		"half of it":           {change: func(im *Impairment) { im.Up.Delay /= 2 }},
		"no new connection":    {change: func(im *Impairment) { im.New = false }},
		"a hold":               {change: func(im *Impairment) { im.Up.Hold = true }},
		"it is never lifted":   {lift: func(func()) {}},
		"a packet is lost":     {below: func(c net.Conn) net.Conn { return losing{c.(*net.TCPConn), new(int)} }},
		"one behind the other": {below: func(c net.Conn) net.Conn { return queued{c.(*net.TCPConn)} }},
	} {
		t.Run("latency/"+name, func(t *testing.T) {
			w.Links = newFaults(t)
			caught(t, conformsToLate(t, "tcp", w, Way{Delay: 30 * ms}, 30*ms, 200*ms, 300*ms))
		})
	}
	for name, w := range map[string]wrongLate{
		"nothing":       {change: func(im *Impairment) { im.Up, im.Down = Way{}, Way{} }},
		"one direction": {change: func(im *Impairment) { im.Up = Way{} }},
		"twice as fast": {change: func(im *Impairment) { im.Down.Rate *= 2 }},
		"far too slow":  {change: func(im *Impairment) { im.Down.Rate /= 10 }},
	} {
		t.Run("bandwidth/"+name, func(t *testing.T) {
			w.Links = newFaults(t)
			caught(t, conformsToBandwidth(t, "tcp", w, 700*ms))
		})
	}
}
