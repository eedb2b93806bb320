package check

import (
	"fmt"

	"github.com/rebound-mqtt/rebound/harness/ledger"
	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/reports"
)

// Check is one row of the table of checks.
type Check struct {
	Name      string
	Doc       string                   // what it demands, in a sentence
	Statement string                   // ids of MQTT 3.1.1 that demand it; "" = the demand is ours
	Run       func(ev Evidence) Result // pure
}

// Result is what one check says, with what its findings are about.
type Result struct {
	reports.Check
	// Faults are the findings that turned the verdict, one by one. Where some of
	// them were only counted, Named is false.
	Faults []Fault
	Named  bool
}

// Fault names what one finding is about: a message, a packet, a connection, or
// else a client.
type Fault struct {
	Exception *ledger.Exception // a message
	Finding   *timeline.Finding // a packet that broke a rule
	Conn      *timeline.Conn    // a connection
	Client    string            // a client that has no connection to blame
}

// String says in one line what the finding is about, and when it was.
func (f Fault) String() string {
	switch {
	case f.Exception != nil:
		return describe(f.Exception)
	case f.Finding != nil:
		words := fmt.Sprintf("%s on connection %d of %s at %s", f.Finding.Rule, f.Finding.N, f.Finding.ClientID, clock(f.Finding.At))
		if f.Finding.Detail != "" {
			words += ": " + f.Finding.Detail
		}
		return words
	case f.Conn != nil:
		return fmt.Sprintf("connection %d of %s, dialled at %s", f.Conn.N, f.Conn.ClientID, clock(f.Conn.Dial))
	}
	return "client " + f.Client
}

// Table lists the checks in the order in which they are run and printed.
func Table() []Check {
	return []Check{
		{"assumptions", "the run met the premises of its judgement: phases, clients, actions, health, drain, clock", "", assumptions},
		{"balance", "the accounts of messages add up", "", balance},

		{"lost", "no acknowledged message of QoS 1 or 2 is lost", "MQTT-4.3.2-2, MQTT-4.3.3-2, MQTT-4.5.0-1", lost},
		{"not-redelivered", "what a client did not acknowledge is sent again after it resumed", "MQTT-4.4.0-1", messages{
			verdict: ledger.NotRedelivered, what: "unacknowledged messages that were not sent again", qos: 1, drain: true}.run},
		{"lost-in-client", "what a client library acknowledged reaches the application", "MQTT-4.3.2-2, MQTT-4.3.3-2", messages{
			verdict: ledger.LostInClient, what: "acknowledged messages that did not reach the application", qos: 1, drain: true}.run},
		{"duplicated", "no message is delivered more often than its QoS allows", "MQTT-4.3.3-1, MQTT-4.3.3-2", messages{
			verdict: ledger.Duplicated, what: "messages delivered more often than their QoS allows", mixed: true}.run},
		{"reordered", "messages of one stream are first delivered in the order in which they were sent", "MQTT-4.6.0-5, MQTT-4.6.0-6", messages{
			verdict: ledger.Reordered, what: "messages first delivered after one that was certainly sent later", mixed: true}.run},
		{"unexpected", "nothing is delivered that nobody sent", "", messages{
			verdict: ledger.Unexpected, what: "deliveries that no attempt explains"}.run},
		{"misrouted", "nothing is delivered to a session without a matching filter", "MQTT-4.5.0-1", messages{
			verdict: ledger.Misrouted, what: "deliveries to a session without a matching filter"}.run},
		{"wrong-qos", "each delivery has the lower QoS of its publish and its grant", "MQTT-3.8.4-6, MQTT-3.3.5-1", messages{
			verdict: ledger.WrongQoS, what: "deliveries at a QoS that no grant explains"}.run},
		{"stuck", "no exchange stands still while its connection lives", "MQTT-4.3.2-2, MQTT-4.3.3-2, MQTT-4.5.0-2", messages{
			verdict: ledger.Stuck, what: "exchanges that stand still though their connection lives", qos: 1, drain: true}.run},

		{"packet-id", "a packet id is not 0, not in use for another message, and stays that of its message", "MQTT-2.3.1-1, MQTT-2.3.1-2, MQTT-2.3.1-3, MQTT-2.3.1-4", rule{"packet-id", asksOrPublishes}.run},
		{"publish-after-pubrel", "no PUBLISH is sent again after its PUBREL", "MQTT-4.3.3-1", rule{"publish-after-pubrel", publishesAt2}.run},
		{"resend-after-clean", "nothing of an earlier session is sent again after a clean start", "MQTT-3.1.2-6", rule{"resend-after-clean", publishesAt1}.run},
		{"dup-flag", "DUP is 0 on a first PUBLISH, at QoS 0 always, and 1 on each that is sent again", "MQTT-3.3.1-1, MQTT-3.3.1-2, MQTT-3.3.1-3", rule{"dup-flag", publishes}.run},
		{"first-packet", "the first packet from a client is CONNECT and from a broker CONNACK", "MQTT-3.1.0-1, MQTT-3.2.0-1", rule{"first-packet", always}.run},
		{"resend-order", "messages are sent again in the order in which they were first sent", "MQTT-4.6.0-1", rule{"resend-order", publishesAt1}.run},
		{"retained-on-resume", "retained messages come on a SUBSCRIBE and not on a bare resume", "MQTT-3.3.1-6, MQTT-3.3.1-8, MQTT-3.3.1-9", rule{"retained-on-resume", retains}.run},
		{"suback", "each SUBSCRIBE is answered, with a legal grant for each of its filters", "MQTT-3.8.4-1, MQTT-3.8.4-5, MQTT-3.9.3-1, MQTT-3.9.3-2", suback},
		{"unknown-ack", "no acknowledgement comes for what was not sent", "MQTT-2.3.1-6, MQTT-2.3.1-7", rule{"unknown-ack", asksOrPublishes}.run},
		{"server-packet", "a broker sends no packet that only a client may send (section 2.2.1)", "", rule{"server-packet", always}.run},

		{"unscripted", "no connection ends that no fault explains", "MQTT-3.1.2-24", unscripted},
		{"collateral", "a fault ends no connection but those of its victims", "MQTT-3.1.2-24", collateral},
		{"session-forgotten", "a kept session is still there when its client comes back", "MQTT-3.1.2-4, MQTT-3.2.2-2", sessionForgotten},
		{"session-invented", "no CONNACK tells of a session that can not exist", "MQTT-3.1.2-6, MQTT-3.2.2-1, MQTT-3.2.2-3, MQTT-3.2.2-4", sessionInvented},
		{"takeover", "a second connection of a client ends the first", "MQTT-3.1.4-2", takeover},
		{"keep-alive", "a client that falls silent is disconnected at 1.5 times its keep alive", "MQTT-3.1.2-24", keepAlive},
		{"will", "each connection that ends without DISCONNECT publishes its Will once, as it was given", "MQTT-3.1.2-8, MQTT-3.1.2-10, MQTT-3.1.2-12, MQTT-3.14.4-3", will},
		{"kick-effective", "each action that was answered with success ended a connection", "", kickEffective},
		{"deaf", "a client that is connected and subscribed reads what it is owed within 5 s", "", deaf},
		{"never-returned", "each client was back at the end", "", neverReturned},
		{"leak", "goroutines and open files come back after each cycle of faults", "", leak},
	}
}

