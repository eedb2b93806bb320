package broker

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rebound-mqtt/rebound/harness/mqtt"
)

// True finds in mosquitto: see trackrecord_test.go for what these tests are.
// Without a mosquitto they are skipped.

// startFoundMosquitto starts mosquitto as this package does, with one change of
// its configuration: one line in place of another.
func startFoundMosquitto(t *testing.T, line, instead string) *Command {
	t.Helper()
	path, err := lookProgram("mosquitto")
	if err != nil {
		t.Skip("SKIPPED: mosquitto is not installed")
	}
	p := mosquitto()
	p.prepare = func(dir string, listen []string) ([]string, map[string]string, error) {
		args, settings, err := mosquittoPrepare(dir, listen)
		if err != nil {
			return nil, nil, err
		}
		file := args[1]
		conf, err := os.ReadFile(file)
		if err != nil {
			return nil, nil, err
		}
		if !strings.Contains(string(conf), line) {
			return nil, nil, errors.New("the configuration has no line " + line)
		}
		return args, settings, os.WriteFile(file, []byte(strings.Replace(string(conf), line, instead, 1)), 0o600)
	}
	for try := 1; ; try++ {
		c, err := startOnce(testContext(t), p, path, Options{Addresses: 1}.withDefaults())
		if errors.Is(err, ErrPortInUse) && try < portTries {
			continue
		}
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
}

// TestTrackRecordMosquittoQuota: mosquitto 2.0.11, with its default of 20 for
// max_inflight_messages, acknowledges a QoS 1 message of an MQTT 3.1.1 client that
// has 20 of QoS 2 under way, and throws it away [MQTT-4.3.2-2]. The PUBACK would
// say so by its reason code 0x97, which MQTT 3.1.1 does not have.
func TestTrackRecordMosquittoQuota(t *testing.T) {
	c := startFoundMosquitto(t, "max_inflight_messages 0", "log_type debug")
	addr := c.Info().Addresses[0]
	sub := dialFinder(t, addr, "sub", true)
	sub.subscribe("t")
	pub := dialFinder(t, addr, "pub", true)
	const quota = 20
	for id := range uint16(quota) {
		pub.write(mqtt.AppendPublish(nil, mqtt.Publish{Topic: "other", ID: id + 1, QoS: 2, Payload: []byte("x")}))
		pub.read(mqtt.PUBREC)
	}
	pub.publish(quota+1, "taken")
	pub.read(mqtt.PUBACK)

	marker := dialFinder(t, addr, "marker", true)
	marker.publish(1, "marker")
	marker.read(mqtt.PUBACK)
	got := sub.upTo("marker")
	if slices.Contains(got, "taken") {
		t.Fatalf("the message was delivered (%q): mosquitto %s has mended it", got, c.Info().Version)
	}
	t.Logf("mosquitto %s: acknowledged: taken, marker; delivered: %q", c.Info().Version, got)
	for line := range strings.Lines(c.output.String()) {
		if strings.Contains(line, "rc151") {
			t.Log(strings.TrimSpace(line))
		}
	}
}

// TestTrackRecordMosquittoKeepAlive: mosquitto 2.0.11 counts 1.5 times an odd
// keep alive, and the silence, in whole seconds, and can end a connection too
// soon [MQTT-3.1.2-24]. It looks every 5 s, so it is those that have been silent
// for a little more than a second then.
func TestTrackRecordMosquittoKeepAlive(t *testing.T) {
	c := startFoundMosquitto(t, "", "")
	silence, ended := shortestSilence(t, c.Info().Addresses[0], 60)
	if !ended || silence >= 1500*time.Millisecond {
		t.Fatalf("the shortest silence that ended a connection was %s: mosquitto %s has mended it", silence, c.Info().Version)
	}
	t.Logf("mosquitto %s, keep alive 1 s: ended after %s of silence, 1.5 s are the client's", c.Info().Version, silence.Round(time.Millisecond))
}
