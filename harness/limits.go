package harness

import (
	"errors"
	"fmt"

	"github.com/rebound-mqtt/rebound/harness/fleet"
	"github.com/rebound-mqtt/rebound/harness/measure"
	"github.com/rebound-mqtt/rebound/scenarios"
)

// ErrTooManyClients says that the fleet does not fit this machine's limit of
// open files; nothing was started.
var ErrTooManyClients = errors.New("too many clients for this machine")

// fdReserve is what everything but the clients may need: listeners, the
// CloseConnection pool at both ends, evidence files, the echo pair, the
// control fleet with its watcher of Wills, and room so that an Accept never meets the limit.
const fdReserve = 256 + 2*(fleet.DefaultControl+1)

// CheckClients says whether a plan's fleet fits this machine's limit of open
// files, which Run would refuse; a caller that makes folders asks before.
func CheckClients(plan *scenarios.Plan, t Tables) error { return checkFDs(plan, t) }

// checkFDs refuses a fleet that would run out of file descriptors: a broker in
// this process would then stop accepting, and the numbers would say so of it.
func checkFDs(plan *scenarios.Plan, t Tables) error {
	row, err := t.target(plan.Target)
	if err != nil {
		return err
	}
	limit, err := measure.RaiseFDs()
	if err != nil {
		limit, _, _ = measure.FDs()
	}
	_, _, used := measure.FDs()
	return fits(plan.Clients+lingering(plan), row.FDsPerClient, used, limit, row.Name)
}

// lingering is how many connections can be open of clients that are on another
// one already: the ghosts of a slow close, and what a blackhole swallowed whose
// client may dial.
func lingering(plan *scenarios.Plan) int {
	most := 0
	for _, ph := range plan.Phases {
		for _, w := range ph.Waves {
			n := 0
			for _, f := range w.Faults {
				if f.Kind == "slow-close" || f.Kind == "blackhole" && f.Params["dials"] == "false" {
					n += f.Count
				}
			}
			most = max(most, n)
		}
	}
	return most
}

func fits(clients, each int, used, limit uint64, target string) error {
	room := int64(limit) - int64(used) - fdReserve
	most := max(0, room/int64(each))
	if int64(clients) <= most {
		return nil
	}
	hint := "raise the limit of open files (ulimit -n, or LimitNOFILE= of the service)"
	if each > 1 {
		hint += ", or use --target child: its broker has a limit of its own"
	}
	return fmt.Errorf("%w: %d clients on target %s need %d open files, the limit is %d: %d clients fit; %s",
		ErrTooManyClients, clients, target, int64(clients)*int64(each)+int64(used)+fdReserve, limit, most, hint)
}
