package fault

import (
	"strconv"
	"time"

	"github.com/rebound-mqtt/rebound/harness/target"
	"github.com/rebound-mqtt/rebound/scenarios"
)

const (
	defaultAuthDelay   = 100 * time.Millisecond
	defaultAuthWorkers = 8
	defaultAuthQueue   = 10_000
)

// slowAuthKind is the row of slow-auth.
func slowAuthKind() Kind {
	return door{
		kind: "slow-auth",
		doc:  "Has each CONNECT wait for an authentication backend of so many workers, which takes its time.",
		note: "the attempt of a client that gives up keeps its place in the queue and its worker, as no backend is told of it.",
		own: `"delay": {"$ref": "#/$defs/duration", "description": "Time of one attempt, on average.", "default": "100ms"},
			"distribution": {"enum": ["fixed", "uniform", "exponential"], "description": "Of the delay: always the same; evenly from 0 to twice as long; or exponential.", "default": "fixed"},
			"max": {"$ref": "#/$defs/duration", "description": "No attempt takes longer. Default: no bound."},
			"workers": {"type": "integer", "minimum": 0, "x-want": "a whole number from 0", "description": "Attempts under way at once; 0 = no bound.", "default": 8},
			"queue": {"type": "integer", "minimum": 0, "x-want": "a whole number from 0", "description": "Attempts that wait for a worker; those beyond are refused with CONNACK 3.", "default": 10000}`,
		packet: connectPacket, passed: "let in",
		read: readSlowAuth, keys: []string{"delay", "distribution", "max", "workers", "queue"},
		describe: func(g target.Gate, params map[string]string) {
			s := g.SlowAuth
			params["delay"], params["distribution"] = s.Delay.String(), s.Distribution
			params["workers"], params["queue"] = strconv.Itoa(s.Workers), strconv.Itoa(s.Queue)
			if s.Max > 0 {
				params["max"] = s.Max.String()
			}
		},
	}.row()
}

func readSlowAuth(f *scenarios.Fields) target.Gate {
	return target.Gate{SlowAuth: &target.SlowAuth{
		Delay:        f.Duration("delay", defaultAuthDelay),
		Distribution: readWord(f, "distribution", target.DelayFixed, target.DelayUniform, target.DelayExponential),
		Max:          f.Duration("max", 0),
		Workers:      f.Count("workers", defaultAuthWorkers),
		Queue:        f.Count("queue", defaultAuthQueue),
	}}
}
