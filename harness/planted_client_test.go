package harness

import (
	"bytes"
	"maps"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rebound-mqtt/rebound/harness/fleet"
	"github.com/rebound-mqtt/rebound/harness/mqtt"
)

// The planted suite of the client library: one fault above the tap, or in a
// callback, in one client of the strict driver, on a broker that is right. Each
// turns exactly the checks that it deserves, and they charge the library.

// pcCalm is traffic of all QoS from a fleet to a fleet, with a place for what
// happens to them.
const pcCalm = `
name: planted
clients: 4
fleets:
  - name: pumps
    share: 50%
    client_id: "pumps-{run}-{index:06}"
    connect: {rate: 2000/s}
    reconnect: {policy: immediate}
    subscribe: [{topic: "ping/{client}", qos: 1}]
  - name: sinks
    share: 50%
    client_id: "sinks-{run}-{index:06}"
    connect: {rate: 2000/s}
    reconnect: {policy: immediate}
    subscribe: [{topic: "up/+/{client}", qos: 2}, {topic: "ping/{client}", qos: 1}]
traffic:
  - {from: pumps, to: sinks, topic: "up/zero/{client}", qos: 0, each: 10/s}
  - {from: pumps, to: sinks, topic: "up/one/{client}", qos: 1, each: 20/s}
  - {from: pumps, to: sinks, topic: "up/two/{client}", qos: 2, each: 20/s}
  # bursts
phases:
  - {name: connect, until: {connected: 100%}, timeout: 20s}
  - {name: steady, for: 800ms}
  # storm
  - {name: drain, until: {quiet: 300ms}, timeout: 10s}
`

// pcStorm puts a fault into pcCalm, and a burst of traffic that is on its way
// when it acts.
func pcStorm(fault string, bursts ...string) []string {
	return []string{
		"# storm", "- {name: storm, faults: [" + fault + "], until: {back: 100%}, timeout: 2s}",
		"# bursts", strings.Join(bursts, "\n  "),
	}
}

// Bursts of eight messages just before a fault acts on a pump.
const (
	pcBurst1 = `- {from: pumps, to: sinks, topic: "up/b1/{client}", qos: 1, at: fault, burst: 8}`
	pcBurst2 = `- {from: pumps, to: sinks, topic: "up/b2/{client}", qos: 2, at: fault, burst: 8}`

	// Two messages back to back, so that neither has its answer yet.
	pcPairs = `- {from: pumps, to: sinks, topic: "up/b1/{client}", qos: 1, each: 20/s, burst: 2}`

	// What the broker answers to the burst is not read: the messages have to
	// be sent again. Five times, since a cut may find one message alone.
	pcUnacked1 = "cut: {fleet: pumps, times: 5, every: 100ms, packet: PUBACK, direction: in, side: before}"
	pcUnacked2 = "cut: {fleet: pumps, times: 5, every: 100ms, packet: PUBREC, direction: in, side: before}"
)

