package harness

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rebound-mqtt/rebound/harness/fleet"
	"github.com/rebound-mqtt/rebound/harness/mqtt"
	"github.com/rebound-mqtt/rebound/reports"
	"github.com/rebound-mqtt/rebound/scenarios"
)

// pbBase is the ground of the planted suite: two fleets of one client each, a
// and b, a stream to each of them, and one kick of a.
const pbBase = `
name: planted
clients: 2
fleets:
  - name: a
    share: 50%
    reconnect: {policy: fixed, delay: 150ms}
    subscribe: [{topic: "d/{client}", qos: 1}]
  - name: b
    share: 50%
    reconnect: {policy: fixed, delay: 150ms}
    subscribe: [{topic: "d/{client}", qos: 1}]
traffic:
  - {to: a, topic: "d/{client}", qos: 1, each: 50/s}
  - {to: b, topic: "d/{client}", qos: 1, each: 50/s}
phases:
  - {name: connect, until: {connected: 100%}, timeout: 20s}
  - {name: steady, for: 600ms}
  - name: storm
    faults: [{close: {fleet: a}}]
    until: {back: 100%}
    timeout: 5s
  - {name: after, for: 400ms}
  - {name: drain, until: {quiet: 300ms}, timeout: 20s}
`

const (
	pbStorm  = "  - name: storm\n    faults: [{close: {fleet: a}}]\n    until: {back: 100%}\n    timeout: 5s\n"
	pbFleetA = "  - name: a\n    share: 50%\n"
	pbAfter  = "  - {name: after, for: 400ms}\n"
	pbSub    = `subscribe: [{topic: "d/{client}", qos: 1}]`
	pbToA    = `  - {to: a, topic: "d/{client}", qos: 1, each: 50/s}` + "\n"
	pbToB    = `  - {to: b, topic: "d/{client}", qos: 1, each: 50/s}` + "\n"
)

// pbLie says what passes instead of a packet on one connection, as lie does.
// All lies of a run come one after the other.
type pbLie func(c *pbConn, out bool, p *mqtt.Packet, raw []byte) [][]byte

// pbWire is all connections of one run below their taps. What it does to them
// looks from above like a faulty broker or network.
type pbWire struct {
	mu    sync.Mutex
	lie   pbLie
	dials map[string]int
	hits  int // how often the plant struck
}

// wrap is Options.WrapConn.
func (w *pbWire) wrap(id string, raw net.Conn) net.Conn {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dials[id]++
	c := &pbConn{wire: w, below: raw, id: id, n: w.dials[id], gone: make(chan struct{})}
	c.Conn = lying(raw, c.tell)
	return c
}

// hit counts one stroke of the plant.
func (w *pbWire) hit() { w.hits++ }

// pbFirst is the first packet id that the plants use themselves. What the client
// answers under such an id goes no further; the broker never hears of it.
const pbFirst = 60000

// pbConn is one connection of a pbWire.
type pbConn struct {
	net.Conn // the lying one
	wire     *pbWire
	below    net.Conn
	id       string
	n        int    // number of the dial in the life of its client, from 1
	next     []byte // read before the next packet
	rec, rel uint16 // latest PUBREC written and PUBREL read of the broker's own ids
	after    []byte // PUBRELs of ours that are due after the PUBREL of due
	due      uint16

	holdEnd time.Duration // how long an end by the broker stays hidden
	closing sync.Once
	gone    chan struct{} // closed by Close
}

// of says that the connection is number n of the fleet, 0 = any.
func (c *pbConn) of(fleet string, n int) bool {
	return strings.HasPrefix(c.id, fleet+"-") && (n == 0 || n == c.n)
}

// reply gives a packet to the broker in the client's name.
func (c *pbConn) reply(packet []byte) {
	_, _ = c.below.Write(packet) // a connection that has ended needs none
}

// cut ends the connection as a broker, or a network, does: by FIN both ways.
func (c *pbConn) cut() {
	_ = c.CloseRead()
	_ = c.CloseWrite()
}

func (c *pbConn) tell(out bool, p *mqtt.Packet, raw []byte) (instead [][]byte) {
	c.wire.mu.Lock()
	defer c.wire.mu.Unlock()
	if out && p.ID >= pbFirst && (p.Type == mqtt.PUBACK || p.Type == mqtt.PUBREC || p.Type == mqtt.PUBCOMP) {
		switch {
		case p.Type != mqtt.PUBREC:
		case c.rec == c.rel:
			c.next = mqtt.AppendPubrel(c.next, p.ID)
		default: // PUBRELs go in the order of the PUBRECs [MQTT-4.6.0-4]
			c.after, c.due = mqtt.AppendPubrel(c.after, p.ID), c.rec
		}
		return nil
	}
	instead = c.wire.lie(c, out, p, raw)
	if out {
		if p.Type == mqtt.PUBREC {
			c.rec = p.ID
		}
		return instead
	}
	if len(c.next) > 0 {
		instead = append([][]byte{c.next}, instead...)
		c.next = nil
	}
	if p.Type == mqtt.PUBREL {
		if c.rel = p.ID; c.rel == c.due && len(c.after) > 0 {
			instead = append(instead, c.after)
			c.after = nil
		}
	}
	return instead
}