// Run runs every check of the table. One that panics is unknown: it has shown
// nothing.
func Run(ev Evidence) []Result {
	return runTable(Table(), ev)
}

func runTable(table []Check, ev Evidence) []Result {
	out := make([]Result, 0, len(table))
	for _, row := range table {
		c := runOne(row, ev)
		c.Name = row.Name
		out = append(out, c)
	}
	return out
}

// recordedSince names, for the checks whose evidence older versions did not
// record, the schema version of env.json from which it is there.
var recordedSince = map[string]int{
	"not-redelivered": 2, "lost-in-client": 2, "misrouted": 2, "wrong-qos": 2, "stuck": 2,
	"packet-id": 2, "publish-after-pubrel": 2, "resend-after-clean": 2, "dup-flag": 2, "first-packet": 2, "resend-order": 2,
	"retained-on-resume": 2, "suback": 2, "unknown-ack": 2, "server-packet": 2, "will": 2,
}

func runOne(row Check, ev Evidence) (c Result) {
	if ev.Recorded != 0 && ev.Recorded < recordedSince[row.Name] {
		return notApplicable("the version that recorded this run did not look for it")
	}
	defer func() {
		if p := recover(); p != nil {
			c = unknown("the check itself failed: %v", p)
		}
	}()
	c = row.Run(ev)
	if c.Verdict == reports.Valid && !ev.Complete && !ofAccounts[row.Name] {
		c = unknown("the evidence ends before the run did; until then: %s", c.Detail)
	}
	return c
}

// ofAccounts names the checks that look at the accounts alone, which are there
// whole or not at all. What the others look at may be cut: then it shows faults,
// and not that there was none.
var ofAccounts = map[string]bool{
	"balance": true, "lost": true, "not-redelivered": true, "lost-in-client": true, "duplicated": true, "reordered": true,
	"unexpected": true, "misrouted": true, "wrong-qos": true, "stuck": true,
}
