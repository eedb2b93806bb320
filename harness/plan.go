package harness

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net"
	"net/url"
	"strconv"
	"time"

	"github.com/rebound-mqtt/rebound/harness/broker"
	"github.com/rebound-mqtt/rebound/harness/closeconn"
	"github.com/rebound-mqtt/rebound/harness/measure"
	"github.com/rebound-mqtt/rebound/scenarios"
)

// Who closes connections.
const (
	CloserAPI = "close-connection" // the CloseConnection endpoint
	CloserFIN = "fin"              // a FIN from below the tap, on our side
)

// PlanOptions are what a plan is made with, beside the scenario.
type PlanOptions struct {
	Tables

	Seed     *uint64 // nil = the scenario's
	Clients  int     // 0 = the scenario's; scales every fleet in proportion
	Target   string  // a row of the target table, or tcp://HOST:PORT; "" = embedded
	Endpoint string  // CloseConnection URL of an address
	Kick     string  // "" = by the endpoint; "fin"
	// TargetFile is a broker with what it promises; Target is then its
	// TargetName. nil = none.
	TargetFile *scenarios.Target
	Driver     string // a row of the driver table; "" = DefaultDriver
	// CloseRate is the pace of the CloseConnection API in calls per second; 0 or
	// less = none. It changes no plan, but refuses one that it can not keep up with.
	CloseRate float64
}

// maxClients is far above what any one process can hold; it keeps a typing
// mistake from eating the memory.
const maxClients = 10_000_000

// CheckTarget says whether target, endpoint and kick go together: a usage
// error that names what is missing.
func (t Tables) CheckTarget(name, endpoint, kick string) error {
	row, err := t.target(name)
	if err != nil {
		return err
	}
	if kick != "" && kick != CloserFIN {
		return Usage(fmt.Errorf("--kick %q: this version knows only fin", kick))
	}
	if row.Name != broker.KindAddress && row.Name != broker.KindCommand {
		if endpoint != "" {
			return Usage(fmt.Errorf("--close-endpoint is for an address, not for target %s", row.Name))
		}
		return nil
	}
	isAddress := row.Name == broker.KindAddress
	if isAddress {
		if err := checkAddress(name); err != nil {
			return Usage(err)
		}
	}
	switch {
	case isAddress && endpoint == "" && kick == "":
		return Usage(fmt.Errorf("target %s: who closes its connections? Give --close-endpoint URL (an endpoint of the CloseConnection API) or --kick fin (a FIN from this side)", name))
	case endpoint != "" && kick != "":
		return Usage(errors.New("--close-endpoint and --kick exclude each other"))
	case endpoint != "":
		if err := closeconn.CheckEndpoint(endpoint); err != nil {
			return Usage(fmt.Errorf("--close-endpoint: %w", err))
		}
	}
	return nil
}

// checkAddress refuses what the run could not dial, before anything is made.
func checkAddress(addr string) error {
	u, err := url.Parse(addr)
	if err != nil {
		return fmt.Errorf("target %q: want tcp://HOST:PORT", addr)
	}
	switch u.Scheme {
	case "tcp":
	case "tls", "ssl", "mqtts", "ws", "wss":
		return fmt.Errorf("target %q: %s is known, not in this version", addr, u.Scheme)
	default:
		return fmt.Errorf("target %q: want tcp://HOST:PORT", addr)
	}
	host, port, err := net.SplitHostPort(u.Host)
	if err != nil || host == "" || port == "" || u.Path != "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return fmt.Errorf("target %q: want tcp://HOST:PORT and nothing else", addr)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return fmt.Errorf("target %q: %s is no port", addr, port)
	}
	return nil
}

