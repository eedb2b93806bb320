package judge

import (
	"slices"

	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/reports"
)

// sessions counts, by fleet, what the broker said of the sessions of clients
// that it had accepted before. Nothing is wanted of a kept session at a target
// that does not promise to keep it, nor of one that it can not have known.
func (j *judgement) sessions() []reports.SessionTruth {
	out := make([]reports.SessionTruth, len(j.e.plan.Fleets))
	at := map[string]*reports.SessionTruth{}
	for i := range j.e.plan.Fleets {
		out[i].Fleet = j.e.plan.Fleets[i].Name
		at[out[i].Fleet] = &out[i]
	}
	keeps := j.r.Target.Abilities.KeepsSession
	for _, cl := range j.storm.Clients {
		if s := at[cl.Fleet]; s != nil {
			addSessions(s, cl.Conns, keeps)
		}
	}
	return out
}

func addSessions(s *reports.SessionTruth, conns []*timeline.Conn, keeps bool) {
	first := true
	for _, c := range conns {
		switch {
		case !accepted(c):
			continue
		case first:
			first = false
			continue
		}
		s.Returns++
		switch {
		case c.Clean: // [MQTT-3.2.2-1]
			s.AbsentWanted++
			if c.SessionPresent {
				s.AbsentMissing++
			}
		case c.SessionWanted && keeps: // [MQTT-3.2.2-2]
			s.PresentWanted++
			if !c.SessionPresent {
				s.PresentMissing++
			}
		}
		if slices.ContainsFunc(c.Subs, func(sub timeline.Sub) bool { return sub.Sent != 0 }) {
			s.Resubscribed++
		}
	}
}
