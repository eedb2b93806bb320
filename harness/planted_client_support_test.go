package harness

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/rebound-mqtt/rebound/harness/fleet"
	"github.com/rebound-mqtt/rebound/harness/mqtt"
	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/reports"
)

// pcWant is what a planted fault must turn: by check, whom its findings charge,
// and nobody else; "unknown" = the check is unknown.
type pcWant map[string]string

const (
	pcPublisher  = string(timeline.ChargePublisher)
	pcSubscriber = string(timeline.ChargeSubscriber)
	pcClient     = string(timeline.ChargeClient)
	pcUnknown    = "unknown"
)

// pcNeedMosquitto fails under CI=true and skips elsewhere when the broker is
// not installed: a suite that runs against nothing must not pass in CI.
func pcNeedMosquitto(t testing.TB) {
	t.Helper()
	if _, err := exec.LookPath("mosquitto"); err == nil {
		return
	}
	if _, err := os.Stat("/usr/sbin/mosquitto"); err == nil {
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatal("mosquitto is not installed")
	}
	t.Skip("SKIPPED: mosquitto is not installed")
}

// pcRun is one whole run with its evidence.
type pcRun struct {
	*reports.Report
	dir      string
	events   []timeline.Event
	findings []timeline.Finding
}

// pcPlay runs a scenario on mosquitto with a driver, which takes the row of the
// one that has its name.
func pcPlay(t *testing.T, text string, driver fleet.Driver, change ...string) pcRun {
	t.Helper()
	pcNeedMosquitto(t)
	return pcPlayOn(t, "mosquitto", text, driver, change...)
}

// pcPlayFit is pcPlay of a run whose harness had time enough, if one of a few
// tries has: what a starved one has seen shows nothing of the case.
func pcPlayFit(t *testing.T, text string, driver fleet.Driver, change ...string) pcRun {
	t.Helper()
	for try := 1; ; try++ {
		if r := pcPlay(t, text, driver, change...); try == pbTries || !pbStarved(r.Report) {
			return r
		}
	}
}

// pcPlayOn runs a scenario on a target.
func pcPlayOn(t *testing.T, target, text string, driver fleet.Driver, change ...string) pcRun {
	t.Helper()
	sc := scenario(t, text, change...)
	tables := DefaultTables()
	tables.Drivers = append(tables.Drivers, driver)
	plan, err := NewPlan(sc, PlanOptions{Tables: tables, Target: target, Driver: driver.Info().Name})
	if err != nil {
		t.Fatal(err)
	}
	r, dir := pbRun(t, plan, Options{Tables: tables, Version: "test"})
	run := pcRun{Report: r, dir: dir}
	pcRead(t, dir, "events.jsonl.gz", func(f *os.File) (err error) {
		run.events, err = timeline.Read(f)
		return err
	})
	pcRead(t, dir, "findings.jsonl.gz", func(f *os.File) (err error) {
		run.findings, err = timeline.ReadFindings(f)
		return err
	})
	return run
}