func TestPlantedClient(t *testing.T) {
	for _, c := range []struct {
		name  string
		calm  []string // changes of pcCalm
		lib   func(fired *atomic.Int64) fleet.Driver
		want  pcWant
		fired int64 // how often the fault must have acted at least; 0 = once
	}{
		{name: "nothing planted", lib: func(fired *atomic.Int64) fleet.Driver {
			fired.Add(1)
			return pcLib("sinks", func() lie { return func(_ bool, _ *mqtt.Packet, raw []byte) [][]byte { return passes(raw) } })
		}},
		{name: "acknowledged and not handled", want: pcWant{"lost-in-client": pcSubscriber}, lib: func(fired *atomic.Int64) fleet.Driver {
			return pcBent("sinks", pcHandling("up/one/", 5, func(func()) { fired.Add(1) }))
		}},
		{name: "QoS 2 acknowledged and not handled", want: pcWant{"lost-in-client": pcSubscriber}, lib: func(fired *atomic.Int64) fleet.Driver {
			return pcBent("sinks", pcHandling("up/two/", 5, func(func()) { fired.Add(1) }))
		}},
		{name: "QoS 2 handled twice", want: pcWant{"duplicated": pcSubscriber}, lib: func(fired *atomic.Int64) fleet.Driver {
			return pcBent("sinks", pcHandling("up/two/", 5, func(call func()) { fired.Add(1); call(); call() }))
		}},
		{name: "QoS 1 handled twice", want: pcWant{"duplicated": pcSubscriber}, lib: func(fired *atomic.Int64) fleet.Driver {
			return pcBent("sinks", pcHandling("up/one/", 5, func(call func()) { fired.Add(1); call(); call() }))
		}},
		{name: "QoS 0 handled twice", want: pcWant{"duplicated": pcSubscriber}, lib: func(fired *atomic.Int64) fleet.Driver {
			return pcBent("sinks", pcHandling("up/zero/", 3, func(call func()) { fired.Add(1); call(); call() }))
		}},
		{name: "PUBLISH after PUBREL", want: pcWant{"publish-after-pubrel": pcPublisher, "duplicated": pcPublisher}, lib: func(fired *atomic.Int64) fleet.Driver {
			return pcLib("pumps", func() lie { return pcAfterPubrel(fired) })
		}},
		{name: "resent out of order", calm: pcStorm(pcUnacked1, pcBurst1), want: pcWant{"resend-order": pcPublisher}, lib: func(fired *atomic.Int64) fleet.Driver {
			return pcLib("pumps", func() lie { return pcSwapped(fired, 1) })
		}},
		{name: "QoS 2 resent out of order", calm: pcStorm(pcUnacked2, pcBurst2), want: pcWant{"resend-order": pcPublisher}, lib: func(fired *atomic.Int64) fleet.Driver {
			return pcLib("pumps", func() lie { return pcSwapped(fired, 2) })
		}},
		{name: "resent under another id", calm: pcStorm(pcUnacked1, pcBurst1), want: pcWant{"packet-id": pcPublisher}, lib: func(fired *atomic.Int64) fleet.Driver {
			return pcLib("pumps", func() lie { return pcMoved(fired, 1) })
		}},
		{name: "QoS 2 resent under another id", calm: pcStorm(pcUnacked2, pcBurst2), want: pcWant{"packet-id": pcPublisher}, lib: func(fired *atomic.Int64) fleet.Driver {
			return pcLib("pumps", func() lie { return pcMoved(fired, 2) })
		}},
		{name: "resent without DUP", calm: pcStorm(pcUnacked1, pcBurst1), want: pcWant{"dup-flag": pcPublisher}, lib: func(fired *atomic.Int64) fleet.Driver {
			return pcLib("pumps", func() lie {
				return pcOnce(fired, pcResent(1), func(raw []byte) [][]byte { return passes(pcDup(raw, false)) })
			})
		}},
		{name: "QoS 2 resent without DUP", calm: pcStorm(pcUnacked2, pcBurst2), want: pcWant{"dup-flag": pcPublisher}, lib: func(fired *atomic.Int64) fleet.Driver {
			return pcLib("pumps", func() lie {
				return pcOnce(fired, pcResent(2), func(raw []byte) [][]byte { return passes(pcDup(raw, false)) })
			})
		}},
		{name: "first sent with DUP", want: pcWant{"dup-flag": pcPublisher}, lib: func(fired *atomic.Int64) fleet.Driver {
			return pcLib("pumps", func() lie {
				return pcOnce(fired, func(out bool, p *mqtt.Packet) bool { return out && pcData(p, 1, 5) }, func(raw []byte) [][]byte { return passes(pcDup(raw, true)) })
			})
		}},
		{name: "never resent", calm: pcStorm(pcUnacked1, pcBurst1), want: pcWant{"stuck": pcPublisher}, lib: func(fired *atomic.Int64) fleet.Driver {
			return pcLib("pumps", func() lie { return pcForgotten(fired, 1) })
		}},
		{name: "QoS 2 never resent", calm: pcStorm(pcUnacked2, pcBurst2), want: pcWant{"stuck": pcPublisher}, lib: func(fired *atomic.Int64) fleet.Driver {
			return pcLib("pumps", func() lie { return pcForgotten(fired, 2) })
		}},
		{name: "read and not answered", want: pcWant{"stuck": pcSubscriber}, lib: func(fired *atomic.Int64) fleet.Driver {
			return pcLib("sinks", func() lie { return pcSilent(fired, 1) })
		}},
		{name: "QoS 2 read and not answered", want: pcWant{"stuck": pcSubscriber}, lib: func(fired *atomic.Int64) fleet.Driver {
			return pcLib("sinks", func() lie { return pcSilent(fired, 2) })
		}},
		{name: "two messages under one id", calm: []string{"# bursts", pcPairs}, want: pcWant{"packet-id": pcPublisher}, lib: func(fired *atomic.Int64) fleet.Driver {
			return pcLib("pumps", func() lie { return pcClash(fired, 1) })
		}},
		{name: "QoS 2 two messages under one id", calm: []string{"# bursts", strings.Replace(pcPairs, "qos: 1", "qos: 2", 1)}, want: pcWant{"packet-id": pcPublisher}, lib: func(fired *atomic.Int64) fleet.Driver {
			return pcLib("pumps", func() lie { return pcClash(fired, 2) })
		}},
		{name: "PUBREL never sent again", calm: pcStorm("cut: {fleet: pumps, packet: PUBREL, direction: out, side: before}", pcBurst2), want: pcWant{"stuck": pcPublisher, "lost": pcUnknown}, lib: func(fired *atomic.Int64) fleet.Driver {
			return pcLib("pumps", func() lie { return pcNoPubrel(fired) })
		}},
		{name: "resent after a clean start", calm: append(pcStorm(pcUnacked1, pcBurst1), pcCleanPumps...), want: pcWant{"resend-after-clean": pcPublisher}, lib: func(fired *atomic.Int64) fleet.Driver {
			return pcLib("pumps", func() lie { return pcRevived(fired, 1) })
		}},
		{name: "QoS 2 resent after a clean start", calm: append(pcStorm(pcUnacked2, pcBurst2), pcCleanPumps...), want: pcWant{"resend-after-clean": pcPublisher}, lib: func(fired *atomic.Int64) fleet.Driver {
			return pcLib("pumps", func() lie { return pcRevived(fired, 2) })
		}},
		{name: "handled and never read", want: pcWant{"unexpected": pcSubscriber}, lib: func(fired *atomic.Int64) fleet.Driver {
			return pcBent("sinks", pcInvented(fired))
		}},
		{name: "PUBACK for nothing", want: pcWant{"unknown-ack": pcSubscriber}, lib: func(fired *atomic.Int64) fleet.Driver {
			return pcLib("sinks", func() lie { return pcExtra(fired, mqtt.AppendPuback(nil, 60000)) })
		}},
		{name: "PUBCOMP for nothing", want: pcWant{"unknown-ack": pcSubscriber}, lib: func(fired *atomic.Int64) fleet.Driver {
			return pcLib("sinks", func() lie { return pcExtra(fired, mqtt.AppendPubcomp(nil, 60000)) })
		}},
		{name: "PINGREQ after DISCONNECT", calm: pcStorm("disconnect: {fleet: sinks}"), want: pcWant{"server-packet": pcClient}, lib: func(fired *atomic.Int64) fleet.Driver {
			return pcLib("sinks", func() lie { return pcAfterDisconnect(fired) })
		}},
		{name: "never returns", calm: pcStorm("close: {fleet: sinks}"), want: pcWant{"never-returned": pcClient}, lib: func(fired *atomic.Int64) fleet.Driver {
			return pcBent("sinks", func(s *fleet.Settings) {
				s.Backoff = func(int) time.Duration { fired.Add(1); return time.Hour }
			})
		}},
		{name: "closes its own connection", want: pcWant{"unscripted": pcClient}, lib: func(fired *atomic.Int64) fleet.Driver {
			return pcBent("sinks", pcDialled(func(c net.Conn) net.Conn {
				return lying(c, func(out bool, p *mqtt.Packet, raw []byte) [][]byte {
					if !out && pcData(p, 1, 5) && fired.Add(1) == 1 {
						c.Close() //nolint:errcheck // that is the fault
					}
					return passes(raw)
				})
			}))
		}},
		{name: "published twice as new", want: pcWant{"packet-id": pcPublisher}, lib: func(fired *atomic.Int64) fleet.Driver {
			return pcLib("pumps", func() lie { return pcTwice(fired, 1) })
		}},
		{name: "QoS 2 published twice as new", want: pcWant{"packet-id": pcPublisher, "duplicated": pcPublisher}, lib: func(fired *atomic.Int64) fleet.Driver {
			return pcLib("pumps", func() lie { return pcTwice(fired, 2) })
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var fired atomic.Int64
			r := pcPlay(t, pcCalm, c.lib(&fired), c.calm...)
			if n := fired.Load(); n < max(c.fired, 1) {
				t.Fatalf("the fault acted %d times", n)
			}
			if r.ExitCode != map[bool]int{true: ExitPass, false: ExitFail}[len(c.want) == 0] {
				t.Errorf("exit %d", r.ExitCode)
			}
			r.exactly(t, c.want)
		})
	}
}

