package fleet

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"

	"github.com/rebound-mqtt/rebound/reports"
	"github.com/rebound-mqtt/rebound/scenarios"
)

type ownDriver struct{ Paho }

func (ownDriver) Info() reports.Driver { return reports.Driver{Name: "own", Version: "1"} }

func TestDriverTable(t *testing.T) {
	rows := Drivers(ownDriver{})
	for _, name := range []string{"paho", "own"} {
		d, err := FindDriver(name, rows)
		if err != nil || d.Info().Name != name {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := FindDriver("nobody", rows); !errors.Is(err, ErrDriver) {
		t.Errorf("got %v", err)
	}
	mod, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	if want := pahoModule + " v" + (Paho{}).Info().Version; !strings.Contains(string(mod), want) {
		t.Errorf("go.mod does not have %s", want)
	}
}

// settings makes a paho client's settings with a tap that keeps records only.
func (b *bench) settings(addr string) Settings {
	f, err := New(b.config(addr, 1, devices(true), nil))
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = f.Close() })
	return Settings{
		ClientID: f.ID(0), Addr: addr, Clean: true,
		Reconnect:    scenarios.Reconnect{Policy: "paho", Max: 20 * time.Millisecond},
		WriteTimeout: 2 * time.Second, Dial: f.clients[0].dial,
	}
}

// After Close, and only then, the library's sleep after a failed attempt is cut.
func TestPahoCloseCutsTheBackoff(t *testing.T) {
	b := newBench(t)
	made, err := Paho{}.New(b.settings("127.0.0.1:1"))
	if err != nil {
		t.Fatal(err)
	}
	c := made.(*pahoClient)
	failed := paho.ConnectionNotificationFailed{}
	c.notified(c.lib, failed) // a first connect: there are no live options yet
	live := paho.NewClientOptions().SetMaxReconnectInterval(time.Hour)
	c.reconnecting(c.lib, live)
	c.notified(c.lib, failed)
	if live.MaxReconnectInterval != time.Hour {
		t.Error("backoff changed before Close")
	}
	c.Close()
	c.notified(c.lib, paho.ConnectionNotificationConnected{})
	if live.MaxReconnectInterval != time.Hour {
		t.Error("backoff changed by another notification")
	}
	c.notified(c.lib, failed)
	if live.MaxReconnectInterval != 1 {
		t.Errorf("sleeps up to %s after Close", live.MaxReconnectInterval)
	}
}

func TestPahoDriver(t *testing.T) {
	b := newBench(t)
	broker := startBroker(t, "127.0.0.1:0")
	s := b.settings(broker.addr)
	connected, reconnecting, messages := make(chan struct{}, 9), make(chan struct{}, 9), make(chan string, 9)
	s.OnConnected = func() { connected <- struct{}{} }
	s.OnReconnecting = func() { reconnecting <- struct{}{} }
	s.OnMessage = func(topic string, payload []byte) { messages <- topic + " " + string(payload) }
	c, err := Paho{}.New(s)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for qos := range byte(2) {
		if err := c.Publish("a/b", qos, false, []byte("x")); !errors.Is(err, ErrRefused) {
			t.Errorf("QoS %d before Connect: got %v, want a refusal", qos, err)
		}
	}
	if err := c.Subscribe(t.Context(), []scenarios.Subscription{{Topic: "a"}}); err == nil {
		t.Error("subscribed before Connect")
	}
	if err := c.Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	<-connected
	err = c.Subscribe(t.Context(), []scenarios.Subscription{{Topic: "a/#", QoS: 1}, {Topic: "deny/a"}, {Topic: "a/b", QoS: 1}})
	if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "deny/a") || strings.Contains(err.Error(), "a/#") {
		t.Errorf("refused filter: got %v", err)
	}
	if err := c.Subscribe(t.Context(), []scenarios.Subscription{{Topic: "a/b", QoS: 1}}); err != nil {
		t.Errorf("granted filter: %v", err)
	}
	if err := c.Publish("a/b", 1, false, []byte("x")); err != nil {
		t.Errorf("connected: %v", err)
	}
	if m := <-messages; m != "a/b x" {
		t.Errorf("message %q", m)
	}
	broker.kick(t, s.ClientID)
	<-reconnecting
	<-connected
	c.Close()
	if err := c.Publish("a/b", 1, false, []byte("x")); !errors.Is(err, ErrRefused) {
		t.Errorf("after Close: got %v, want a refusal", err)
	}
}