// NewPlan resolves a scenario into the seeded timetable of one run. It is
// pure: equal arguments give an equal plan. Mistakes in the scenario's fault
// parameters are a scenarios.Errors with their positions.
func NewPlan(sc *scenarios.Scenario, o PlanOptions) (*scenarios.Plan, error) {
	if o.TargetFile != nil {
		o.Target, o.Tables = TargetName(o.TargetFile), o.With(o.TargetFile)
	}
	if o.Target == "" {
		o.Target = broker.KindEmbedded
	}
	if o.Clients < 0 || o.Clients > maxClients {
		return nil, Usage(fmt.Errorf("--clients %d: want 1 to %d", o.Clients, maxClients))
	}
	row, err := o.target(o.Target)
	if err != nil {
		return nil, err
	}
	p := &scenarios.Plan{
		SchemaVersion: scenarios.PlanVersion,
		Scenario:      sc.Name, Summary: sc.Summary, ScenarioHash: scenarios.Hash(sc),
		Seed: sc.Seed, Target: o.Target, Closer: CloserAPI, Clients: sc.Clients,
		Driver:  cmp.Or(o.Driver, DefaultDriver),
		Traffic: sc.Traffic, Expect: sc.Expect,
	}
	if err := o.checkDriver(p.Driver); err != nil {
		return nil, err
	}
	if o.Seed != nil {
		p.Seed = *o.Seed
	}
	if o.Clients > 0 {
		p.Clients = o.Clients
	}
	if ownSide(o.Target, o.Kick, o.Endpoint) {
		p.Closer = CloserFIN
	}
	if p.Fleets, err = planFleets(sc.Fleets, p.Clients); err != nil {
		return nil, err
	}
	for i := range p.Fleets {
		f := &p.Fleets[i]
		f.Probe = scenarios.ProbeTopic(sc.Fleets, i)
		f.Back = scenarios.EffectiveBack(f.Fleet, f.Probe)
		f.SetLabels(mix(p.Seed, "labels of "+f.Name, 0, 0) >> 11) // 53 bits, as a seed that is written
	}
	redelivery := time.Duration(row.Abilities.RedeliveryWait * float64(time.Second))
	mistakes := undecidable(sc)
	for i, ph := range sc.Phases {
		if ph.Until.Drains() && i != len(sc.Phases)-1 {
			return nil, Usage(fmt.Errorf("phase %s: until %s is the drain, which ends the traffic for good: it can only be the last phase", ph.Name, drainKey(ph.Until)))
		}
		pp, err := planPhase(ph, p, o.Tables, redelivery)
		var es scenarios.Errors
		if errors.As(err, &es) {
			mistakes = append(mistakes, es...)
			continue
		}
		if err != nil {
			return nil, err
		}
		p.Phases = append(p.Phases, pp)
	}
	if len(mistakes) > 0 {
		return nil, mistakes
	}
	if err := checkPace(p, o.CloseRate); err != nil {
		return nil, err
	}
	p.PlanHash = scenarios.PlanHash(p)
	return p, nil
}

// undecidable refuses expectations that no run of this version could decide: a
// metric of the run is neither split by fleet nor by phase and wave.
func undecidable(sc *scenarios.Scenario) scenarios.Errors {
	var mistakes scenarios.Errors
	refuse := func(x scenarios.Expectation, by, keys string) {
		mistakes = append(mistakes, scenarios.Error{Pos: x.Pos, Msg: fmt.Sprintf("%s is not split by %s in this version: leave %s out", x.Metric, by, keys)})
	}
	for _, x := range sc.Expect {
		m, found := measure.Lookup(x.Metric)
		if !found || m.Scope != measure.ScopeRun {
			continue
		}
		if x.Fleet != "" && len(sc.Fleets) > 1 {
			refuse(x, "fleet", "fleet")
		}
		if x.Phase != "" || x.Wave != "" {
			refuse(x, "phase or wave", "phase and wave")
		}
	}
	return mistakes
}

// planFleets counts the fleets out by largest remainder, so that they add up
// to the number of clients. A fleet with a share gets at least one client.
func planFleets(fleets []scenarios.Fleet, clients int) ([]scenarios.PlanFleet, error) {
	if clients < len(fleets) {
		return nil, Usage(fmt.Errorf("%d clients are too few for %d fleets", clients, len(fleets)))
	}
	out := make([]scenarios.PlanFleet, len(fleets))
	rest := make([]float64, len(fleets))
	left := clients
	for i, f := range fleets {
		exact := f.Share * float64(clients)
		n := max(1, int(exact))
		out[i] = scenarios.PlanFleet{Clients: n, Fleet: f}
		rest[i] = exact - float64(n)
		left -= n
	}
	for ; left != 0; left -= sign(left) {
		pick := -1
		for i := range rest {
			if left < 0 && out[i].Clients == 1 {
				continue
			}
			if pick < 0 || (left > 0 && rest[i] > rest[pick]) || (left < 0 && rest[i] < rest[pick]) {
				pick = i
			}
		}
		out[pick].Clients += sign(left)
		rest[pick] -= float64(sign(left))
	}
	return out, nil
}

func sign(n int) int {
	if n < 0 {
		return -1
	}
	return 1
}

