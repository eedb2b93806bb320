package broker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rebound-mqtt/rebound/harness/target"
	"github.com/rebound-mqtt/rebound/reports"
)

// testProgram is mosquitto as a user describes it, below a shell.
func testProgram(t testing.TB) Program {
	t.Helper()
	needProgram(t, "mosquitto")
	return Program{
		Name: "own", Version: "1.2",
		Command: []string{"sh", "-c", `PATH=$PATH:/usr/sbin:/usr/local/sbin; mosquitto -c "$0"; exit $?`, "{config}"},
		Config: `user root
listener {port} {host}
allow_anonymous true
persistence true
persistence_location {dir}/
`,
		Settings:  map[string]string{"program": "sh"},
		Abilities: reports.Abilities{Can: []string{canKill}},
	}
}

func startTestProgram(t *testing.T, p Program, o Options) *Command {
	t.Helper()
	c, err := StartProgram(testContext(t), p, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// TestProgram: a program of the user's is what the user says, and goes with all
// that it has.
func TestProgram(t *testing.T) {
	log := &syncBuffer{}
	c := startTestProgram(t, testProgram(t), Options{BrokerLog: log})
	info := c.Info()
	if info.Kind != KindCommand || info.Broker != "own" || info.Version != "1.2" || len(info.Addresses) != 1 ||
		info.Settings["program"] != "sh" || len(info.Abilities.Can) != 1 {
		t.Errorf("%+v", info)
	}
	left, err := strays(c.mark())
	if err != nil || len(left) != 2 { // the shell and the broker
		t.Errorf("%d processes, %v", len(left), err)
	}
	dir := c.dir
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	nothingLeft(t, dir)
	if !strings.Contains(log.String(), "mosquitto version") {
		t.Errorf("its log: %q", log)
	}
}

// nothingLeft demands that neither processes nor the folder of a program are left.
func nothingLeft(t *testing.T, dir string) {
	t.Helper()
	left, err := strays("REBOUND_TARGET_DIR=" + dir)
	if err != nil || len(left) != 0 {
		t.Errorf("%d processes are left, %v", len(left), err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the folder is left: %v", err)
	}
}

// TestProgramTrouble: what is no broker is an error with its last words, and
// leaves nothing behind.
func TestProgramTrouble(t *testing.T) {
	for name, c := range map[string]struct {
		script string
		want   error
		says   []string
	}{
		"ends at once":       {"echo no licence >&2; exit 3", target.ErrUnreachable, []string{"ended before it was ready: exit status 3", "no licence"}},
		"ends well at once":  {"exit 0", target.ErrUnreachable, []string{"must stay in the foreground"}},
		"never ready":        {"echo still loading; while :; do sleep 1; done", target.ErrUnreachable, []string{"not ready within 700ms", "still loading"}},
		"goes away":          {"setsid sleep 1000 >/dev/null 2>&1 & exit 0", target.ErrUnreachable, []string{"must stay in the foreground"}},
		"goes away, chatty":  {"setsid sleep 1000 & exit 0", target.ErrUnreachable, []string{"must stay in the foreground"}},
		"heeds no SIGTERM":   {"trap '' TERM; while :; do sleep 1; done", target.ErrUnreachable, []string{"not ready within", "did not end within 300ms and was killed"}},
		"has no port":        {"echo bind: Address already in use; exit 1", ErrPortInUse, []string{"no free port in 10 tries"}},
		"has a child beside": {"sleep 1000 & while :; do sleep 1; done", target.ErrUnreachable, []string{"not ready within"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dirs := filepath.Join(t.TempDir(), "dirs")
			script := fmt.Sprintf("echo $REBOUND_TARGET_DIR >> %s; %s", dirs, c.script)
			p := Program{Name: "own", Command: []string{"sh", "-c", script}, Stop: 300 * time.Millisecond}
			o := Options{ReadyTimeout: 700 * time.Millisecond}
			if strings.Contains(name, "away") || strings.Contains(name, "port") {
				o.ReadyTimeout = patience // they end by themselves
			}
			_, err := StartProgram(testContext(t), p, o)
			if !errors.Is(err, c.want) {
				t.Errorf("%v", err)
			}
			for _, says := range c.says {
				if !strings.Contains(fmt.Sprint(err), says) {
					t.Errorf("%v does not say %q", err, says)
				}
			}
			text, err := os.ReadFile(dirs)
			if err != nil {
				t.Fatal(err)
			}
			for dir := range strings.FieldsSeq(string(text)) {
				nothingLeft(t, dir)
			}
		})
	}
}

// TestProgramEnvironment: a program gets what it needs and what it is to have.
func TestProgramEnvironment(t *testing.T) {
	for _, name := range []string{"ALIBABA_CLOUD_ACCESS_KEY_SECRET", "REBOUND_ACCESS_KEY_SECRET", "OTHER"} {
		t.Setenv(name, "hush")
	}
	t.Setenv("BROKER_HOME", "/opt/broker")
	log := &syncBuffer{}
	p := Program{Name: "own", Command: []string{"sh", "-c", `env; echo "$0"; ls "$1"; pwd; exit 1`, "{host}:{port}", "{dir}"}, Env: []string{"BROKER_HOME"}}
	if _, err := StartProgram(testContext(t), p, Options{BrokerLog: log}); err == nil {
		t.Error("it is a broker")
	}
	text := log.String()
	if strings.Contains(text, "hush") || !strings.Contains(text, "BROKER_HOME=/opt/broker\n") || !strings.Contains(text, "PATH="+os.Getenv("PATH")+"\n") {
		t.Error(text)
	}
	if !strings.Contains(text, "\n127.0.0.1:") {
		t.Error(text)
	}
	p.Env = []string{"REBOUND_TEST_NONE"}
	if _, err := StartProgram(testContext(t), p, Options{}); !errors.Is(err, ErrNoVariable) {
		t.Errorf("%v", err)
	}
	if _, err := StartProgram(testContext(t), Program{Name: "own", Command: []string{"./no-such-program"}}, Options{}); !errors.Is(err, ErrNoProgram) {
		t.Errorf("%v", err)
	}
	if _, err := StartProgram(testContext(t), Program{Name: "own"}, Options{}); !errors.Is(err, ErrNoProgram) {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	p = Program{Name: "own", Command: []string{"sleep", "1000"}}
	if _, err := StartProgram(ctx, p, Options{}); !errors.Is(err, context.Canceled) || errors.Is(err, target.ErrUnreachable) {
		t.Errorf("%v", err)
	}
}
