package harness

import (
	"errors"
	"fmt"

	"github.com/rebound-mqtt/rebound/harness/broker"
	"github.com/rebound-mqtt/rebound/harness/fleet"
	"github.com/rebound-mqtt/rebound/harness/measure"
	"github.com/rebound-mqtt/rebound/scenarios"
)

// ErrTooManyClients says that the fleet does not fit this machine's limits of
// open files and ports; nothing was started.
var ErrTooManyClients = errors.New("too many clients for this machine")

const (
	// fdReserve is what everything but the clients may need: listeners, the
	// CloseConnection pool at both ends, evidence files, the echo pair, the
	// control fleet with its watcher of Wills, and room so that an Accept never meets the limit.
	fdReserve = 256 + 2*(fleet.DefaultControl+1)
	// portReserve is the same of ports: connections of others, and our own of
	// which the kernel still remembers the end.
	portReserve = 256
)

// The limits that bound a fleet.
const (
	boundFiles  = "open files"
	boundPorts  = "ports"
	boundMemory = "memory"
)

// Of a fleet whose connections are no sockets, memory is what ends first.
const (
	// pipeClient is what one client of target pipe takes, the broker's end, the
	// evidence and the garbage included: the largest resident size of kick-all with
	// 12,000 clients of the driver paho (1.97 GB) less that with 200 (0.07 GB), for
	// each.
	pipeClient = 160 << 10
	// memoryPart is how much of the memory a fleet may take, in quarters.
	memoryPart = 3
)

// room is what this process may use; doctor and the check before a run look at
// the same.
type room struct {
	fds, used uint64 // limit of open files, raised as far as it may be; open now
	ports     int    // for each pair of addresses; 0 = not known
	memory    int64  // in bytes; 0 = not known
}

func roomHere() room {
	limit, err := measure.RaiseFDs()
	if err != nil {
		limit, _, _ = measure.FDs()
	}
	_, _, used := measure.FDs()
	return room{limit, used, measure.Ports(), measure.Fingerprint().MemoryByte}
}

// Fit is the largest fleet that fits this machine on one target.
type Fit struct {
	Target       string `json:"target"`
	Transport    string `json:"transport"`
	FDsPerClient int    `json:"fds_per_client"`
	Clients      int64  `json:"clients"`         // -1 = nothing that is known bounds it
	Bound        string `json:"bound"`           // what bounds it: open files | ports | memory
	Basis        string `json:"basis,omitempty"` // what memory was taken to be enough for
}

// fit is the largest fleet for a target.
func (m room) fit(row broker.Row) Fit {
	f := Fit{Target: row.Name, Transport: "tcp", FDsPerClient: row.FDsPerClient, Clients: -1}
	if row.FDsPerClient == 0 { // its connections are no sockets
		f.Transport = broker.TransportPipe
		switch {
		case m.fds < m.used+fdReserve: // for all but the clients
			f.Clients, f.Bound = 0, boundFiles
		case m.memory > 0:
			f.Clients, f.Bound = m.memory/4*memoryPart/pipeClient, boundMemory
			f.Basis = fmt.Sprintf("%d KiB a client, as measured in kick-all, in %d/4 of it", pipeClient>>10, memoryPart)
		}
		return f
	}
	f.Clients, f.Bound = max(0, (int64(m.fds)-int64(m.used)-fdReserve)/int64(row.FDsPerClient)), boundFiles
	addresses := broker.DefaultAddresses
	if row.Name == broker.KindAddress || row.Name == broker.KindCommand {
		addresses = 1
	}
	if ports := int64(m.ports-portReserve) * int64(addresses); m.ports > 0 && ports < f.Clients {
		f.Clients, f.Bound = max(0, ports), boundPorts
	}
	return f
}

// CheckClients says whether a plan's fleet fits this machine's limits, which Run
// would refuse; a caller that makes folders asks before. A fleet that ran out of
// file descriptors would keep a broker in this process from accepting, and the
// numbers would say so of it.
func CheckClients(plan *scenarios.Plan, t Tables) error {
	row, err := t.target(plan.Target)
	if err != nil {
		return err
	}
	return roomHere().check(plan.Clients+lingering(plan), row)
}

// lingering is how many connections can be open of clients that are on another
// one already: the ghosts of a slow close, and those in a blackhole whose clients
// may dial.
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

// check refuses a fleet that does not fit.
func (m room) check(clients int, row broker.Row) error {
	f := m.fit(row)
	if f.Clients < 0 || int64(clients) <= f.Clients {
		return nil
	}
	need, limit, hint := int64(clients)*int64(f.FDsPerClient)+int64(m.used)+fdReserve, int64(m.fds), adviceFiles
	switch {
	case f.Bound == boundPorts:
		need, limit, hint = int64(clients), f.Clients, advicePorts
	case f.Bound == boundMemory:
		return fmt.Errorf("%w: %d clients on target %s: %d fit into the memory (%s)", ErrTooManyClients, clients, row.Name, f.Clients, f.Basis)
	case f.FDsPerClient > 1:
		hint += ", or use --target child: its broker has a limit of its own; or --target pipe: its connections are no files"
	}
	return fmt.Errorf("%w: %d clients on target %s need %d %s, the limit is %d: %d clients fit; %s",
		ErrTooManyClients, clients, row.Name, need, f.Bound, limit, f.Clients, hint)
}

// What helps where a limit bounds a fleet.
const (
	adviceFiles = "raise the limit of open files (ulimit -n, or LimitNOFILE= of the service)"
	advicePorts = "widen net.ipv4.ip_local_port_range"
)
