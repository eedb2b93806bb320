package fault

import (
	"fmt"
	"slices"

	"github.com/rebound-mqtt/rebound/scenarios"
)

// Kinds is the table of faults: one file and one row for each.
func Kinds() []Kind {
	return slices.Concat([]Kind{
		closeKind(),
		swallowKind(),
		cutKind(),
		takeoverKind(),
		disconnectKind(),
		finKind(),
		rstKind(),
		slowCloseKind(),
		truncateKind(),
		blackholeKind(),
		latencyKind(),
		jitterKind(),
		bandwidthKind(),
		refuseKind(),
		dialTimeoutKind(),
		keepaliveStopKind(),
		slowAuthKind(),
		rejectAuthKind(),
		connectLimitKind(),
		subscribeSlowKind(),
		publishQuotaKind(),
		brokerKillKind(),
		brokerStopKind(),
		brokerRestartKind(),
		brokerFreezeKind(),
		execKind(),
	}, kernelKinds())
}

// Find gives the row of a kind.
func Find(name string) (Kind, error) {
	for _, k := range Kinds() {
		if k.Name == name {
			return k, nil
		}
	}
	return Kind{}, fmt.Errorf("%w: %s", ErrUnknownKind, name)
}

// Parts gives the table as what the scenario language takes from it.
func Parts() []scenarios.FaultPart {
	var parts []scenarios.FaultPart
	for _, k := range Kinds() {
		parts = append(parts, scenarios.FaultPart{Name: k.Name, Doc: k.Doc, Schema: k.Schema})
	}
	return parts
}