// TestPlantedSilence: a library lets its keep alive pass. The broker has to end
// the connection, and that is the library's doing. The broker of this process
// does so at once, if the keep alive is even (mochi 2.7.9 closes at 1 s of 1.5 s
// where it is 1 s: a whole number); mosquitto 2.0.11 looks every 5 s only.
func TestPlantedSilence(t *testing.T) {
	const quiet = `
name: silence
clients: 2
fleets:
  - name: sinks
    client_id: "sinks-{run}-{index:06}"
    session: {keep_alive: 2s}
    reconnect: {policy: immediate}
    subscribe: [{topic: "up/{client}", qos: 0}]
traffic: [{from: control, to: sinks, topic: "up/{client}", qos: 0, each: 10/s}]
phases:
  - {name: connect, until: {connected: 100%}, timeout: 20s}
  - {name: steady, for: 5s}
  - {name: drain, until: {quiet: 300ms}, timeout: 10s}
`
	t.Parallel()
	var fired atomic.Int64
	r := pcPlayOn(t, "embedded", quiet, pcLib("sinks", func() lie {
		return func(out bool, p *mqtt.Packet, raw []byte) [][]byte {
			if out && p.Type == mqtt.PINGREQ {
				fired.Add(1)
				return nil
			}
			return passes(raw)
		}
	}))
	if fired.Load() == 0 || r.Unscripted.Clients != 1 || r.Unscripted.Ends != 1 {
		t.Errorf("%d PINGREQs were swallowed, %+v", fired.Load(), r.Unscripted)
	}
	r.exactly(t, pcWant{"unscripted": pcClient})
}