// planPhase lays down the waves of a phase with their victims.
func planPhase(ph scenarios.Phase, p *scenarios.Plan, t Tables, redelivery time.Duration) (scenarios.PlanPhase, error) {
	pp := scenarios.PlanPhase{Name: ph.Name, For: ph.For, Until: ph.Until, Timeout: ph.Timeout, OnTimeout: ph.OnTimeout}
	if q := quiet(ph.Until); q > 0 && redelivery > 0 && q < redelivery+time.Second {
		longer := redelivery + time.Second // an unacknowledged message may come again until then
		pp.Until = &scenarios.Until{Quiet: &longer}
	}
	if u := ph.Until; u != nil && u.ConnectedCount > p.Clients {
		return pp, Usage(fmt.Errorf("phase %s: until connected %d is never reached by %d clients", ph.Name, u.ConnectedCount, p.Clients))
	}
	if len(ph.Faults) == 0 {
		return pp, nil
	}
	var mistakes scenarios.Errors
	late := false
	waves := steps(ph, p.Seed)
	for k, st := range waves {
		h, shortest := horizons(ph, waves, k)
		if shortest <= 0 {
			return pp, append(mistakes, scenarios.Error{Pos: ph.Faults[0].Pos, Msg: fmt.Sprintf(
				"phase %s: wave %d would begin at %s, when the phase is over (for: %s)", ph.Name, k+1, st.late, ph.For)})
		}
		w := scenarios.PlanWave{Wave: k + 1, At: st.at, Horizon: h, Overlap: ph.Repeat.Overlap && k < len(waves)-1}
		for n, spec := range ph.Faults {
			if k > 0 && !st.has(n) {
				continue // the first step looks for the mistakes of all
			}
			kind, err := t.fault(spec.Kind)
			if err != nil {
				return pp, err
			}
			pf, err := kind.Plan(spec, p.Fleets, mix(p.Seed, ph.Name, k, n))
			var es scenarios.Errors
			if errors.As(err, &es) {
				if k == 0 {
					mistakes = append(mistakes, es...)
				}
				continue
			}
			if err != nil {
				return pp, err
			}
			if last := lastOffset(pf); last >= shortest && !late {
				mistakes = append(mistakes, scenarios.Error{Pos: spec.Pos, Msg: fmt.Sprintf(
					"%s: the last victim is due %s after the start of the wave, which is watched for %s only: raise timeout or every, or spread it less",
					spec.Kind, last, shortest)})
				late = true // once is enough
			}
			pf.Note = kind.Note
			if err := t.able(kind, spec, p.Target); err != nil && k == 0 {
				mistakes = append(mistakes, scenarios.Error{Pos: spec.Pos, Msg: err.Error()})
			}
			if st.has(n) {
				w.Faults = append(w.Faults, pf)
			}
		}
		pp.Waves = append(pp.Waves, w)
	}
	if len(mistakes) > 0 {
		return pp, mistakes
	}
	if u, n := ph.Until, meant(pp); u != nil && u.BackCount > n {
		return pp, append(mistakes, scenarios.Error{Pos: ph.Faults[0].Pos, Msg: fmt.Sprintf(
			"phase %s: until back %d is never reached: its faults act on %d clients", ph.Name, u.BackCount, n)})
	}
	return pp, nil
}

// meant is the number of distinct clients that the faults of a phase act on,
// each fault at least on those that it names.
func meant(pp scenarios.PlanPhase) int {
	all := map[seat]bool{}
	for _, w := range pp.Waves {
		for _, f := range w.Faults {
			if f.Fleet == "" {
				return math.MaxInt // anybody
			}
			for _, v := range f.Victims {
				all[seat{f.Fleet, v.Client}] = true
			}
		}
	}
	return len(all)
}

// firstOffset is when the first victim of a wave is due, from its start: from
// there its horizon counts.
func firstOffset(w scenarios.PlanWave) time.Duration {
	first := time.Duration(math.MaxInt64)
	for _, f := range w.Faults {
		for _, v := range f.Victims {
			first = min(first, v.Offset)
		}
	}
	if first == math.MaxInt64 {
		return 0
	}
	return first
}

func lastOffset(pf scenarios.PlanFault) time.Duration {
	var last time.Duration
	for _, v := range pf.Victims {
		last = max(last, v.Offset)
	}
	return last
}

func drainKey(u *scenarios.Until) string {
	if u.Drained {
		return "drained"
	}
	return "quiet"
}

func quiet(u *scenarios.Until) time.Duration {
	if u == nil || u.Quiet == nil {
		return 0
	}
	return *u.Quiet
}

// mix makes the seed of one fault of one wave, independent of all others.
func mix(seed uint64, phase string, wave, fault int) uint64 {
	h := sha256.New()
	fmt.Fprintf(h, "%d/%s/%d/%d", seed, phase, wave, fault)
	return binary.BigEndian.Uint64(h.Sum(nil))
}
