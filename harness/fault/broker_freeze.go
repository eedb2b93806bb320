package fault

import (
	"errors"
	"sync"

	"github.com/rebound-mqtt/rebound/harness/target"
	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/scenarios"
)

const brokerFreezeName = "broker-freeze"

// brokerFreezeKind is the row of broker-freeze.
func brokerFreezeKind() Kind {
	return Kind{
		Name:   brokerFreezeName,
		Doc:    "Stops the broker's process where it stands (SIGSTOP), sockets and all, and lets it go on (SIGCONT).",
		Schema: extentSchema(brokerFreezeName, "{}"),
		Needs:  []string{"freeze"},
		Plan: func(spec scenarios.FaultSpec, fleets []scenarios.PlanFleet, _ uint64) (scenarios.PlanFault, error) {
			return planOnBroker(brokerFreezeName, spec, fleets, nil)
		},
		New: func(pf scenarios.PlanFault) (Fault, error) { return newOnBroker(pf, timeline.Frozen) },
	}
}

// Freezes are the freezes of one broker that stand: it goes on with the end of
// the last one.
type Freezes struct {
	mu sync.Mutex
	n  int
}

func (f *Freezes) freeze(p target.Pauser) error {
	if f == nil {
		f = new(Freezes)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	err := p.Pause(true)
	switch {
	case err == nil:
		f.n++
	case f.n == 0: // half of it may stand
		err = errors.Join(err, p.Pause(false))
	}
	return err
}

func (f *Freezes) thaw(p target.Pauser) error {
	if f == nil {
		return p.Pause(false)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.n--; f.n > 0 {
		return nil
	}
	return p.Pause(false)
}
