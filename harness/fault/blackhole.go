package fault

import (
	_ "embed"
	"strconv"

	"github.com/rebound-mqtt/rebound/harness/netfault"
	"github.com/rebound-mqtt/rebound/scenarios"
)

//go:embed blackhole.schema.json
var blackholeSchema string

const blackholeName = "blackhole"

// blackholeKind is the row of blackhole.
func blackholeKind() Kind {
	return Kind{
		Name:   blackholeName,
		Doc:    "Lets nothing of each victim's link pass in one direction or both, the end of the connection included, until it is lifted.",
		Schema: lastingSchema(blackholeName, blackholeSchema),
		Link:   true,
		Note:   "it is made above the kernel, which still acknowledges what is held back: it exercises the keep alive, and not the retransmission of TCP",
		Plan: func(spec scenarios.FaultSpec, fleets []scenarios.PlanFleet, seed uint64) (scenarios.PlanFault, error) {
			return planLasting(blackholeName, spec, fleets, seed, func(f *scenarios.Fields, params map[string]string) {
				direction, dials := readBlackhole(f)
				params["direction"], params["dials"] = direction, strconv.FormatBool(dials)
			})
		},
		New: func(pf scenarios.PlanFault) (Fault, error) {
			f := fieldsOf(pf, "direction", "dials")
			direction, dials := readBlackhole(f)
			if err := f.Err(); err != nil {
				return nil, err
			}
			im := impair(direction, netfault.Way{Hold: true})
			if dials {
				// Whichever way is cut, no handshake comes about.
				im.Dials, im.New = netfault.DialsHang, true
			}
			return newImpairing(pf, im)
		},
	}
}

func readBlackhole(f *scenarios.Fields) (direction string, dials bool) {
	return readWays(f), f.Bool("dials", true)
}
