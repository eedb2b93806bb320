package protocol

import "github.com/rebound-mqtt/rebound/harness/timeline"

// Rule is one row of the table of rules.
type Rule struct {
	Name      string
	Doc       string          // what it demands, in a sentence
	Statement string          // ids of the standard, 3.1.1 first
	Charge    timeline.Charge // whom a breach charges, where the packet's direction does not decide
}

// Rules is the table of rules that packets can break.
func Rules() []Rule { return nil }
