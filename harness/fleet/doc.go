// Package fleet keeps thousands of real MQTT clients: it connects them by a
// schedule, lets each one's library reconnect by its own policy, restores
// subscriptions where the session was lost, and publishes the open-loop
// traffic, from the control fleet and from any other, and the probes that show
// when a client is useful again. A watcher reads the Wills.
//
// In: a scenarios.Fleet or a list of streams, a row of the driver table, a
// dial function that puts a tap under each connection, and the accounts to
// fill. Out: one timeline.Conn per connection attempt; who attempted,
// acknowledged, delivered and handled what; the rules that packets broke; and
// cheap counters for the main path (Connected, Away, LiveN, BackOn,
// LastMessage). Faults have a client disconnect, or take it over by a rival
// connection (Disconnect, Takeover).
//
// Every instant and every count comes from the tap: a session is the observer
// of its client's connections, and has protocol follow each packet. The
// library's tokens and callbacks only start work (subscribe when connected);
// they neither time nor count.
//
// Waiting: counters change at the tap, and Changed gives a signal for them.
// Looking at the counters every 5 to 20 ms is as good: they are atomics.
//
// It imports the leaves mqtt, scenarios, reports and timeline, protocol, the
// client libraries and nothing else of this module.
package fleet
