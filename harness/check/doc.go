// Package check gives verdicts on evidence: a table of checks, each a pure
// function with a file of its own.
//
// In: Evidence, which judge fills from the files of a run. Out: a Result for
// each row of the table: a reports.Check, and what its findings are about. A
// check never repairs and never guesses: what it cannot tell is unknown.
//
// It may import the leaves and measure and ledger.
package check
