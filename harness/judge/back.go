package judge

import (
	"slices"
	"strings"
	"time"

	"github.com/rebound-mqtt/rebound/harness/ledger"
	"github.com/rebound-mqtt/rebound/scenarios"
)

// What counts as back.
const (
	backConnack      = "connack"
	backSubscribed   = "subscribed"
	backFirstMessage = "first-message"
)

// RulesOf takes the rules of outages from a plan.
func RulesOf(p *scenarios.Plan) Rules {
	r := Rules{Back: map[string]string{}, Policy: map[string]string{}, Max: map[string]time.Duration{}, Subscribes: map[string]bool{}}
	for i := range p.Fleets {
		f := &p.Fleets[i]
		r.Back[f.Name] = backOf(f)
		r.Policy[f.Name] = f.Reconnect.Policy
		r.Max[f.Name] = f.Reconnect.Max
		r.Subscribes[f.Name] = len(f.Subscribe) > 0
	}
	return r
}

// backOf is what counts as back for a fleet, after any fall: first-message
// needs a filter on which a probe reaches this client alone, else it falls to
// subscribed; without a subscription all fall to connack.
func backOf(f *scenarios.PlanFleet) string {
	switch {
	case len(f.Subscribe) == 0 || f.Back == backConnack:
		return backConnack
	case f.Back == backSubscribed || !probeable(f.Subscribe):
		return backSubscribed
	}
	return backFirstMessage
}

// probeable reports whether a client of the fleet can be probed: it has a
// non-shared filter that names the client, and the topic made from it (the
// wildcards filled with the client id) is matched by no filter that all
// clients of the fleet have in common. It is the rule by which the fleet sends
// its probes: where it sends none, no client could ever be back by one.
func probeable(subs []scenarios.Subscription) bool {
	for _, s := range subs {
		if shared(s.Topic) || !strings.Contains(s.Topic, clientField) {
			continue
		}
		topic := probeTopic(s.Topic)
		common := func(o scenarios.Subscription) bool {
			return !shared(o.Topic) && !strings.Contains(o.Topic, clientField) && ledger.Matches(o.Topic, topic)
		}
		if !slices.ContainsFunc(subs, common) {
			return true
		}
	}
	return false
}

const clientField = "{client}"

// probeTopic fills the wildcards of a filter with a client id; any id does.
func probeTopic(filter string) string {
	levels := strings.Split(strings.ReplaceAll(filter, clientField, "client"), "/")
	for i, l := range levels {
		if l == "+" || l == "#" {
			levels[i] = "client"
		}
	}
	return strings.Join(levels, "/")
}

// shared reports whether a filter is of a shared subscription,
// $share/{name}/{filter} (MQTT 5.0 section 4.8.2; on 3.1.1 an extension).
func shared(filter string) bool { return strings.HasPrefix(filter, "$share/") }
