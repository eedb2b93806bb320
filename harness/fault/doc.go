// Package fault holds the faults of a run: the interface, the table of kinds,
// and one file for each kind.
//
// In: a fault as written (scenarios.FaultSpec), a seed, and an Env to act
// through. Out: a planned fault with its victims, and one timeline.Action for
// each victim that was acted on. It imports scenarios, timeline and target,
// and of the rooms only netfault.
package fault
