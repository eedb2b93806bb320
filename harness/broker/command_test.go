package broker

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/rebound-mqtt/rebound/harness/mqtt"
)

// needProgram fails under CI=true and skips elsewhere when a foreign broker is
// not installed: `make test` installs it where it can.
func needProgram(t testing.TB, name string) {
	t.Helper()
	if _, err := lookProgram(name); err == nil {
		return
	}
	p, _ := findProgram(name)
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s is not installed (%s)", name, p.install)
	}
	t.Skipf("%s is not installed (%s)", name, p.install)
}

func startTestCommand(t *testing.T, name string, o Options) *Command {
	t.Helper()
	needProgram(t, name)
	c, err := StartCommand(testContext(t), name, o)
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

// syncBuffer is a log that is read while it is written.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// TestPrograms starts each row of the table, speaks MQTT with it and ends it.
func TestPrograms(t *testing.T) {
	for _, p := range programs() {
		t.Run(p.name, func(t *testing.T) {
			log := &syncBuffer{}
			c := startTestCommand(t, p.name, Options{BrokerLog: log})
			info := c.Info()
			if info.Kind != KindCommand || info.Broker != p.name || info.Version == "" || len(info.Addresses) == 0 || len(info.Settings) == 0 {
				t.Errorf("%+v", info)
			}
			for _, addr := range info.Addresses {
				connectRaw(t, addr, mqtt.ConnectInfo{ClientID: "c" + strings.Map(letters, addr), Clean: true})
			}
			// A kept session is kept.
			first, present := connectRaw(t, info.Addresses[0], mqtt.ConnectInfo{ClientID: "kept"})
			if present {
				t.Error("a new session is present")
			}
			first.subscribe("a/b", 1)
			_ = first.conn.Close()
			if _, present = connectRaw(t, info.Addresses[0], mqtt.ConnectInfo{ClientID: "kept"}); !present {
				t.Error("the kept session is not present")
			}
			pid, dir := c.PID(), c.dir
			if gone(pid) {
				t.Errorf("pid %d is gone", pid)
			}
			if err := c.Close(); err != nil {
				t.Error(err)
			}
			if !gone(pid) {
				t.Errorf("pid %d lives on", pid)
			}
			if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the folder is still there: %v", err)
			}
			if log.String() == "" {
				t.Error("nothing was logged")
			}
		})
	}
}

func letters(r rune) rune {
	if r >= '0' && r <= '9' {
		return r
	}
	return -1
}

func TestCommandKilled(t *testing.T) {
	c := startTestCommand(t, "mosquitto", Options{})
	if err := c.Kill(); err != nil {
		t.Fatal(err)
	}
	<-c.Done()
	if err := c.Close(); err != nil { // what we killed ourselves ended as it should
		t.Error(err)
	}
}

// TestCommandDied: a broker that dies by itself is an error of Close, with its
// last words.
func TestCommandDied(t *testing.T) {
	needProgram(t, "mosquitto")
	c, err := StartCommand(testContext(t), "mosquitto", Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(c.PID(), syscall.SIGABRT); err != nil {
		t.Fatal(err)
	}
	<-c.Done()
	if err := c.Close(); err == nil || !strings.Contains(err.Error(), "it printed") {
		t.Errorf("got %v", err)
	}
}

func TestCommandPortTaken(t *testing.T) {
	needProgram(t, "mosquitto")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() //nolint:errcheck // of a test
	_, err = StartCommand(testContext(t), "mosquitto", Options{Port: l.Addr().(*net.TCPAddr).Port})
	if !errors.Is(err, ErrPortInUse) {
		t.Errorf("got %v", err)
	}
}

func TestNoProgram(t *testing.T) {
	if _, err := StartCommand(testContext(t), "no-such-broker", Options{}); !errors.Is(err, ErrNoProgram) {
		t.Errorf("got %v", err)
	}
	t.Setenv("PATH", t.TempDir())
	if _, err := lookProgram("rebound-no-such-program"); err == nil {
		t.Error("found what is not there")
	}
}

func TestCommandCancelled(t *testing.T) {
	needProgram(t, "mosquitto")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := StartCommand(ctx, "mosquitto", Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
