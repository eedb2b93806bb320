package broker

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"reflect"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	mochi "github.com/mochi-mqtt/server/v2"

	"github.com/rebound-mqtt/rebound/harness/closeconn"
	"github.com/rebound-mqtt/rebound/harness/closeconn/acs"
	"github.com/rebound-mqtt/rebound/harness/mqtt"
	"github.com/rebound-mqtt/rebound/harness/timeline"
)

func startTestChild(t *testing.T, o Options, command ...string) *Child {
	t.Helper()
	c, err := StartChild(testContext(t), o, command, nil)
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

func TestChildServesAndCloses(t *testing.T) {
	clock := timeline.NewClock()
	c := startTestChild(t, Options{Clock: clock, Addresses: 2})
	info, embedded := c.Info(), startTest(t, Options{Addresses: 2}).Info()
	if !info.SameClock || info.Kind != KindChild || len(info.Addresses) != 2 || c.PID() == os.Getpid() {
		t.Errorf("%+v", info)
	}
	if !reflect.DeepEqual(info.Abilities, childAbilities(false)) || !reflect.DeepEqual(info.Settings, embedded.Settings) {
		t.Errorf("child %+v\nembedded %+v", info, embedded)
	}
	ctx := testContext(t)
	dev, _ := connectRaw(t, info.Addresses[1], mqtt.ConnectInfo{ClientID: "dev", Clean: true})
	if s, err := c.Stats(ctx); err != nil || s.Clients != 1 {
		t.Errorf("%+v, %v", s, err)
	}
	client, err := closeconn.NewClient(closeconn.ClientConfig{Endpoint: info.Endpoint, Clock: clock, SameClock: info.SameClock})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	before := clock.Now()
	closed, err := client.CloseConnection(ctx, "dev")
	after := clock.Now()
	if err != nil || closed.Found == nil || !*closed.Found || closed.At < before || closed.At > after {
		t.Errorf("%+v (in [%d, %d]), %v", closed, before, after, err)
	}
	if got, fin := dev.rest(); len(got) > 0 || !fin {
		t.Errorf("the client got % x, fin %v", got, fin)
	}
	for range 2 {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := c.Stats(ctx); err == nil {
		t.Error("stats of an ended child")
	}
}

// TestChildVerifies: a child's endpoint is told its key by the control pipe,
// and the key stands neither in its arguments nor in its environment.
func TestChildVerifies(t *testing.T) {
	key := &EndpointKey{ID: "key-of-a-test", Secret: "s3cr3t-of-a-test"}
	c := startTestChild(t, Options{EndpointKey: key})
	call := func(cfg closeconn.ClientConfig) error {
		cfg.Endpoint = c.Info().Endpoint
		client, err := closeconn.NewClient(cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = client.Close() }()
		_, err = client.CloseConnection(testContext(t), "nobody")
		return err
	}
	right := acs.Credentials{KeyID: key.ID, Secret: key.Secret}
	for _, scheme := range []acs.Scheme{acs.RPC, acs.ACS3} {
		if err := call(closeconn.ClientConfig{Scheme: scheme, Credentials: right}); err != nil {
			t.Error(err)
		}
		var api *closeconn.APIError
		wrong := acs.Credentials{KeyID: key.ID, Secret: "other"}
		if err := call(closeconn.ClientConfig{Scheme: scheme, Credentials: wrong}); !errors.As(err, &api) || api.Code != "SignatureDoesNotMatch" {
			t.Errorf("%s, a wrong secret: %v", scheme, err)
		}
	}
	if err := call(closeconn.ClientConfig{}); err == nil {
		t.Error("an unsigned call was believed")
	}
	for _, file := range []string{"cmdline", "environ"} {
		raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", c.PID(), file))
		if err != nil && runtime.GOOS == "linux" {
			t.Error(err)
		}
		if strings.Contains(string(raw), key.Secret) {
			t.Errorf("the secret stands in the child's %s", file)
		}
	}
	if said := fmt.Sprintf("%v %+v %#v", *key, Options{EndpointKey: key}, key); strings.Contains(said, key.Secret) {
		t.Error(said)
	}
}

func TestChildKilled(t *testing.T) {
	c := startTestChild(t, Options{})
	dev, _ := connectRaw(t, c.Info().Addresses[0], mqtt.ConnectInfo{ClientID: "dev", Clean: true})
	if err := c.Kill(); err != nil {
		t.Fatal(err)
	}
	<-c.Done()
	dev.rest()
	if err := c.Close(); err != nil {
		t.Errorf("a wanted kill is no error: %v", err)
	}
	startTestChild(t, Options{Port: portOf(t, c.Info().Addresses[0])})
}

// A child that dies by itself is told by Close: the planted crash.
func TestChildCrashIsAnError(t *testing.T) {
	c, err := StartChild(testContext(t), Options{}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(c.PID(), syscall.SIGQUIT); err != nil {
		t.Fatal(err)
	}
	<-c.Done()
	if err := c.Close(); err == nil || !strings.Contains(err.Error(), "exit status 2") {
		t.Errorf("got %v", err)
	}
}

func TestChildThatCanNotStart(t *testing.T) {
	b := startTest(t, Options{})
	for _, tc := range []struct {
		name    string
		options Options
		command []string
		env     []string
		want    string
		is      error
	}{
		{name: "port in use", options: Options{Port: portOf(t, b.Info().Addresses[0])}, want: "port in use"},
		{name: "endpoint not on loopback", options: Options{EndpointAddr: "0.0.0.0:0"}, want: "loopback"},
		{name: "no ChildMain", env: []string{noChildMain + "=1"}, want: "harness.ChildMain()", is: ErrNoChildMain},
		{name: "hangs", command: []string{"sleep", "60"}, options: Options{ReadyTimeout: 100 * time.Millisecond}, want: "harness.ChildMain()", is: ErrNoChildMain},
		{name: "says something else", command: []string{"sh", "-c", "echo PASS >&4; exec sleep 60"}, want: "PASS", is: ErrControl},
		{name: "prints and ends", command: []string{"sh", "-c", "echo no such command >&2; exit 2"}, want: "no such command", is: ErrNoChildMain},
		{name: "no such program", command: []string{"/no/such/program"}, want: "no such file"},
		{name: "hooks", options: Options{Hooks: []mochi.Hook{new(gate)}}, want: "Hooks", is: ErrChildOptions},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, err := StartChild(testContext(t), tc.options, tc.command, tc.env)
			if err == nil {
				t.Fatalf("started: %+v, %v", c.Info(), c.Close())
			}
			if !strings.Contains(err.Error(), tc.want) || tc.is != nil && !errors.Is(err, tc.is) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}

// A program that forgot ChildMain and starts a child of its own goes no deeper.
func TestChildDoesNotNest(t *testing.T) {
	t.Setenv(childMarker, "1")
	if _, err := StartChild(testContext(t), Options{}, nil, nil); !errors.Is(err, ErrNoChildMain) {
		t.Errorf("got %v", err)
	}
}

// The planted fault of the clock check: a child whose CLOCK_MONOTONIC is
// another one.
func TestChildInAnotherTimeNamespace(t *testing.T) {
	shift := []string{"unshare", "--time", "--fork", "--kill-child", "--monotonic", "1000"}
	if out, err := exec.Command(shift[0], append(shift[1:], "true")...).CombinedOutput(); err != nil {
		t.Skipf("SKIPPED: no time namespace here: %v: %s", err, out)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := startTestChild(t, Options{}, append(shift, exe)...)
	if c.Info().SameClock {
		t.Error("instants of another clock are believed")
	}
}

// parentMain is the helper process of the next test.
func parentMain() int {
	type process interface {
		PID() int
		Pause(bool) error
		Done() <-chan struct{}
	}
	var c process
	var err error
	if name := os.Getenv(beParent); IsCommand(name) {
		c, err = StartCommand(context.Background(), name, Options{})
	} else {
		c, err = StartChild(context.Background(), Options{}, nil, nil)
	}
	if err != nil {
		fmt.Println(err)
		return 1
	}
	if os.Getenv(bePaused) != "" {
		if err := c.Pause(true); err != nil {
			fmt.Println(err)
			return 1
		}
	}
	fmt.Println(c.PID())
	<-c.Done() // until killed
	return 0
}

func TestChildEndsWithItsParentsKill9(t *testing.T) { endsWithItsParent(t, "child") }

func TestCommandEndsWithItsParentsKill9(t *testing.T) {
	needProgram(t, "mosquitto")
	endsWithItsParent(t, "mosquitto")
}

// A broker that is paused can not see that its parent is gone.
func TestPausedChildEndsWithItsParentsKill9(t *testing.T) {
	endsWithItsParent(t, "child", bePaused+"=1")
}

func TestPausedCommandEndsWithItsParentsKill9(t *testing.T) {
	needProgram(t, "mosquitto")
	endsWithItsParent(t, "mosquitto", bePaused+"=1")
}

func endsWithItsParent(t *testing.T, kind string, env ...string) {
	t.Helper()
	parent := exec.Command("/proc/self/exe")
	parent.Env = append(append(os.Environ(), beParent+"="+kind), env...)
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(line, err)
	}
	var pid int
	if _, err := fmt.Sscan(line, &pid); err != nil {
		t.Fatal(line, err)
	}
	if gone(pid) {
		t.Fatal("the child was never there")
	}
	if err := parent.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = parent.Wait() // says "killed"
	eventually(t, "the end of the child", func() bool { return gone(pid) })
}

// gone reports whether a process has ended. Where nobody reaps orphans it stays
// as a zombie: state Z counts as gone.
func gone(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true
	}
	_, after, _ := strings.Cut(string(stat), ") ")
	return strings.HasPrefix(after, "Z") || strings.HasPrefix(after, "X")
}
