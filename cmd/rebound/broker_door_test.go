package main

import (
	"io"
	"strings"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
)

// The flags of faults at the door reach the broker, and only the clients that
// they are for.
func TestBrokerDoors(t *testing.T) {
	s := serveProcess(t, "--reject-auth", "100%", "--reject-code", "4", "--slow-auth", "100ms", "--auth-workers", "1",
		"--connect-limit", "100/s", "--connect-burst", "100", "--subscribe-slow", "50ms", "--publish-quota", "100/s", "--door-clients", "dev-.*")
	start := time.Now()
	c := paho.NewClient(paho.NewClientOptions().AddBroker(s.mqtt[0]).SetClientID("dev-1").SetProtocolVersion(4).SetAutoReconnect(false))
	token := c.Connect()
	if !token.WaitTimeout(patience) || token.Error() == nil || token.(*paho.ConnectToken).ReturnCode() != 4 {
		t.Errorf("dev-1 is let in: %v, code %d", token.Error(), token.(*paho.ConnectToken).ReturnCode())
	}
	if took := time.Since(start); took < 100*time.Millisecond {
		t.Errorf("answered after %v", took)
	}
	other, _ := connectDevice(t, s.mqtt[0], "other", true, nil)
	complete(t, "subscribe", other.Subscribe("a", 1, nil))
	s.stop(t)
}

// What can not be meant is said, with the flag, before anything is opened.
func TestBrokerDoorMistakes(t *testing.T) {
	for args, want := range map[string]string{
		"--slow-auth=":     "--slow-auth is empty",
		"--slow-auth=soon": "--slow-auth: delay",
		"--auth-workers=8": "--auth-workers is of no use without --slow-auth",
		"--slow-auth=1s --auth-distribution=normal": `--slow-auth: distribution is "normal"`,
		"--reject-auth=30":                          "--reject-auth: share",
		"--reject-auth=30% --reject-code=2":         "--reject-auth: code is 2, want 4 or 5",
		"--connect-limit=0/s":                       `--connect-limit: rate is "0/s"`,
		"--connect-limit=5/s --connect-then=drop":   `--connect-limit: then is "drop"`,
		"--publish-quota=5/s --publish-burst=0":     "--publish-quota: burst is 0",
		"--door-clients=dev":                        "--door-clients is of no use without",
		"--slow-auth=1s --door-clients=[":           "--door-clients: error parsing regexp",
		"--slow-auth=1s --door-clients=(a|b)":       "--door-clients: write a group as (?:…)",
	} {
		c := brokerCommand(streams{io.Discard, io.Discard})
		c.SetArgs(strings.Fields(args))
		c.SilenceUsage, c.SilenceErrors = true, true
		if err := c.Execute(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", args, err, want)
		}
	}
}
