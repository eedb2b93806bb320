package judge

import (
	"time"

	"github.com/rebound-mqtt/rebound/scenarios"
)

// RulesOf takes the rules of outages from a plan.
func RulesOf(p *scenarios.Plan) Rules {
	r := Rules{Back: map[string]string{}, Policy: map[string]string{}, Max: map[string]time.Duration{}, Subscribes: map[string]bool{}}
	for i := range p.Fleets {
		f := &p.Fleets[i]
		r.Back[f.Name] = f.Back
		r.Policy[f.Name] = f.Reconnect.Policy
		r.Max[f.Name] = f.Reconnect.Max
		r.Subscribes[f.Name] = len(f.Subscribe) > 0
	}
	return r
}