// TestPlantedControl is the control experiment: the same storms with the library
// under test, whose own faults show, and with the strict one, with which nothing
// turns. So neither the broker nor the harness made them.
func TestPlantedControl(t *testing.T) {
	storms := []string{"# storm", strings.Join([]string{
		"- {name: uncompleted, faults: [cut: {fleet: nodes, packet: PUBCOMP, direction: in, side: before}], until: {back: 100%}, timeout: 3s}",
		"- {name: unreceived, faults: [cut: {fleet: nodes, packet: PUBREC, direction: out, side: before}], until: {back: 100%}, timeout: 3s}",
	}, "\n  ")}
	clean := []string{
		"# storm", "- {name: unacknowledged, faults: [cut: {fleet: nodes, times: 5, every: 100ms, packet: PUBACK, direction: in, side: before}], until: {back: 100%}, timeout: 3s}",
		`subscribe: [{topic: "down`, `session: {clean: true}` + "\n    " + `subscribe: [{topic: "down`,
	}
	for _, c := range []struct {
		name        string
		change      []string
		must, might pcWant // with paho
	}{
		{"storms", storms, pcWant{"publish-after-pubrel": pcPublisher, "duplicated": pcPublisher + "+" + pcSubscriber}, pcWant{"dup-flag": pcPublisher}},
		{"clean starts", clean, pcWant{"resend-after-clean": pcPublisher}, pcWant{"duplicated": pcPublisher, "dup-flag": pcPublisher}},
	} {
		for _, d := range []fleet.Driver{fleet.Paho{}, fleet.Strict{}} {
			t.Run(c.name+" "+d.Info().Name, func(t *testing.T) {
				t.Parallel()
				r := pcPlay(t, pcNodes, d, c.change...)
				if d == (fleet.Driver)(fleet.Strict{}) {
					r.exactly(t, pcWant{})
					return
				}
				got := r.turned()
				for name, charge := range c.might {
					if got[name] == charge {
						delete(got, name)
					}
				}
				if !maps.Equal(got, c.must) {
					t.Errorf("turned %v, want %v", got, c.must)
					r.show(t)
				}
			})
		}
	}
}

// pcOnce puts something else in the place of the first packet that is meant.
func pcOnce(fired *atomic.Int64, meant func(out bool, p *mqtt.Packet) bool, instead func(raw []byte) [][]byte) lie {
	return func(out bool, p *mqtt.Packet, raw []byte) [][]byte {
		if meant(out, p) && fired.Add(1) == 1 {
			return instead(raw)
		}
		return passes(raw)
	}
}

