// Package ledger accounts for messages: who sent, who was told, who got.
//
// In: what the taps of publishers and subscribers saw. Out: the accounts of
// accounts.jsonl.gz, and, from those alone, the closing balance with every
// message that was lost, duplicated, reordered or unexpected.
// It may import the leaves mqtt, timeline, scenarios and reports.
package ledger
