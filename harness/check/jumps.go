package check

import (
	"fmt"
	"slices"
	"time"

	"github.com/rebound-mqtt/rebound/harness/timeline"
)

// endSlack is how far the end of a connection may lie before something that was
// seen on it: reader and writer stamp apart from each other. The bound is ours.
const endSlack = timeline.Instant(time.Second)

// jumps finds instants that go backwards where one thing certainly came after
// another: no time of such a run can be believed.
func jumps(ev Evidence) []string {
	n, first := 0, ""
	jumped := func(format string, args ...any) {
		if n++; n == 1 {
			first = fmt.Sprintf(format, args...)
		}
	}
	for i := range ev.Clients {
		for _, c := range slices.Concat(ev.Clients[i].Conns, ev.Clients[i].Rivals) {
			if what := backwards(c); what != "" {
				jumped("%s %s: %s", c.ClientID, which(c), what)
			}
		}
	}
	for _, a := range ev.Actions {
		if a.Answered != 0 && a.Answered < a.Issued {
			jumped("action on %s: issued at %s, answered at %s", a.ClientID, clock(a.Issued), clock(a.Answered))
		}
	}
	if n == 0 {
		return nil
	}
	return []string{fmt.Sprintf("the clock jumped: %d instants go backwards (%s)", n, first)}
}

// backwards names the first step of a connection that lies before an earlier
// one; "" = none.
func backwards(c *timeline.Conn) string {
	last, before := timeline.Instant(0), ""
	for _, step := range []struct {
		name string
		at   timeline.Instant
	}{
		{"dial", c.Dial}, {"dialled", c.Dialed}, {"CONNECT", c.Connect}, {"CONNACK", c.Connack}, {"restored", c.Restored}, {"end", c.End},
	} {
		if step.at == 0 {
			continue // did not happen
		}
		at := step.at
		if step.name == "end" {
			at += endSlack
			if c.EndKind == timeline.EndTimeout {
				break // dated back to the deadline that had passed
			}
		}
		if at < last {
			return fmt.Sprintf("%s at %s, %s at %s", before, clock(last), step.name, clock(step.at))
		}
		last, before = step.at, step.name
	}
	return ""
}
