package harness

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/rebound-mqtt/rebound/harness/broker"
	"github.com/rebound-mqtt/rebound/harness/closeconn"
	"github.com/rebound-mqtt/rebound/harness/fault"
	"github.com/rebound-mqtt/rebound/harness/fleet"
	"github.com/rebound-mqtt/rebound/harness/measure"
	"github.com/rebound-mqtt/rebound/harness/target"
	"github.com/rebound-mqtt/rebound/scenarios"
)

// TargetInfo describes a started target.
type TargetInfo = target.Info

// CurlLine is a shell command that closes one client's connection by hand.
func CurlLine(endpoint, clientID string) string {
	return strings.ReplaceAll(closeconn.CurlLine(endpoint), "CLIENT_ID", url.QueryEscape(clientID))
}

// Tables are the rows that a plan and a run may draw from. An own fault,
// driver, target or reconnect policy joins by value: append it to DefaultTables' rows.
type Tables struct {
	Faults   []fault.Kind
	Drivers  []fleet.Driver
	Targets  []broker.Row
	Policies []fleet.Policy
}

// DefaultTables are the built-in rows.
func DefaultTables() Tables {
	return Tables{Faults: fault.Kinds(), Drivers: fleet.Drivers(), Targets: broker.Rows(), Policies: fleet.Policies()}
}

func (t Tables) fault(kind string) (fault.Kind, error) {
	for _, k := range t.Faults {
		if k.Name == kind {
			return k, nil
		}
	}
	return fault.Kind{}, fmt.Errorf("%w: %s", fault.ErrUnknownKind, kind)
}

// able says whether a target can do what a fault as written needs, by its row's
// record; if not, which targets can.
func (t Tables) able(kind fault.Kind, spec scenarios.FaultSpec, target string) error {
	row, err := t.target(target)
	if err != nil {
		return err
	}
	others := t.targetsWith(kind.AllNeeds(spec))
	switch {
	case slices.Contains(others, row.Name):
		return nil
	case row.Name == broker.KindCommand && canAll(row, kind.Needs):
		return fmt.Errorf("%s: persistence on: what does the broker keep? Its target file must say limits: {persistence: lazy} or sync", kind.Name)
	}
	if i := slices.Index(others, broker.KindAddress); i >= 0 {
		others[i] = "tcp://HOST:PORT" // as it is written
	}
	return fmt.Errorf("%s: target %s can not do this: run it with --target %s", kind.Name, target, strings.Join(others, " or --target "))
}

// targetsWith names the targets that have some abilities.
func (t Tables) targetsWith(needs []string) (names []string) {
	for _, r := range t.Targets {
		if canAll(r, needs) {
			names = append(names, r.Name)
		}
	}
	return names
}

func canAll(r broker.Row, needs []string) bool {
	return !slices.ContainsFunc(needs, func(need string) bool { return !slices.Contains(r.Abilities.Can, need) })
}

// isLink reports whether a kind of fault acts on connections from below.
func (t Tables) isLink(kind string) bool {
	k, err := t.fault(kind)
	return err == nil && k.Link
}

func (t Tables) newFault(pf scenarios.PlanFault) (fault.Fault, error) {
	k, err := t.fault(pf.Kind)
	if err != nil {
		return nil, err
	}
	return k.New(pf)
}

// target gives the row of a target as written: a row's name, or an address.
func (t Tables) target(name string) (broker.Row, error) {
	isAddress := strings.Contains(name, "://")
	var known []string
	for _, r := range t.Targets {
		switch {
		case r.Name == broker.KindAddress: // written as the address itself, never by the row's name
			if isAddress {
				return r, nil
			}
			continue
		case r.Name == name:
			return r, nil
		}
		known = append(known, r.Name)
	}
	return broker.Row{}, Usage(fmt.Errorf("target %q: want %s or tcp://HOST:PORT, or a target file with a slash in its name, or .yaml", name, strings.Join(known, ", ")))
}

// checkDriver says whether the driver is in the table.
func (t Tables) checkDriver(name string) error {
	if _, err := fleet.FindDriver(name, t.Drivers); err != nil {
		var known []string
		for _, d := range t.Drivers {
			known = append(known, d.Info().Name)
		}
		return Usage(fmt.Errorf("driver %q: want %s", name, strings.Join(known, " or ")))
	}
	return nil
}

func (t Tables) schema() (scenarios.Schema, error) {
	parts := t.parts()
	return scenarios.Compose(parts)
}

func (t Tables) parts() scenarios.Parts {
	var p scenarios.Parts
	for _, row := range t.Policies {
		p.Policies = append(p.Policies, row.Name)
	}
	for _, k := range t.Faults {
		p.Faults = append(p.Faults, scenarios.FaultPart{Name: k.Name, Doc: k.Doc, Schema: k.Schema})
	}
	for _, m := range measure.Metrics() {
		p.Metrics = append(p.Metrics, scenarios.MetricPart{Name: m.Name, Unit: m.Unit, Live: m.Live})
	}
	return p
}

// ScenarioSchema is the JSON Schema of scenario files, for editors.
func ScenarioSchema(t Tables) ([]byte, error) { return scenarios.SchemaJSON(t.parts()) }

// maxScenario bounds a scenario file; the loader has a bound of its own.
const maxScenario = 1 << 20

// LoadScenario reads a shipped scenario by name or a scenario file by path,
// and gives its text beside it. A mistake in it is a scenarios.Errors.
func LoadScenario(nameOrPath string, t Tables) (*scenarios.Scenario, []byte, error) {
	schema, err := t.schema()
	if err != nil {
		return nil, nil, err
	}
	name, text, err := scenarioText(nameOrPath)
	if err != nil {
		return nil, nil, err
	}
	sc, err := scenarios.Load(name, text, schema)
	if err != nil {
		return nil, nil, err
	}
	return sc, text, nil
}

// BuildScenario makes a scenario that is written in Go what LoadScenario makes of
// one in a file, and gives its text for the run's folder (Options.Scenario). A
// mistake in it is a scenarios.Errors.
func BuildScenario(sc scenarios.Scenario, t Tables) (*scenarios.Scenario, []byte, error) {
	schema, err := t.schema()
	if err != nil {
		return nil, nil, err
	}
	whole, err := scenarios.Build(sc, schema)
	if err != nil {
		return nil, nil, err
	}
	text, err := scenarios.Encode(whole)
	return whole, text, err
}

// scenarioText tells a path from a name by its form, so that a file in the
// working directory can never shadow a shipped scenario.
func scenarioText(nameOrPath string) (string, []byte, error) {
	isPath := strings.ContainsRune(nameOrPath, os.PathSeparator) || strings.ContainsRune(nameOrPath, '/') || filepath.Ext(nameOrPath) != ""
	if !isPath {
		s, err := scenarios.Lookup(nameOrPath)
		if err != nil {
			return "", nil, Usage(err)
		}
		return s.File(), s.Data, nil
	}
	text, err := readFile(nameOrPath, "scenario")
	return nameOrPath, text, err
}
