package check

import "github.com/rebound-mqtt/rebound/reports"

// neverReturned demands that each client that was once there was back when the
// run was stopped.
func neverReturned(ev Evidence) reports.Check {
	switch {
	case !ev.Complete:
		return unknown("the evidence ends before the run did")
	case len(ev.Away) > 0 && ev.Interrupted:
		c := unknown("clients away when the run was interrupted: %d", len(ev.Away))
		c.Count = int64(len(ev.Away))
		return c
	case len(ev.Away) > 0:
		return invalid(int64(len(ev.Away)), ev.Away, "clients not back at the end: %d", len(ev.Away))
	}
	return valid("every client was back at the end (%d outages)", ev.Returned)
}
