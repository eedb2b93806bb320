package fleet

import (
	"slices"
	"strings"

	"github.com/rebound-mqtt/rebound/harness/mqtt"
	"github.com/rebound-mqtt/rebound/scenarios"
)

// Wills gives the Will of each client of fleet number fleet (from 0) of a plan,
// for Config.Will; nil when the fleet has none. The payload says whose it is.
func Wills(plan *scenarios.Plan, fleet int, run string, runID uint64) func(client int) *Will {
	f := &plan.Fleets[fleet]
	if f.Will == nil {
		return nil
	}
	return func(client int) *Will {
		payload := make([]byte, mqtt.HeaderSize)
		mqtt.PutPayload(payload, willHeader(fleet, client, runID))
		return &Will{
			Topic:   Topic(f.Will.Topic, run, ClientID(f.ClientID, run, f.Name, client)),
			Payload: payload, QoS: f.Will.QoS, Retain: f.Will.Retain,
		}
	}
}

// willHeader is what a Will says of itself. Nobody knows when it will be sent.
func willHeader(fleet, client int, runID uint64) mqtt.Header {
	return mqtt.Header{Kind: mqtt.KindWill, Run: runID, Stream: uint32(fleet + 1), Seq: uint64(client + 1)}
}

// willFilters are topic filters that match the Wills of all clients of a plan.
// No two of them overlap: a broker may send a message once for each filter that
// matches it [MQTT-3.3.5-1], and a second copy would read as a second Will.
func willFilters(plan *scenarios.Plan, run string) []string {
	var filters [][]string
	for i := range plan.Fleets {
		f := &plan.Fleets[i]
		if f.Will == nil {
			continue
		}
		deeper := strings.Count(ClientID(f.ClientID, run, f.Name, 0), "/") // an id may fill several levels
		levels := strings.Split(Topic(f.Will.Topic, run, "+"+strings.Repeat("/+", deeper)), "/")
		for j, level := range levels {
			if strings.Contains(level, "+") {
				levels[j] = "+" // a wildcard takes a whole level [MQTT-4.7.1-3]
			}
		}
		filters = addFilter(filters, levels)
	}
	all := make([]string, len(filters))
	for i, levels := range filters {
		all[i] = strings.Join(levels, "/")
	}
	return all
}

// addFilter adds a filter, merged with those that it overlaps.
func addFilter(filters [][]string, add []string) [][]string {
	for i, f := range filters {
		if !overlap(f, add) {
			continue
		}
		merged := slices.Clone(add)
		for j := range merged {
			if f[j] != merged[j] {
				merged[j] = "+"
			}
		}
		return addFilter(slices.Delete(filters, i, i+1), merged)
	}
	return append(filters, add)
}

// overlap reports whether some topic matches both filters.
func overlap(a, b []string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] && a[i] != "+" && b[i] != "+" {
			return false
		}
	}
	return true
}
