// Package fault holds the faults of a run: the interface, the table of kinds,
// and one file for each kind.
//
// In: a fault as written (scenarios.FaultSpec), a seed, and an Env to act
// through. Out: a planned fault with its victims, one timeline.Action for each
// time that a victim was acted on, and one timeline.Frame for each control packet
// that was. It imports scenarios, timeline, target and mqtt, and of the rooms
// only netfault.
//
// Of the discrete kinds, discrete.go has what all share: whom, when, and the
// dispatcher. The two kinds about control packets share frames.go beside.
package fault
