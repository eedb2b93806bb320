// Package broker holds the targets: mochi in this process (Embedded), the same
// broker in a process of its own (Child), foreign brokers that are started as a
// process (Command), and a plain address (Address). It also has the preflight
// connection that finds out whether an MQTT broker answers at an address.
//
// In: Options, or an address. Out: values that satisfy target.Target, with
// their settings and static ability records; Embedded also closes the
// connection of one client, and tells who is online, publishes, blocks clients
// and traces their connections, for the CloseConnection endpoint.
// It may import the leaves mqtt, reports, target and timeline.
package broker
