package harness

import (
	"io"

	"go.yaml.in/yaml/v4"

	"github.com/rebound-mqtt/rebound/reports"
)

func writeBytes(b []byte) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := w.Write(b)
		return err
	}
}

// writeTarget writes target.yaml: the target as resolved, for the reader. The
// judgement takes it from env.json. It holds no addresses and no secrets.
func writeTarget(w io.Writer, t reports.Target) error {
	defects := []map[string]string{}
	for _, d := range t.Abilities.KnownDefects {
		defects = append(defects, map[string]string{
			"check": d.Check, "condition": d.Condition, "doc": d.Doc, "reference": d.Reference, "versions": d.Versions,
		})
	}
	out := map[string]any{
		"kind": t.Kind, "broker": t.Broker, "version": t.Version, "closer": t.Closer,
		"transport": t.Transport, "settings": t.Settings,
		"abilities": map[string]any{
			"keeps_session": t.Abilities.KeepsSession, "sends_will": t.Abilities.SendsWill,
			"kick_async": t.Abilities.KickAsync, "kick_reports_time": t.Abilities.KickReportsTime,
			"persistence": t.Abilities.Persistence, "flush_window_seconds": t.Abilities.FlushWindow,
			"can": t.Abilities.Can, "queued": t.Abilities.Queued,
			"redelivery_wait_seconds": t.Abilities.RedeliveryWait, "known_defects": defects,
		},
	}
	text, err := yaml.Marshal(out)
	if err != nil {
		return err
	}
	_, err = w.Write(text)
	return err
}
