package broker

import "github.com/rebound-mqtt/rebound/reports"

// The kinds of targets. The rows of the kind command have the names of their
// programs.
const (
	KindEmbedded = "embedded"
	KindChild    = "child"
	KindAddress  = "address"
	KindCommand  = "command"
)

// Row is one row of the target table.
type Row struct {
	Name         string
	Doc          string            // one line, for help texts
	Endpoint     bool              // comes with a CloseConnection endpoint
	FDsPerClient int               // file descriptors of this process for each connected client
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
			Name: KindChild, Doc: "the same broker in its own process, which ends with this one",
			Endpoint: true, FDsPerClient: 1, Abilities: mochiAbilities(),
		},
		{
			Name: KindAddress, Doc: "a broker that already runs, as tcp://HOST:PORT; it is never started or stopped",
			FDsPerClient: 1,
			// What MQTT 3.1.1 asks of a network close [MQTT-3.1.2-8] [MQTT-4.1.0-1],
			// and nothing that only this broker could know.
			Abilities: reports.Abilities{KeepsSession: true, SendsWill: true, KickAsync: true, Persistence: "unknown"},
		},
	}
	for _, p := range programs() {
		rows = append(rows, Row{Name: p.name, Doc: p.doc, FDsPerClient: 1, Abilities: p.abilities})
	}
	return rows
}

// FDsPerClient is the number of file descriptors that each connected client
// needs in this process: 2 with the broker in it, else 1.
func FDsPerClient(kind string) int {
	for _, row := range Rows() {
		if row.Name == kind {
			return row.FDsPerClient
		}
	}
	return 1
}

// mochiAbilities is the record of mochi with this package's settings.
func mochiAbilities() reports.Abilities {
	return reports.Abilities{
		KeepsSession:    true,
		SendsWill:       true,
		KickReportsTime: true,
		Persistence:     "none",
		Queued:          maxInflight, // messages of QoS 1 and 2 wait in the in-flight store; QoS 0 is not kept
		RedeliveryWait:  0,           // resends when the client reconnects, never on a timer
		KnownDefects: []reports.KnownDefect{{
			Check: "lost", Condition: "acknowledged-while-resuming",
			Doc:       "a QoS 1 message that is handled while its subscriber's session is being resumed is acknowledged and stored in the old session's object, which is thrown away",
			Reference: "docs/track-record.md#mochi-resume-race", Versions: "2.7.9",
		}, {
			Check: "reordered", Condition: "stored-before-resume",
			Doc:       "the messages that were kept for an absent session are sent in random order within each second when it is resumed",
			Reference: "docs/track-record.md#mochi-offline-order", Versions: "2.7.9",
		}},
	}
}
