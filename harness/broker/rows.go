package broker

import "github.com/rebound-mqtt/rebound/reports"

// The kinds of targets. The rows of the kind command have the names of their
// programs.
const (
	KindEmbedded = "embedded"
	KindPipe     = "pipe"
	KindChild    = "child"
	KindAddress  = "address"
	KindCommand  = "command"
)

// Row is one row of the target table.
type Row struct {
	Name         string
	Doc          string            // one line, for help texts
	Endpoint     bool              // comes with a CloseConnection endpoint
	FDsPerClient int               // file descriptors of this process for each connected client; 0 = its connections are no sockets
	Abilities    reports.Abilities // what the target promises, static
}

// Rows is the table of targets.
func Rows() []Row {
	rows := []Row{
		{
			Name: KindEmbedded, Doc: "mochi in this process, on 127.0.0.0/8 (the default)",
			Endpoint: true, FDsPerClient: 2, Abilities: mochiAbilities(),
		},
		{
			Name: KindPipe, Doc: "the same, over connections in memory instead of sockets",
			Endpoint: true, Abilities: pipeAbilities(),
		},
		{
			Name: KindChild, Doc: "the same broker in its own process, which ends with this one",
			Endpoint: true, FDsPerClient: 1, Abilities: childAbilities(false),
		},
		{
			Name: KindAddress, Doc: "a broker that already runs, as tcp://HOST:PORT; it is never started or stopped",
			FDsPerClient: 1,
			// What MQTT 3.1.1 asks of a network close [MQTT-3.1.2-8] [MQTT-4.1.0-1],
			// and nothing that only this broker could know.
			Abilities: reports.Abilities{KeepsSession: true, SendsWill: true, KickAsync: true, Persistence: "unknown", Can: []string{canSocket}},
		},
	}
	for _, p := range programs() {
		rows = append(rows, Row{Name: p.name, Doc: p.doc, FDsPerClient: 1, Abilities: p.abilities})
	}
	return rows
}

// FDsPerClient is the number of file descriptors that each connected client
// needs in this process: 2 with the broker in it, 0 in memory, else 1.
func FDsPerClient(kind string) int {
	for _, row := range Rows() {
		if row.Name == kind {
			return row.FDsPerClient
		}
	}
	return 1
}

// What faults may do to a broker that is a process of ours, in the words of
// reports.Abilities.Can.
const (
	canKill    = "kill"
	canStop    = "stop"
	canRestart = "restart"
	canFreeze  = "freeze"
	canPersist = "persist" // keep sessions and messages over a restart

	canGate      = "gate"
	canSocket    = "socket"    // be reached over TCP, which can be reset
	canNamespace = "namespace" // be taken into a network namespace of the run's own
	canReset     = "reset"     // reset a connection itself
)

// processAbilities are those of each target with a broker process of ours.
func processAbilities() []string {
	return []string{canKill, canStop, canRestart, canFreeze, canPersist}
}

// childAbilities is the record of mochi in a process of its own, with a store
// or without.
func childAbilities(store bool) reports.Abilities {
	a := mochiAbilities()
	a.Can = append(a.Can, processAbilities()...)
	if store {
		a.Persistence = "lazy" // it survives this process, and the machine from a clean stop on
	}
	return a
}

// mochiAbilities is the record of mochi with this package's settings.
func mochiAbilities() reports.Abilities {
	return reports.Abilities{
		KeepsSession:    true,
		SendsWill:       true,
		KickReportsTime: true,
		Persistence:     "none",
		Queued:          maxInflight, // messages of QoS 1 and 2 wait in the in-flight store; QoS 0 is not kept
		Can:             []string{canGate, canSocket, canNamespace, canReset},
		RedeliveryWait:  0, // resends when the client reconnects, never on a timer
		KnownDefects:    mochiDefects(),
	}
}

// mochiDefects is the table of known defects of mochi: each row is proved in
// docs/track-record.md.
func mochiDefects() []reports.KnownDefect {
	var table []reports.KnownDefect
	row := func(name, doc, condition string, checks ...string) {
		for _, c := range checks {
			table = append(table, reports.KnownDefect{
				Check: c, Condition: condition, Doc: doc,
				Reference: "docs/track-record.md#" + name, Versions: "2.7.9",
			})
		}
	}
	row("mochi-resume-race", "a message that is handled while its subscriber's session is being resumed is acknowledged and stored in the old session's object, which is thrown away",
		"acknowledged-while-resuming", "lost")
	row("mochi-unrouted-ack", "a message whose publisher is lost before its acknowledgement is written is not routed, and is acknowledged when the session is resumed",
		"acknowledged-by-a-resume", "lost")
	row("mochi-offline-order", "the messages that were kept for an absent session are sent in random order within each second when it is resumed",
		"stored-before-resume", "reordered")
	row("mochi-late-routing", "a message is acknowledged before it is routed, and what was acknowledged on a lost connection is routed beside what comes on the next one",
		"publisher-lost-under-it", "reordered")
	row("mochi-offline-order", "what is sent again for a session is sent in random order within each second when it is resumed",
		"sent-by-the-broker-at-a-resume", "resend-order")
	row("mochi-repeated-ack", "acknowledgements of the connection before are sent again when a session is resumed",
		"sent-by-the-broker-at-a-resume", "unknown-ack")
	row("mochi-dup-cleared", "a message that is routed while its subscriber's session is being resumed is sent with what is sent again, DUP = 1, and once more as a new one, DUP = 0",
		"sent-twice-by-a-resume", "dup-flag")
	row("mochi-keepalive-integer", "1.5 times an odd keep alive is counted in whole seconds",
		"keep-alive-in-whole-seconds", "unscripted", "never-returned")
	row("mochi-takeover-race", "two connections of one client that connect at the same time are both left open, and one of them is deaf",
		"connects-overlap", "takeover", "deaf", "never-returned")
	row("mochi-clean-takeover", "a client with a clean session that is back while the end of its old connection is handled is taken out of the client table",
		"clean-connect-at-an-end", "deaf", "never-returned")
	row("mochi-disconnect-sent", "an MQTT 3.1.1 client that is taken over is sent a DISCONNECT",
		"disconnect-at-a-takeover", "server-packet")
	row("mochi-publish-before-connack", "a message that is routed while its subscriber's session is being resumed is sent before the CONNACK",
		"publish-before-the-connack", "first-packet", "unscripted")
	return table
}
