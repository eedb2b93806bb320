// Package kernel lays network faults down in the kernel: packet filter rules
// (nft) and queueing disciplines (tc) on the loopback of a network namespace
// that the run made for itself, and nowhere else.
//
// What goes in: a Rule. What comes out: packets that the kernel drops, answers
// with a reset or delays, until Remove. What this machine lacks is probed at
// run time, and said. It imports nothing of this module.
package kernel
