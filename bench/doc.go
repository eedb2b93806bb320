// Package bench is the `go test -bench` door: each iteration of a benchmark is
// one wave of a scenario against a fresh fleet, and its results are reported
// as benchmark metrics that benchstat reads. The benchmarks of this package
// run the shipped kick scenarios; Storm lets others write their own.
//
// In: a scenario and a size. Out: benchmark lines, and the run folders as
// artifacts (go test -artifacts). It imports harness only, and the leaves.
package bench
