package scenarios

import (
	"slices"
	"time"
)

// Plan is the resolved, seeded timetable of one run: a Scenario with every
// default filled in, fleets counted out, waves laid down and victims chosen.
// harness.NewPlan makes it; WritePlan and ReadPlan are its file, plan.yaml.
// The same scenario, seed and options give a byte-equal file.
type Plan struct {
	SchemaVersion int           `yaml:"schema_version"` // 1
	Scenario      string        `yaml:"scenario"`
	Summary       string        `yaml:"summary"`
	ScenarioHash  string        `yaml:"scenario_hash"` // meaning without seed, addresses and output
	PlanHash      string        `yaml:"plan_hash"`     // with seed and victims
	Seed          uint64        `yaml:"seed"`
	Target        string        `yaml:"target"`           // row of the target table
	Closer        string        `yaml:"closer"`           // close-connection | fin: who closes connections
	Driver        string        `yaml:"driver,omitempty"` // row of the driver table; "" in plans of older versions: paho
	Clients       int           `yaml:"clients"`
	Fleets        []PlanFleet   `yaml:"fleets"`
	Traffic       []Traffic     `yaml:"traffic,omitempty"`
	Phases        []PlanPhase   `yaml:"phases"`
	Expect        []Expectation `yaml:"expect,omitempty"`
}

// PlanFleet is a fleet with its number of clients and the topic on which each
// is probed. Its Back is what really counts, after any fall (EffectiveBack).
type PlanFleet struct {
	Clients int    `yaml:"clients"`
	Probe   string `yaml:"probe,omitempty"` // topic template, see ProbeTopic
	// Labelled counts the clients of each value of each label of Labels; which
	// ones they are, LabelSeed decides (With).
	Labelled  map[string]map[string]int `yaml:"labelled,omitempty"`
	LabelSeed uint64                    `yaml:"label_seed,omitempty"`
	Fleet     `yaml:",inline"`
}

// PlanPhase is a phase with its waves.
type PlanPhase struct {
	Name      string        `yaml:"name"`
	For       time.Duration `yaml:"for,omitempty"`
	Until     *Until        `yaml:"until,omitempty"`
	Timeout   time.Duration `yaml:"timeout,omitempty"`
	OnTimeout string        `yaml:"on_timeout,omitempty"`
	Waves     []PlanWave    `yaml:"waves,omitempty"`
}

// PlanWave is one repetition of a phase's faults. At is its start, from the
// start of the phase; Horizon is how long after its start its clients are
// watched: the phase's timeout, cut at the next wave.
type PlanWave struct {
	Wave    int           `yaml:"wave"` // from 1
	At      time.Duration `yaml:"at"`
	Horizon time.Duration `yaml:"horizon"`
	// Overlap: it goes on when the next wave of the phase begins.
	Overlap bool        `yaml:"overlap,omitempty"`
	Faults  []PlanFault `yaml:"faults"`
}

// HasVictims reports whether the plan knows whom a fault of the wave hits. The
// clients of an extent are in its way at most.
func (w PlanWave) HasVictims() bool {
	return slices.ContainsFunc(w.Faults, func(f PlanFault) bool { return f.Count > 0 && !f.Extent || f.Everyone })
}

// PlanFault is one fault of one wave with its victims. The plan holds the
// victims' rule, number and digest; Victims itself is written only on demand
// (rebound plan --victims), and is always there in memory.
type PlanFault struct {
	Kind  string `yaml:"kind"`
	Fleet string `yaml:"fleet,omitempty"` // "" = it names none
	// Everyone says that each client of each fleet is a victim: the broker itself is.
	Everyone bool `yaml:"everyone,omitempty"`
	// Extent says that it has no victims of its own.
	Extent  bool              `yaml:"extent,omitempty"`
	Params  map[string]string `yaml:"params,omitempty"` // resolved, for the reader
	Note    string            `yaml:"note,omitempty"`   // what a reader of the report must know of how it is made
	Count   int               `yaml:"count"`
	Digest  string            `yaml:"digest"` // of the victims and their offsets
	Victims []Victim          `yaml:"victims,omitempty"`
}

// Victim is one client of a fault and its intended instant, from the start of
// the wave.
type Victim struct {
	Client int           `yaml:"client"` // index in the fleet, from 0
	Offset time.Duration `yaml:"offset"`
}

// Faulted reports whether any phase of the plan has a fault.
func (p *Plan) Faulted() bool {
	for _, ph := range p.Phases {
		if len(ph.Waves) > 0 {
			return true
		}
	}
	return false
}

// HasFault reports whether the plan has a fault of such a kind.
func (p *Plan) HasFault(kind func(string) bool) bool {
	for _, ph := range p.Phases {
		for _, w := range ph.Waves {
			for _, f := range w.Faults {
				if kind(f.Kind) {
					return true
				}
			}
		}
	}
	return false
}

// Shortest is the shortest time that a run of the plan takes: its timetable,
// without what it waits for.
func (p *Plan) Shortest() time.Duration {
	var connect, sum time.Duration
	for _, f := range p.Fleets {
		if f.Connect.Rate > 0 {
			connect = max(connect, time.Duration(float64(f.Clients)/f.Connect.Rate*float64(time.Second)))
		}
	}
	for i := range p.Phases {
		if u := p.Phases[i].Until; i == 0 && u != nil && (u.Connected != nil || u.ConnectedCount > 0) {
			sum += connect
		}
		sum += p.Phases[i].shortest()
	}
	return sum
}

func (ph *PlanPhase) shortest() time.Duration {
	if ph.Until == nil {
		return ph.For
	}
	var last time.Duration
	for _, w := range ph.Waves {
		for _, f := range w.Faults {
			last = max(last, w.At+f.lasts())
		}
	}
	if ph.Until.Quiet != nil {
		last += *ph.Until.Quiet
	}
	return last
}

// lasts is how long the fault goes on, from the start of its wave, as far as
// its timetable says.
func (f *PlanFault) lasts() time.Duration {
	var last time.Duration
	for _, v := range f.Victims {
		last = max(last, v.Offset)
	}
	for _, key := range []string{"for", "down"} {
		d, err := time.ParseDuration(f.Params[key])
		if err != nil {
			continue
		}
		if after, err := time.ParseDuration(f.Params["after"]); err == nil {
			d += after
		}
		last = max(last, d)
	}
	return last
}

// Phase finds a phase by name; nil if there is none.
func (p *Plan) Phase(name string) *PlanPhase {
	for i := range p.Phases {
		if p.Phases[i].Name == name {
			return &p.Phases[i]
		}
	}
	return nil
}

// Fleet finds a fleet by name; nil if there is none.
func (p *Plan) Fleet(name string) *PlanFleet {
	for i := range p.Fleets {
		if p.Fleets[i].Name == name {
			return &p.Fleets[i]
		}
	}
	return nil
}
