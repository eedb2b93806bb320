package fault

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/rebound-mqtt/rebound/harness/target"
	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/scenarios"
)

// A door fault has the broker put up a gate for the clients of a fleet, or of
// all. The built-in clients are of no fleet, so that none of their doors is
// touched.

// needGate is what a target must be able to do for such a kind.
const needGate = "gate"

// door is what one kind of door fault adds to the parameters of all.
type door struct {
	kind     string
	doc      string
	note     string
	own      string // its parameters, as JSON Schema properties
	required string // "" or what the schema requires, with a comma
	ends     bool   // it may end connections
	// packet is what comes to the gate; passed is what became of those that passed.
	packet, passed string
	// read reads the rule, as written or as planned, and describe writes it into
	// a plan. keys are those that it reads.
	read     func(f *scenarios.Fields) target.Gate
	describe func(g target.Gate, params map[string]string)
	keys     []string
}

// connectPacket is the packet of the doors that clients come in by.
const connectPacket = "CONNECT"

// fleetProperty is the parameter fleet of a door fault.
const fleetProperty = `"fleet": {"$ref": "#/$defs/name", "description": "Fleet whose clients it is for. Default: all fleets."}`

// row is the row of the table.
func (d door) row() Kind {
	return Kind{
		Name: d.kind, Doc: d.doc, Note: d.note, Needs: []string{needGate},
		Schema: extentSchema(d.kind, `{`+d.required+`"properties": {`+fleetProperty+`, `+d.own+`}}`),
		Plan:   d.plan,
		New:    d.make,
	}
}

func (d door) plan(spec scenarios.FaultSpec, fleets []scenarios.PlanFleet, seed uint64) (scenarios.PlanFault, error) {
	var fleet string
	pf, err := planExtent(d.kind, spec, func(f *scenarios.Fields, params map[string]string) {
		fleet = f.Text("fleet", "")
		if fleet != "" && !slices.ContainsFunc(fleets, func(fl scenarios.PlanFleet) bool { return fl.Name == fleet }) {
			f.Fail("fleet", "fleet: no fleet is named %q", fleet)
		}
		d.describe(d.read(f), params)
		params["seed"] = strconv.FormatUint(seed, 10)
	})
	pf.Fleet = fleet
	return pf, err
}

func (d door) make(pf scenarios.PlanFault) (Fault, error) {
	f := fieldsOf(pf, d.keys...)
	gate := d.read(f)
	if err := f.Err(); err != nil {
		return nil, err
	}
	seed, err := seedOf(pf)
	if err != nil {
		return nil, err
	}
	gate.Seed = seed
	set := func(ctx context.Context, env *Env, g target.Gate) (target.GateTally, error) {
		keeper, ok := env.Target.(target.Gatekeeper)
		if !ok || env.Pattern == nil {
			return target.GateTally{}, ErrNotOffered
		}
		// The seed tells the faults of one wave apart.
		g.Name = fmt.Sprintf("%s %d %s %d", env.Phase, env.Wave, d.kind, seed)
		return keeper.SetGate(ctx, g)
	}
	take := func(ctx context.Context, env *Env, e *timeline.Extent) error {
		if env.Pattern != nil {
			gate.Clients = env.Pattern(pf.Fleet)
		}
		e.Fleet, e.Bars = pf.Fleet, d.packet == connectPacket
		_, err := set(ctx, env, gate)
		return err
	}
	heal := func(ctx context.Context, env *Env, e *timeline.Extent) error {
		tally, err := set(ctx, env, target.Gate{})
		if err == nil { // else what came is not known
			e.Detail = d.detail(tally)
		}
		return err
	}
	return newExtent(pf, d.ends, take, heal)
}

// detail says what came to the gate and what became of it.
func (d door) detail(t target.GateTally) string {
	text := d.counts(t)
	if t.Partial {
		text += "; what came before the broker ended is not known"
	}
	return text
}

func (d door) counts(t target.GateTally) string {
	if t.Seen == 0 {
		return "no " + d.packet + " came"
	}
	var parts []string
	for _, p := range []struct {
		n    int64
		what string
	}{
		{t.Passed, d.passed}, {t.Refused, "refused"}, {t.Closed, "closed"},
		{t.Gone, "given up by the client before their turn"},
	} {
		if p.n > 0 {
			parts = append(parts, commas(p.n)+" "+p.what)
		}
	}
	text := fmt.Sprintf("%s seen: %s", packets(t.Seen, d.packet), strings.Join(parts, ", "))
	if t.Delayed > 0 {
		text += fmt.Sprintf("; %s had to wait", commas(t.Delayed))
	}
	return text
}

// packets writes a number of packets.
func packets(n int64, packet string) string {
	switch {
	case n == 1:
		return "1 " + packet
	case packet == "PUBLISH":
		packet += "e"
	}
	return commas(n) + " " + packet + "s"
}

// commas writes a number as 1,204.
func commas(n int64) string {
	digits := strconv.FormatInt(n, 10)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

// readBucket reads the parameters of a token bucket; then is what may become of
// what is beyond it, the default first.
func readBucket(f *scenarios.Fields, kind string, then ...string) (rate float64, burst int, what string) {
	rate = f.Rate("rate", 0)
	if !f.Has("rate") {
		f.Fail("rate", "%s needs rate", kind)
	}
	burst = f.Count("burst", max(1, int(rate/10)))
	if burst == 0 {
		f.Fail("burst", "burst is 0: nothing would ever pass")
	}
	return rate, burst, readWord(f, "then", then...)
}

// readWord reads one of some words, the first by default.
func readWord(f *scenarios.Fields, key string, words ...string) string {
	word := f.Text(key, words[0])
	if !slices.Contains(words, word) {
		f.Fail(key, "%s is %q, want %s", key, word, strings.Join(words, " or "))
	}
	return word
}

func describeBucket(params map[string]string, rate float64, burst int, then string) {
	params["rate"], params["burst"], params["then"] = scenarios.FormatRate(rate), strconv.Itoa(burst), then
}

// doors is the table of the door faults.
func doors() []door {
	return []door{slowAuth(), rejectAuth(), connectLimit(), subscribeSlow(), publishQuota()}
}

// Gate makes the gate of a door fault from parameters as a scenario has them. A
// mistake is a scenarios.Errors.
func Gate(kind string, params map[string]string) (target.Gate, error) {
	for _, d := range doors() {
		if d.kind == kind {
			f := fieldsOf(scenarios.PlanFault{Kind: kind, Params: params}, slices.Sorted(maps.Keys(params))...)
			g := d.read(f)
			g.Name = kind
			return g, f.Err()
		}
	}
	return target.Gate{}, fmt.Errorf("%w: %s is none at the door", ErrUnknownKind, kind)
}
