package harness

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/rebound-mqtt/rebound/harness/mqtt"
	"github.com/rebound-mqtt/rebound/harness/timeline"
)

// TestPlantedEvidence bends the folder of a run and judges it again: what is
// not known any more is unknown, and nothing else changes. The run has a breach
// that the tap found, and a Will, so that each file matters.
func TestPlantedEvidence(t *testing.T) {
	t.Parallel()
	pbNeedMosquitto(t)
	found, assumed := map[string]string{"unknown-ack": "broker 1"}, []string{"assumptions"}
	dir := pbCase{
		text: []string{
			pbFleetA, pbFleetA + "    will: {topic: \"w/{client}\", qos: 1}\n", pbAfter, "  - {name: after, for: 5300ms}\n",
			pbToA, pbToA + pbRetained, "qos: 1, each", "qos: 2, each",
		},
		plant: pbWhen(pbRead("b", 1, 10), func(_ *pbConn, _ bool, _ *mqtt.Packet, raw []byte) [][]byte {
			return [][]byte{raw, mqtt.AppendPuback(nil, pbFirst)}
		}),
		turns: found,
	}.run(t)
	if t.Failed() {
		return
	}
	for _, c := range []struct {
		name    string
		bend    func(t *testing.T, dir string)
		turns   map[string]string
		unknown []string
	}{
		{name: "as it is", bend: func(*testing.T, string) {}, turns: found},
		{name: "events missing", bend: pbRemove("events.jsonl.gz"), turns: found, unknown: slices.Concat(assumed, pbOfEvents, pbDrained)},
		{name: "events cut in half", bend: pbHalve("events.jsonl.gz"), turns: found, unknown: slices.Concat(assumed, pbOfEvents, pbDrained)},
		{name: "accounts missing", bend: pbRemove("accounts.jsonl.gz"), turns: found, unknown: slices.Concat(assumed, pbOfAccounts)},
		{name: "accounts cut in half", bend: pbHalve("accounts.jsonl.gz"), turns: found, unknown: slices.Concat(assumed, pbOfAccounts)},
		{name: "findings missing", bend: pbRemove("findings.jsonl.gz"), unknown: slices.Concat(assumed, pbOfFindings)},
		{name: "findings cut in half", bend: pbHalve("findings.jsonl.gz"), unknown: slices.Concat(assumed, pbOfFindings)},
		{name: "findings empty", bend: pbTruncate("findings.jsonl.gz"), unknown: slices.Concat(assumed, pbOfFindings)},
		{name: "health missing", bend: pbRemove("health.csv"), turns: found, unknown: assumed},
		{name: "health cut in half", bend: pbHalve("health.csv"), turns: found, unknown: assumed},
		// Well before the end: rows behind the last phase say nothing of the run.
		{name: "health cut at a row", bend: pbRewrite("health.csv", func(b []byte) []byte {
			return b[:bytes.LastIndexByte(b[:len(b)*3/4], '\n')+1]
		}), turns: found, unknown: assumed},
		{name: "env missing", bend: pbRemove("env.json"), turns: found, unknown: append(assumed, "session-forgotten", "will")},
		{name: "env cut in half", bend: pbHalve("env.json"), turns: found, unknown: append(assumed, "session-forgotten", "will")},
		{name: "clock jumped", bend: pbJump, turns: found, unknown: assumed},
	} {
		t.Run(c.name, func(t *testing.T) {
			bent := filepath.Join(t.TempDir(), "run")
			if err := os.CopyFS(bent, os.DirFS(dir)); err != nil {
				t.Fatal(err)
			}
			c.bend(t, bent)
			r, err := Judge(bent, false)
			if err != nil {
				t.Fatal(err)
			}
			for _, w := range pbVerdicts(r, c.turns, c.unknown) {
				t.Error(w)
			}
		})
	}
}

// What each file is there for, in a run that has everything to look at but a
// takeover.
var (
	pbOfFindings = []string{
		"packet-id", "publish-after-pubrel", "resend-after-clean", "dup-flag", "first-packet", "resend-order", "retained-on-resume", "suback", "unknown-ack", "server-packet",
	}
	// Of cut findings what is there stands: unknown-ack is invalid still.
	pbOfEvents = append(slices.DeleteFunc(slices.Clone(pbOfFindings), func(name string) bool { return name == "unknown-ack" }),
		"unscripted", "collateral", "session-forgotten", "session-invented", "keep-alive", "will", "kick-effective", "deaf", "never-returned")
	// What could still have come in a run that has not drained.
	pbDrained    = []string{"lost", "not-redelivered", "lost-in-client", "stuck"}
	pbOfAccounts = append(slices.Clone(pbDrained), "balance", "duplicated", "reordered", "unexpected", "misrouted", "wrong-qos", "deaf")
)

func pbRemove(name string) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
}

func pbHalve(name string) func(*testing.T, string) {
	return pbRewrite(name, func(b []byte) []byte { return b[:len(b)/2] })
}

func pbTruncate(name string) func(*testing.T, string) {
	return pbRewrite(name, func([]byte) []byte { return nil })
}

func pbRewrite(name string, change func([]byte) []byte) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		path := filepath.Join(dir, name)
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, change(b), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// pbJump puts the CONNACK of one connection before its CONNECT.
func pbJump(t *testing.T, dir string) {
	pbRewrite("events.jsonl.gz", func(b []byte) []byte {
		events, err := timeline.Read(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		jumped := 0
		var out bytes.Buffer
		w := timeline.NewWriter(&out)
		for _, e := range events {
			if c := e.Conn; c != nil && c.Fleet == "b" {
				c.Connect = c.Connack + 1
				jumped++
			}
			w.Add(e)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if jumped == 0 {
			t.Fatal("no record of b")
		}
		return out.Bytes()
	})(t, dir)
}
