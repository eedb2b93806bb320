// Package timeline holds the words that the rooms of the harness share about
// what happened when: the run's clock, connection records, fault actions and
// frames, Wills, phases and waves, and whom a finding charges; and the JSONL
// evidence files that carry them.
//
// In: instants and records from the tap, the fleet, the faults and the main
// path. Out: events.jsonl.gz and findings.jsonl.gz, written as the run goes and
// read by judge.
// It imports nothing of this module.
package timeline