// pcResent means PUBLISHes of a QoS that are sent again.
func pcResent(qos byte) func(out bool, p *mqtt.Packet) bool {
	return func(out bool, p *mqtt.Packet) bool { return out && pcData(p, qos, 1) && p.Dup() }
}

// pcForgotten never sends the first message again that it should.
func pcForgotten(fired *atomic.Int64, qos byte) lie {
	meant := pcResent(qos)
	var stream uint32
	var seq uint64
	return func(out bool, p *mqtt.Packet, raw []byte) [][]byte {
		if meant(out, p) && (stream == 0 || stream == p.Header.Stream && seq == p.Header.Seq) {
			stream, seq = p.Header.Stream, p.Header.Seq
			fired.Add(1)
			return nil
		}
		return passes(raw)
	}
}

// pcCleanPumps gives the pumps clean sessions.
var pcCleanPumps = []string{"subscribe: [{topic: \"ping/{client}\", qos: 1}]\n  - name: sinks", "session: {clean: true}\n    subscribe: [{topic: \"ping/{client}\", qos: 1}]\n  - name: sinks"}

// pcRevived sends a message of the session before, which the broker has not
// answered, behind what it writes first on its next connection.
func pcRevived(fired *atomic.Int64, qos byte) lie {
	connects := 0
	open := map[uint16][]byte{}
	var id uint16
	return func(out bool, p *mqtt.Packet, raw []byte) [][]byte {
		switch {
		case out && p.Type == mqtt.CONNECT:
			connects++
		case out && connects == 1 && pcData(p, qos, 1):
			open[p.ID] = pcDup(raw, true)
		case !out && connects == 1 && (p.Type == mqtt.PUBACK || p.Type == mqtt.PUBREC):
			delete(open, p.ID)
		case out && connects == 2 && fired.Load() == 0:
			for i, old := range open {
				id = i
				fired.Add(1)
				return [][]byte{raw, old}
			}
		case !out && id != 0 && p.ID == id && connects == 2 && p.Type == mqtt.PUBCOMP:
			return nil // the library knows of nothing
		}
		return passes(raw)
	}
}

// pcInvented calls the handler with a message that was never read.
func pcInvented(fired *atomic.Int64) func(*fleet.Settings) {
	return func(s *fleet.Settings) {
		next := s.OnMessage
		s.OnMessage = func(topic string, payload []byte) {
			next(topic, payload)
			h, err := mqtt.ParsePayload(payload)
			if err == nil && h.Kind == mqtt.KindData && strings.HasPrefix(topic, "up/one/") && fired.Add(1) == 5 {
				h.Seq += 1000
				forged := make([]byte, len(payload))
				mqtt.PutPayload(forged, h)
				next(topic, forged)
			}
		}
	}
}

// pcAfterPubrel sends a PUBLISH again right behind its PUBREL, with DUP as it
// has to be.
func pcAfterPubrel(fired *atomic.Int64) lie {
	var id uint16
	var publish []byte
	return func(out bool, p *mqtt.Packet, raw []byte) [][]byte {
		switch {
		case out && pcData(p, 2, 5) && publish == nil:
			id, publish = p.ID, pcDup(raw, true)
		case out && p.Type == mqtt.PUBREL && p.ID == id && fired.Add(1) == 1:
			return [][]byte{raw, publish}
		}
		return passes(raw)
	}
}

// pcSwapped sends the first PUBLISH that is sent again behind the second one,
// where the one follows the other.
func pcSwapped(fired *atomic.Int64, qos byte) lie {
	meant := pcResent(qos)
	var held []byte
	return func(out bool, p *mqtt.Packet, raw []byte) [][]byte {
		first := held
		switch {
		case !out:
		case p.Type == mqtt.CONNECT:
			held = nil // it died with its connection
		case first != nil && meant(out, p) && fired.Add(1) > 0:
			held = nil
			return [][]byte{raw, first}
		case first != nil:
			held = nil
			return [][]byte{first, raw}
		case meant(out, p) && fired.Load() == 0:
			held = bytes.Clone(raw)
			return nil
		}
		return passes(raw)
	}
}

