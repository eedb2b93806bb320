package harness

import (
	"cmp"
	"context"
	"fmt"
	"runtime"
	"slices"

	"github.com/rebound-mqtt/rebound/harness/broker"
	"github.com/rebound-mqtt/rebound/harness/kernel"
	"github.com/rebound-mqtt/rebound/harness/measure"
	"github.com/rebound-mqtt/rebound/reports"
)

// Machine is what this machine can do: its limits, what its kernel offers, the
// brokers that it has, and the largest fleets that fit.
type Machine struct {
	Environment reports.Env `json:"environment"`
	FDSoft      uint64      `json:"fds_soft"` // of this process, as it was found
	FDHard      uint64      `json:"fds_hard"`
	FDUsed      uint64      `json:"fds_used"`
	FDReserve   int         `json:"fds_reserved"` // for all but the clients
	Ports       int         `json:"ports"`        // for each pair of addresses; 0 = not known
	Abilities   []Ability   `json:"abilities"`
	Fleets      []Fit       `json:"fleets"`
	Advice      []string    `json:"advice"`
}

// Ability is something that a machine has or lacks.
type Ability struct {
	Name    string `json:"name"`
	For     string `json:"for"`               // what it is needed for
	Missing string `json:"missing,omitempty"` // why it is not there; "" = it is
}

// Doctor finds out what this machine can do. What the kernel offers is tried in
// a network namespace, in this program again, which must call ChildMain first
// in main.
func Doctor(ctx context.Context, t Tables) Machine {
	soft, hard, used := measure.FDs() // before roomHere raises the soft limit
	here := roomHere()
	m := Machine{
		Environment: measure.Fingerprint(), FDSoft: soft, FDHard: hard, FDUsed: used, FDReserve: fdReserve, Ports: here.ports,
		Abilities: abilities(ctx, t), Advice: []string{},
	}
	m.Environment.FDLimit = soft
	for _, row := range t.Targets {
		m.Fleets = append(m.Fleets, here.fit(row))
	}
	m.advise()
	return m
}

func abilities(ctx context.Context, t Tables) []Ability {
	r := kernel.Probe(ctx)
	list := []Ability{{"network namespace", "all faults of the kernel", r.Namespace}}
	for _, kind := range kernel.Kinds() {
		list = append(list, Ability{kind, "fault " + kind, r.Why(kind)})
	}
	for _, row := range t.Targets {
		if broker.IsCommand(row.Name) {
			list = append(list, Ability{row.Name, "target " + row.Name, broker.MissingProgram(row.Name)})
		}
	}
	return list
}

// advise says what would help, and nothing that is not true here.
func (m *Machine) advise() {
	say := func(format string, args ...any) { m.Advice = append(m.Advice, fmt.Sprintf(format, args...)) }
	smallest := slices.MinFunc(m.Fleets, func(a, b Fit) int { return cmp.Compare(uint64(a.Clients), uint64(b.Clients)) })
	switch smallest.Bound {
	case boundFiles:
		say("to run more than %d clients on target %s: %s; the hard limit is %d", smallest.Clients, smallest.Target, adviceFiles, m.FDHard)
		if child := slices.IndexFunc(m.Fleets, func(f Fit) bool { return f.Clients > smallest.Clients && f.Target == broker.KindChild }); child >= 0 {
			say("target %s fits %d clients: its broker has a limit of its own", broker.KindChild, m.Fleets[child].Clients)
		}
		if pipe := slices.IndexFunc(m.Fleets, func(f Fit) bool { return f.Bound == boundMemory && f.Clients > smallest.Clients }); pipe >= 0 {
			say("target %s fits %d clients: its connections are no files", m.Fleets[pipe].Target, m.Fleets[pipe].Clients)
		}
	case boundPorts:
		say("to run more than %d clients on target %s: %s", smallest.Clients, smallest.Target, advicePorts)
	}
	if q := m.Environment.CPUQuota; q > 0 && q < float64(runtime.NumCPU()) {
		say("the cgroup leaves %g of %d cores: storms are throttled, and the harness says so as degraded or saturated", q, runtime.NumCPU())
	}
	for _, a := range m.Abilities {
		switch {
		case a.Missing == "":
		case broker.IsCommand(a.Name):
			say("%s is refused here: %s", a.For, a.Missing)
		default: // the run says so, and that it can not decide
			say("%s is SKIPPED here: %s", a.For, a.Missing)
		}
	}
}
