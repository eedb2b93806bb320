package fault

import (
	"context"
	"fmt"

	"github.com/rebound-mqtt/rebound/harness/kernel"
	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/scenarios"
)

// NeedsNamespace is the ability of a target that its broker can be taken into
// a network namespace that the run makes for itself.
const NeedsNamespace = "namespace"

const directionSchema = `{
  "x-want": "a mapping of direction, after and for",
  "properties": {
    "direction": {"enum": ["both", "up", "down"], "x-want": "both, up or down", "description": "up: from the clients to the broker; down: from the broker to the clients.", "default": "both"}
  }
}`

const synLimitSchema = `{
  "x-want": "a mapping of rate, burst, after and for",
  "required": ["rate"],
  "properties": {
    "rate": {"$ref": "#/$defs/rate", "description": "New connections that the kernel lets through."},
    "burst": {"type": "integer", "minimum": 1, "maximum": 1000000, "x-want": "a whole number from 1", "description": "So many more at once.", "default": 5}
  }
}`

const netemSchema = `{
  "x-want": "a mapping of delay, jitter, loss, after and for",
  "dependentRequired": {"jitter": ["delay"]},
  "properties": {
    "delay": {"$ref": "#/$defs/duration", "description": "Of each packet, in each direction."},
    "jitter": {"$ref": "#/$defs/duration", "description": "The delay varies by this much.", "default": "0s"},
    "loss": {"$ref": "#/$defs/share", "description": "Share of the packets that vanish.", "default": "0%"}
  }
}`

// kernelKinds are the rows of the faults that the kernel brings about.
func kernelKinds() []Kind {
	return []Kind{
		kernelKind(kernel.Drop, "Drops the packets between clients and broker in the kernel, as a firewall does.", directionSchema, true, readDirection),
		kernelKind(kernel.Reject, "Answers the packets between clients and broker with a TCP reset in the kernel, as a firewall does.", directionSchema, true, readDirection),
		kernelKind(kernel.SYNLimit, "Drops the first packets of new connections above a rate in the kernel.", synLimitSchema, false, readSYNLimit),
		kernelKind(kernel.Netem, "Delays or loses packets at random in the kernel.", netemSchema, true, readNetem),
	}
}

func readDirection(f *scenarios.Fields) kernel.Rule {
	r := kernel.Rule{Direction: f.Text("direction", kernel.Both)}
	if r.Direction != kernel.Both && r.Direction != kernel.Up && r.Direction != kernel.Down {
		f.Fail("direction", "direction is %q, want both, up or down", r.Direction)
	}
	return r
}

func readSYNLimit(f *scenarios.Fields) kernel.Rule {
	r := kernel.Rule{Rate: f.Rate("rate", 0), Burst: f.Count("burst", 5)}
	if f.Has("rate") && r.Rate*3600 < 1 {
		f.Fail("rate", "rate is less than one connection an hour")
	}
	return r
}

func readNetem(f *scenarios.Fields) kernel.Rule {
	r := kernel.Rule{Delay: f.Duration("delay", 0), Jitter: f.Duration("jitter", 0), Loss: f.Share("loss", 0)}
	if r.Delay == 0 && r.Loss == 0 {
		f.Fail("delay", "netem needs delay or loss")
	}
	return r
}

// describe writes a rule into the parameters of a plan, where read finds it.
func describeRule(r kernel.Rule, params map[string]string) {
	set := func(key, text string, is bool) {
		if is {
			params[key] = text
		}
	}
	set("direction", r.Direction, r.Direction != "")
	set("rate", scenarios.FormatRate(r.Rate), r.Rate > 0)
	set("burst", fmt.Sprint(r.Burst), r.Burst > 0)
	set("delay", r.Delay.String(), r.Delay > 0)
	set("jitter", r.Jitter.String(), r.Jitter > 0)
	set("loss", scenarios.FormatShare(r.Loss), r.Loss > 0)
}

func kernelKind(name, doc, schema string, ends bool, read func(*scenarios.Fields) kernel.Rule) Kind {
	return Kind{
		Name: name, Doc: doc, Schema: extentSchema(name, schema), Needs: []string{NeedsNamespace},
		Plan: func(spec scenarios.FaultSpec, _ []scenarios.PlanFleet, _ uint64) (scenarios.PlanFault, error) {
			return planExtent(name, spec, func(f *scenarios.Fields, params map[string]string) { describeRule(read(f), params) })
		},
		New: func(pf scenarios.PlanFault) (Fault, error) {
			f := fieldsOf(pf, "direction", "rate", "burst", "delay", "jitter", "loss")
			rule := read(f)
			if err := f.Err(); err != nil {
				return nil, err
			}
			rule.Kind = name
			k := &kernelFault{rule: rule}
			return newExtent(pf, ends, k.take, k.lift)
		},
	}
}

// kernelFault is one planned rule of the kernel.
type kernelFault struct {
	rule   kernel.Rule
	number int // of the rule that is there
}

// take lays the rule down. What this machine can not do is skipped, and said.
func (k *kernelFault) take(ctx context.Context, env *Env, e *timeline.Extent) (err error) {
	e.Bars, e.Outside = true, k.rule.Kind == kernel.Netem // the others spare the control fleet
	if env.Kernel == nil {
		return ErrNotOffered
	}
	if e.Skipped = env.Kernel.Missing(k.rule.Kind); e.Skipped != "" {
		return nil
	}
	k.number, err = env.Kernel.Lay(ctx, k.rule)
	return err
}

func (k *kernelFault) lift(ctx context.Context, env *Env, _ *timeline.Extent) error {
	return env.Kernel.Remove(ctx, k.number)
}