// pcMoved sends one PUBLISH again under another id, under which the rest of its
// exchange goes on.
func pcMoved(fired *atomic.Int64, qos byte) lie {
	const other = 40000
	meant := pcResent(qos)
	var id uint16
	return func(out bool, p *mqtt.Packet, raw []byte) [][]byte {
		switch {
		case meant(out, p) && fired.Add(1) == 1:
			id = p.ID
			return passes(pcID(p, raw, other))
		case id != 0 && p.Type == mqtt.PUBREL && out && p.ID == id:
			return passes(pcID(p, raw, other))
		case id != 0 && !out && p.ID == other && (p.Type == mqtt.PUBACK || p.Type == mqtt.PUBREC || p.Type == mqtt.PUBCOMP):
			return passes(pcID(p, raw, id))
		}
		return passes(raw)
	}
}

// pcSilent keeps the answer to one message to itself.
func pcSilent(fired *atomic.Int64, qos byte) lie {
	var id uint16
	return func(out bool, p *mqtt.Packet, raw []byte) [][]byte {
		switch {
		case !out && pcData(p, qos, 5) && id == 0:
			id = p.ID
		case out && id != 0 && p.ID == id && (p.Type == mqtt.PUBACK || p.Type == mqtt.PUBREC) && fired.Add(1) == 1:
			return nil
		}
		return passes(raw)
	}
}

// pcClash sends the second message of a burst under the id of the first one,
// and gives the library back its own id in the second answer.
func pcClash(fired *atomic.Int64, qos byte) lie {
	var first, second uint16
	answers := 0
	answer := map[byte]mqtt.Type{1: mqtt.PUBACK, 2: mqtt.PUBREC}[qos]
	return func(out bool, p *mqtt.Packet, raw []byte) [][]byte {
		switch burst := out && pcData(p, qos, 1) && strings.HasPrefix(string(p.Topic), "up/b1/") && !p.Dup(); {
		case burst && first == 0:
			first = p.ID
		case burst && second == 0:
			second = p.ID
			fired.Add(1)
			return passes(pcID(p, raw, first))
		case !out && p.Type == answer && first != 0 && p.ID == first:
			if answers++; answers == 2 {
				return passes(pcID(p, raw, second))
			}
		}
		return passes(raw)
	}
}

// pcNoPubrel forgets, on its second connection, the first PUBREL that is due.
func pcNoPubrel(fired *atomic.Int64) lie {
	connects := 0
	return func(out bool, p *mqtt.Packet, raw []byte) [][]byte {
		switch {
		case out && p.Type == mqtt.CONNECT:
			connects++
		case out && p.Type == mqtt.PUBREL && connects == 2 && fired.Add(1) == 1:
			return nil
		}
		return passes(raw)
	}
}

// pcExtra writes a packet more behind one of its answers.
func pcExtra(fired *atomic.Int64, extra []byte) lie {
	return func(out bool, p *mqtt.Packet, raw []byte) [][]byte {
		if out && p.Type == mqtt.PUBACK && fired.Add(1) == 5 {
			return [][]byte{raw, extra}
		}
		return passes(raw)
	}
}

// pcAfterDisconnect goes on writing when it has said goodbye.
func pcAfterDisconnect(fired *atomic.Int64) lie {
	return func(out bool, p *mqtt.Packet, raw []byte) [][]byte {
		if out && p.Type == mqtt.DISCONNECT && fired.Add(1) == 1 {
			return [][]byte{raw, mqtt.AppendPingreq(nil)}
		}
		return passes(raw)
	}
}

// pcTwice publishes one message twice, as two new ones, and brings both
// exchanges to their end.
func pcTwice(fired *atomic.Int64, qos byte) lie {
	const other = 40000
	var id uint16
	var received, released, done bool // PUBREC of the second read; PUBREL of the first, of the second written
	return func(out bool, p *mqtt.Packet, raw []byte) [][]byte {
		switch {
		case out && pcData(p, qos, 5) && fired.Add(1) == 1:
			id = p.ID
			return [][]byte{raw, pcID(p, raw, other)}
		case !out && id != 0 && p.ID == other && p.Type != mqtt.PUBLISH:
			received = received || p.Type == mqtt.PUBREC
			return nil // the library knows of the first only
		case out && p.Type == mqtt.PUBREL && p.ID == id:
			released = true
			if received {
				done = true
				return [][]byte{raw, mqtt.AppendPubrel(nil, other)}
			}
		case out && released && received && !done:
			done = true
			return [][]byte{mqtt.AppendPubrel(nil, other), raw}
		}
		return passes(raw)
	}
}