func pcRead(t *testing.T, dir, name string, read func(*os.File) error) {
	t.Helper()
	f, err := os.Open(filepath.Join(dir, name))
	if errors.Is(err, os.ErrNotExist) && name == "findings.jsonl.gz" {
		return // there were none
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // read only
	if err := read(f); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

// turned gives the checks that are invalid, with whom they charge, or unknown.
func (r pcRun) turned() pcWant {
	got := pcWant{}
	for _, c := range r.Checks {
		switch c.Verdict {
		case reports.Invalid:
			got[c.Name] = strings.Join(slices.Sorted(maps.Keys(c.Charges)), "+")
		case reports.Unknown:
			got[c.Name] = pcUnknown
		}
	}
	return got
}

// exactly says that these checks turned, by these charges, and no other.
func (r pcRun) exactly(t *testing.T, want pcWant) {
	t.Helper()
	if got := r.turned(); !maps.Equal(got, want) {
		t.Errorf("turned %v, want %v", got, want)
	}
	if t.Failed() {
		r.show(t)
	}
}

// show logs what turned with its evidence.
func (r pcRun) show(t *testing.T) {
	t.Helper()
	for _, c := range r.Checks {
		if c.Verdict == reports.Invalid || c.Verdict == reports.Unknown {
			t.Logf("%s is %s: %s\n\t%s", c.Name, c.Verdict, c.Detail, strings.Join(c.Examples, "\n\t"))
		}
		if c.Warnings > 0 {
			t.Logf("%s warns %d times: %s", c.Name, c.Warnings, strings.Join(c.Warned, "\n\t"))
		}
	}
	for _, m := range r.Messages {
		if m.Balance != "" {
			t.Logf("QoS %d: %+v", m.QoS, m)
		}
	}
	for _, f := range r.findings {
		t.Logf("finding %s (%s) %s connection %d id %d: %s %s\n\tlast %s", f.Rule, f.Charge, f.ClientID, f.N, f.PacketID, f.Detail, f.Kind, pcPackets(f.Last))
	}
}

// pcPackets writes the last packets of a connection.
func pcPackets(list []timeline.Packet) string {
	var words []string
	for _, p := range list {
		arrow := "<"
		if p.Out {
			arrow = ">"
		}
		words = append(words, fmt.Sprintf("%s%s/%d.%x", arrow, p.Type, p.ID, p.Flags))
	}
	return strings.Join(words, " ")
}

// pcLib is the strict driver with a fault in one client: the first one of a
// fleet.
func pcLib(fleetName string, l func() lie) fleet.Driver {
	return lyingLibrary(fleet.Strict{}, func(id string) lie {
		if !pcFirst(fleetName, id) {
			return nil
		}
		return pcLocked(l())
	})
}

// pcBent is the strict driver with changed settings in one client.
func pcBent(fleetName string, bend func(*fleet.Settings)) fleet.Driver {
	return bentDriver{fleet.Strict{}, func(s *fleet.Settings) {
		if pcFirst(fleetName, s.ClientID) {
			bend(s)
		}
	}}
}

// pcFirst reports whether it is the id of the first client of a fleet.
func pcFirst(fleetName, id string) bool {
	return strings.HasPrefix(id, fleetName+"-") && strings.HasSuffix(id, "-000000")
}

// pcLocked lets a lie keep state over both directions and all connections.
func pcLocked(l lie) lie {
	var mu sync.Mutex
	return func(out bool, p *mqtt.Packet, raw []byte) [][]byte {
		mu.Lock()
		defer mu.Unlock()
		return l(out, p, raw)
	}
}

// pcData reports whether a packet is a PUBLISH of the traffic at a QoS, with a
// number from seq on.
func pcData(p *mqtt.Packet, qos byte, seq uint64) bool {
	return p.Type == mqtt.PUBLISH && p.QoS() == qos && p.HeaderErr == nil && p.Header.Kind == mqtt.KindData && p.Header.Seq >= seq
}

// pcID gives the packet with another packet id.
func pcID(p *mqtt.Packet, raw []byte, id uint16) []byte {
	raw = bytes.Clone(raw)
	at := 2 // PUBACK and its like: two bytes of fixed header
	if p.Type == mqtt.PUBLISH {
		at = len(raw) - p.Payload - 2
	}
	raw[at], raw[at+1] = byte(id>>8), byte(id)
	return raw
}

// pcDup gives a PUBLISH with another DUP.
func pcDup(raw []byte, dup bool) []byte {
	raw = bytes.Clone(raw)
	raw[0] &^= 8
	if dup {
		raw[0] |= 8
	}
	return raw
}

// pcHandling changes what the application's handler is called with: messages of
// the traffic with this number on topics that begin so.
func pcHandling(topic string, seq uint64, instead func(call func())) func(*fleet.Settings) {
	return func(s *fleet.Settings) {
		next := s.OnMessage
		s.OnMessage = func(name string, payload []byte) {
			h, err := mqtt.ParsePayload(payload)
			if err == nil && h.Kind == mqtt.KindData && h.Seq == seq && strings.HasPrefix(name, topic) {
				instead(func() { next(name, payload) })
				return
			}
			next(name, payload)
		}
	}
}

// pcDialled changes each connection of a client.
func pcDialled(wrap func(net.Conn) net.Conn) func(*fleet.Settings) {
	return func(s *fleet.Settings) {
		dial := s.Dial
		s.Dial = func(ctx context.Context) (net.Conn, error) {
			c, err := dial(ctx)
			if err != nil {
				return nil, err
			}
			return wrap(c), nil
		}
	}
}

// frames gives the packets that frame faults acted on.
func (r pcRun) frames() (list []timeline.Frame) {
	for _, e := range r.events {
		if e.Frame != nil {
			list = append(list, *e.Frame)
		}
	}
	return list
}

// count adds up a number of all QoS.
func (r pcRun) count(of func(reports.Messages) int64) (n int64) {
	for _, m := range r.Messages {
		n += of(m)
	}
	return n
}