func (c *pbConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		return n, err
	}
	c.wire.mu.Lock()
	hold := c.holdEnd
	c.wire.mu.Unlock()
	if hold > 0 && (errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET)) {
		select {
		case <-time.After(hold): // that is the fault
		case <-c.gone:
		}
	}
	return n, err
}

func (c *pbConn) Close() error {
	c.closing.Do(func() { close(c.gone) })
	return c.Conn.Close()
}

func (c *pbConn) CloseRead() error  { return c.below.(*net.TCPConn).CloseRead() }
func (c *pbConn) CloseWrite() error { return c.below.(*net.TCPConn).CloseWrite() }

// pbData reports whether a packet is a message of the scenario's traffic.
func pbData(p *mqtt.Packet) bool { return pbKind(p, mqtt.KindData) }

func pbKind(p *mqtt.Packet, k mqtt.Kind) bool {
	return p.Type == mqtt.PUBLISH && p.HeaderErr == nil && p.Header.Kind == k
}

// pbPublish takes a PUBLISH apart, to be changed and put together again.
func pbPublish(p *mqtt.Packet, raw []byte) mqtt.Publish {
	return mqtt.Publish{
		Topic: string(p.Topic), ID: p.ID, QoS: p.QoS(), Dup: p.Dup(), Retain: p.Retain(),
		Payload: append([]byte(nil), raw[len(raw)-p.Payload:]...),
	}
}

// pbOne is one whole packet.
func pbOne(p mqtt.Publish) []byte { return mqtt.AppendPublish(nil, p) }

// pbWhen is a plant that strikes at the first packet that matches.
func pbWhen(match func(c *pbConn, out bool, p *mqtt.Packet) bool, do pbLie) func(*pbWire) pbLie {
	return func(w *pbWire) pbLie {
		return func(c *pbConn, out bool, p *mqtt.Packet, raw []byte) [][]byte {
			if w.hits == 0 && match(c, out, p) {
				w.hit()
				return do(c, out, p, raw)
			}
			return passes(raw)
		}
	}
}

// pbRead matches message seq of the traffic on its way to a connection of a
// fleet; 0 = any connection, any message.
func pbRead(fleet string, n int, seq uint64) func(*pbConn, bool, *mqtt.Packet) bool {
	return func(c *pbConn, out bool, p *mqtt.Packet) bool {
		return !out && c.of(fleet, n) && pbData(p) && (seq == 0 || p.Header.Seq == seq)
	}
}

// pbNeedMosquitto fails under CI=true and skips elsewhere when the broker that
// keeps the rules is not installed.
func pbNeedMosquitto(t *testing.T) {
	t.Helper()
	for _, name := range []string{"mosquitto", "/usr/sbin/mosquitto", "/usr/local/sbin/mosquitto"} {
		if _, err := exec.LookPath(name); err == nil {
			return
		}
	}
	if os.Getenv("CI") == "true" {
		t.Fatal("mosquitto is not installed: apt-get install mosquitto")
	}
	t.Skip("SKIPPED: mosquitto is not installed (apt-get install mosquitto): no planted fault of a broker is looked for")
}

// pbCase is one run with one fault and the exact set of checks that it turns.
type pbCase struct {
	name  string
	text  []string                // replacements in pbBase, in pairs
	plant func(*pbWire) pbLie     // nil = none
	bend  func(*pbWire, *Options) // what else is changed
	// turns names the checks that must be invalid, with whom they charge: "broker
	// 1" is exactly one finding of the broker's, "broker" one or more.
	turns   map[string]string
	unknown []string                     // the checks that must be unknown
	hits    int                          // strokes of the plant; 0 = one, where there is a plant; -1 = one or more
	also    func(*reports.Report) string // what else is wrong, in words
}

// pbTries is how often a case is played where this machine was too busy: what a
// starved harness has seen shows nothing of the case. A wrong oracle fails each time.
const pbTries = 3

// run plays the case, holds the report against it, and gives the run's folder.
func (pc pbCase) run(t *testing.T) string {
	for try := 1; ; try++ {
		r, dir, wrong := pc.play(t)
		if len(wrong) == 0 || !pbStarved(r) || try == pbTries {
			for _, w := range wrong {
				t.Error(w)
			}
			return dir
		}
		t.Logf("try %d: the harness was starved: %q", try, wrong)
	}
}

// pbStarved reports whether the harness was late by more than a tenth of a
// second: by less than what the judge takes for starvation, but a library that
// gets no time for its DISCONNECT changes what a run can show, too.
func pbStarved(r *reports.Report) bool {
	return slices.ContainsFunc(r.Phases, func(p reports.Phase) bool { return p.Canary.Max != nil && *p.Canary.Max >= 0.1 })
}

