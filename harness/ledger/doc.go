// Package ledger accounts for messages: who sent, who was told, who got, who
// dealt with it.
//
// In: what the taps of publishers and subscribers saw, and the application's
// handler calls. Out: the accounts of accounts.jsonl.gz, and, from those alone
// and the situation at the end, the closing balance with every message that was
// lost, duplicated, reordered, stuck or astray, and whom that charges.
//
// The Book is filled while the run goes: publish.go is the publisher's side,
// subscribe.go and group.go what is expected, deliver.go and answer.go what came
// and what the client did with it. Close judges: missing.go what did not come,
// copies.go what came again, exchanges.go what stands still, exceptions.go the
// rest.
//
// It may import the leaves mqtt, timeline, scenarios and reports.
package ledger
