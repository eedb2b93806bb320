package compat

import (
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
)

// device is an MQTT client that comes back by its own reconnect logic and
// tells each loss and each return.
type device struct {
	id       string
	client   mqtt.Client
	up, down chan struct{}
}

// connect brings a device up; it goes with the test.
func connect(t *testing.T, s served, id string) *device {
	t.Helper()
	// Rooms enough for every event of a test, so that no handler waits.
	d := &device{id: id, up: make(chan struct{}, 64), down: make(chan struct{}, 64)}
	o := options(s, id).SetAutoReconnect(true).SetMaxReconnectInterval(50 * time.Millisecond).
		SetOnConnectHandler(func(mqtt.Client) { d.up <- struct{}{} }).
		SetConnectionLostHandler(func(mqtt.Client, error) { d.down <- struct{}{} })
	d.client = mqtt.NewClient(o)
	if token := d.client.Connect(); !token.WaitTimeout(patience) || token.Error() != nil {
		t.Fatalf("connect %q: %v", id, token.Error())
	}
	t.Cleanup(func() { d.client.Disconnect(0) })
	await(t, d.up, id+" is up")
	return d
}

func options(s served, id string) *mqtt.ClientOptions {
	return mqtt.NewClientOptions().AddBroker(s.mqtt).SetClientID(id).SetConnectTimeout(patience)
}

// closedAndBack waits until the device lost its connection and came back.
func (d *device) closedAndBack(t *testing.T) {
	t.Helper()
	await(t, d.down, d.id+" loses its connection")
	await(t, d.up, d.id+" is back")
}

func (d *device) subscribe(t *testing.T, topic string, received chan<- mqtt.Message) {
	t.Helper()
	token := d.client.Subscribe(topic, 1, func(_ mqtt.Client, m mqtt.Message) { received <- m })
	if !token.WaitTimeout(patience) || token.Error() != nil {
		t.Fatalf("subscribe %q: %v", topic, token.Error())
	}
}

// untouched fails if the device has lost its connection.
func (d *device) untouched(t *testing.T) {
	t.Helper()
	if !d.client.IsConnectionOpen() || len(d.down) > 0 {
		t.Errorf("%s lost its connection", d.id)
	}
}

// connack connects once as a client and gives the code of the CONNACK.
func connack(t *testing.T, s served, id string) byte {
	t.Helper()
	client := mqtt.NewClient(options(s, id).SetAutoReconnect(false).SetConnectRetry(false))
	token := client.Connect().(*mqtt.ConnectToken)
	if !token.WaitTimeout(patience) {
		t.Fatalf("no CONNACK for %q", id)
	}
	client.Disconnect(0)
	return token.ReturnCode()
}

func await[T any](t *testing.T, from <-chan T, what string) T {
	t.Helper()
	select {
	case got := <-from:
		return got
	case <-time.After(patience):
		t.Fatalf("waited %v in vain: %s", patience, what)
		panic("not reached")
	}
}

// eventually polls a condition.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited %v in vain: %s", patience, what)
		}
	}
}