// play plays the case once, and says what of the report is wrong.
func (pc pbCase) play(t *testing.T) (r *reports.Report, dir string, wrong []string) {
	w := &pbWire{dials: map[string]int{}}
	w.lie = func(_ *pbConn, _ bool, _ *mqtt.Packet, raw []byte) [][]byte { return passes(raw) }
	hits := pc.hits
	if pc.plant != nil {
		w.lie = pc.plant(w)
		if hits == 0 {
			hits = 1
		}
	}
	o := Options{WrapConn: w.wrap}
	if pc.bend != nil {
		pc.bend(w, &o)
	}
	r, dir = pbPlay(t, scenario(t, pbBase, pc.text...), o)
	wrong = pbVerdicts(r, pc.turns, pc.unknown)
	if w.hits != hits && !(hits < 0 && w.hits > 0) {
		wrong = append(wrong, fmt.Sprintf("the plant struck %d times, want %d", w.hits, hits))
	}
	if pc.also != nil {
		if words := pc.also(r); words != "" {
			wrong = append(wrong, words)
		}
	}
	return r, dir, wrong
}

// pbVerdicts demands exactly these verdicts, and the exit code that follows;
// every other check must be valid or not applicable. It says what is wrong.
func pbVerdicts(r *reports.Report, turns map[string]string, unknown []string) (wrong []string) {
	say := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	want := map[string]reports.Verdict{}
	code := ExitPass
	for _, name := range unknown {
		want[name], code = reports.Unknown, ExitUnknown
	}
	for name := range turns {
		want[name], code = reports.Invalid, ExitFail
	}
	for _, c := range r.Checks {
		v, told := want[c.Name]
		delete(want, c.Name)
		switch {
		case told && c.Verdict != v, !told && c.Verdict != reports.Valid && c.Verdict != reports.NotApplicable:
			say("%s is %s, want %q: %s %q", c.Name, c.Verdict, v, c.Detail, c.Examples)
		case v == reports.Invalid && !pbCharged(c, turns[c.Name]):
			say("%s charges %v (%d findings), want %s: %s %q", c.Name, c.Charges, c.Count, turns[c.Name], c.Detail, c.Examples)
		}
	}
	for name := range want {
		say("there is no check %s", name)
	}
	if r.ExitCode != code {
		say("exit %d, want %d: %s", r.ExitCode, code, r.Verdict)
	}
	return wrong
}

// pbCharged reports whether a check charges as told, and nobody besides.
func pbCharged(c reports.Check, told string) bool {
	whom, number, exact := strings.Cut(told, " ")
	n := c.Charges[whom]
	return len(c.Charges) == 1 && n > 0 && n == c.Count && (!exact || strconv.FormatInt(n, 10) == number)
}

// pbPlay plays a scenario on mosquitto, with the driver that keeps to the letter
// where no other is given, into a fresh folder.
func pbPlay(t *testing.T, sc *scenarios.Scenario, o Options) (*reports.Report, string) {
	t.Helper()
	tables := DefaultTables()
	if o.Drivers != nil {
		tables.Drivers = o.Drivers
	}
	plan, err := NewPlan(sc, PlanOptions{Tables: tables, Target: "mosquitto", Driver: "strict", Kick: CloserFIN})
	if err != nil {
		t.Fatal(err)
	}
	o.Tables, o.Version = tables, "test"
	return pbRun(t, plan, o)
}

// pbRun does a run of at most a minute in a fresh folder. A broker process that
// gets no processor for as long as the preflight waits shows nothing, and is
// started again; one that never answers fails each time.
func pbRun(t *testing.T, plan *scenarios.Plan, o Options) (*reports.Report, string) {
	t.Helper()
	for try := 1; ; try++ {
		o.Dir = filepath.Join(t.TempDir(), "run")
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		r, err := Run(ctx, plan, o)
		cancel()
		switch {
		case err == nil:
			return r, o.Dir
		case ExitCode(err) != ExitUnreachable || try == pbTries:
			t.Fatal(err)
		}
		t.Logf("try %d: %v", try, err)
	}
}

// pbLibrary is the driver that keeps to the letter, but for what a lie above the
// tap makes of it. All lies of one client come one after the other.
func pbLibrary(make func(clientID string) lie) []fleet.Driver {
	return []fleet.Driver{lyingLibrary(fleet.Strict{}, func(id string) lie {
		var mu sync.Mutex
		l := make(id)
		return func(out bool, p *mqtt.Packet, raw []byte) [][]byte {
			mu.Lock()
			defer mu.Unlock()
			return l(out, p, raw)
		}
	})}
}

// pbSlots bounds how many cases are played side by side: they wait for most of
// their time, on timers of the scenario and on a broker of their own.
var pbSlots = make(chan struct{}, 6)

// pbAll plays the cases side by side, with those of other tests.
func pbAll(t *testing.T, cases []pbCase) {
	t.Parallel()
	pbNeedMosquitto(t)
	var all sync.WaitGroup
	for _, pc := range cases {
		all.Go(func() {
			pbSlots <- struct{}{}
			defer func() { <-pbSlots }()
			t.Run(pc.name, func(t *testing.T) { pc.run(t) })
		})
	}
	all.Wait()
}
