package broker

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"text/template"
	"time"

	"github.com/rebound-mqtt/rebound/reports"
)

// mosquittoQueued is far above what a client can miss in a shipped scenario:
// mosquitto's own default of 1,000 drops the rest without a word.
const mosquittoQueued = 100_000

// mosquittoAutosave is mosquitto's own default for autosave_interval: a crash
// forgets what came after the last snapshot.
const mosquittoAutosave = 30 * time.Minute

// mosquitto is the row of Eclipse Mosquitto, 2.0 or later.
func mosquitto() program {
	return program{
		name:    "mosquitto",
		exe:     "mosquitto",
		doc:     "Eclipse Mosquitto, started as a process on 127.0.0.0/8; close is a FIN from this side",
		install: "apt-get install mosquitto",
		abilities: reports.Abilities{
			KeepsSession: true, SendsWill: true, KickAsync: true,
			Persistence: "lazy", FlushWindow: mosquittoAutosave.Seconds(), // a snapshot at the end and every half hour
			Can:    append(processAbilities(), canSocket, canNamespace),
			Queued: mosquittoQueued,
			KnownDefects: []reports.KnownDefect{{
				Check: "unscripted", Condition: "keep-alive-in-whole-seconds",
				Doc:       "the silence of a client and 1.5 times its keep alive are counted in whole seconds",
				Reference: "docs/track-record.md#mosquitto-keepalive-seconds", Versions: "2.0.11",
			}, {
				Check: "keep-alive", Condition: "closed-at-a-look-in-5-s",
				Doc:       "it looks for silent clients once in 5 s, and closes them up to 6 s late",
				Reference: "docs/track-record.md#mosquitto-keepalive-seconds", Versions: "2.0.11",
			}, {
				Check: "publish-after-pubrel", Condition: "sent-by-the-broker-at-a-resume",
				Doc:       "after a resume whose packets were never written, the next one sends PUBLISH again after its PUBREL",
				Reference: "docs/track-record.md#mosquitto-republish", Versions: "2.0.11",
			}},
		},
		stop:    DefaultStop,
		version: mosquittoVersion,
		prepare: mosquittoPrepare,
	}
}

// Without max_inflight_messages 0, mosquitto 2.0.11 acknowledges messages of a
// 3.1.1 client that has 20 of QoS 2 under way, and throws them away
// (docs/track-record.md#mosquitto-inflight-quota).
var mosquittoConf = template.Must(template.New("mosquitto.conf").Parse(`# written by rebound
{{if .Root}}user root
{{end}}{{range .Listen}}listener {{.Port}} {{.Host}}
{{end}}allow_anonymous true
set_tcp_nodelay true
max_queued_messages {{.Queued}}
max_inflight_messages 0
persistence true
persistence_location {{.State}}/
sys_interval 0
log_dest stderr
log_type error
log_type warning
log_type notice
log_type information
connection_messages true
`))

// mosquittoPrepare writes mosquitto.conf. As root, mosquitto becomes the user
// mosquitto, which could not write our scratch folder.
func mosquittoPrepare(dir string, listen []string) ([]string, map[string]string, error) {
	type listener struct{ Host, Port string }
	in := struct {
		Root   bool
		Listen []listener
		Queued int
		State  string
	}{Root: os.Getuid() == 0, Queued: mosquittoQueued, State: filepath.Join(dir, stateFolder)}
	for _, addr := range listen {
		host, port := hostOf(addr)
		in.Listen = append(in.Listen, listener{host, port})
	}
	var conf bytes.Buffer
	if err := mosquittoConf.Execute(&conf, in); err != nil {
		return nil, nil, err
	}
	file := filepath.Join(dir, "mosquitto.conf")
	if err := os.WriteFile(file, conf.Bytes(), 0o600); err != nil {
		return nil, nil, err
	}
	return []string{"-c", file}, map[string]string{
		"max_queued_messages": strconv.Itoa(mosquittoQueued), "persistence": "true", "set_tcp_nodelay": "true",
		"max_inflight_messages": "0 (no maximum)", "sys_interval": "0",
	}, nil
}

var versionLine = regexp.MustCompile(`mosquitto version ([0-9][0-9A-Za-z.\-]*)`)

// mosquittoVersion reads the first line of its help, which it prints with an
// exit code of its own.
func mosquittoVersion(ctx context.Context, path string) string {
	out, _ := exec.CommandContext(ctx, path, "-h").CombinedOutput()
	if m := versionLine.FindSubmatch(out); m != nil {
		return string(m[1])
	}
	return ""
}
