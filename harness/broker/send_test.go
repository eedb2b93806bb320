package broker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	paho "github.com/eclipse/paho.mqtt.golang"

	"github.com/rebound-mqtt/rebound/harness/mqtt"
)

func TestSentMessageReachesPahoWithQoS1(t *testing.T) {
	b := startTest(t, Options{})
	c, err := connectPaho(b, "dev")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Disconnect(0)
	got := make(chan paho.Message, 4)
	for topic, qos := range map[string]byte{"cmd/1": 1, "cmd/0": 0, "cmd/2": 2} {
		if token := c.Subscribe(topic, qos, func(_ paho.Client, m paho.Message) { got <- m }); !token.WaitTimeout(patience) || token.Error() != nil {
			t.Fatal(token.Error())
		}
	}
	for topic, want := range map[string]byte{"cmd/1": 1, "cmd/0": 0, "cmd/2": 1} {
		if err := b.Send(testContext(t), topic, []byte("hello")); err != nil {
			t.Fatal(err)
		}
		select {
		case m := <-got:
			if m.Topic() != topic || m.Qos() != want || m.Retained() || m.Duplicate() || string(m.Payload()) != "hello" {
				t.Errorf("got %q %q qos %d", m.Topic(), m.Payload(), m.Qos())
			}
		case <-testContext(t).Done():
			t.Fatal("never came: ", topic)
		}
	}
}

// A session that is away gets the message when it comes back.
func TestSentMessageWaitsForASession(t *testing.T) {
	b := startTest(t, Options{})
	addr := b.Info().Addresses[0]
	c, _ := connectRaw(t, addr, mqtt.ConnectInfo{ClientID: "dev"})
	c.subscribe("cmd", 1)
	c.write(mqtt.AppendDisconnect(nil))
	c.rest()
	eventually(t, "it is gone", func() bool { return !b.Online("dev") })
	if err := b.Send(testContext(t), "cmd", []byte("waited")); err != nil {
		t.Fatal(err)
	}
	c, _ = connectRaw(t, addr, mqtt.ConnectInfo{ClientID: "dev"})
	if got := c.read(15); !bytes.HasSuffix(got, []byte("waited")) {
		t.Errorf("got % x", got)
	}
}

// The publisher is nobody: it counts as no client, and a device with the id of
// mochi's inline client is a device like others.
func TestSendIsNoClient(t *testing.T) {
	b := startTest(t, Options{})
	for _, id := range []string{"inline", "local"} {
		c, _ := connectRaw(t, b.Info().Addresses[0], mqtt.ConnectInfo{ClientID: id, Clean: true})
		c.subscribe("cmd", 1)
		if err := b.Send(testContext(t), "cmd", []byte("hello")); err != nil {
			t.Fatal(err)
		}
		if got := c.read(14); !bytes.HasSuffix(got, []byte("hello")) {
			t.Errorf("%s got % x", id, got)
		}
		if n, known := b.Clients(), b.server.Clients.Len(); n != 1 || known != 1 {
			t.Errorf("%d clients are counted, %d known", n, known)
		}
		if found, _, err := b.CloseClient(testContext(t), id); !found || err != nil {
			t.Error(found, err)
		}
		c.rest()
		eventually(t, "it is gone", func() bool { return b.Clients() == 0 })
	}
	if b.Online("") {
		t.Error("the publisher is online")
	}
}

func TestSendRefuses(t *testing.T) {
	b := startTest(t, Options{})
	for _, topic := range []string{"", "a/#", "+"} {
		if err := b.Send(testContext(t), topic, nil); err == nil {
			t.Errorf("topic %q was taken", topic)
		}
	}
	ended, cancel := context.WithCancel(testContext(t))
	cancel()
	if err := b.Send(ended, "x", nil); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestConcurrentSends(t *testing.T) {
	const senders, each = 8, 50
	b := startTest(t, Options{})
	c, _ := connectRaw(t, b.Info().Addresses[0], mqtt.ConnectInfo{ClientID: "dev", Clean: true})
	c.subscribe("cmd", 0)
	var calls sync.WaitGroup
	for sender := range senders {
		calls.Go(func() {
			for i := range each {
				if err := b.Send(context.Background(), "cmd", fmt.Appendf(nil, "%03d", sender*each+i)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	seen := map[string]bool{}
	for range senders * each {
		seen[string(c.read(10)[7:])] = true
	}
	calls.Wait()
	if len(seen) != senders*each {
		t.Errorf("%d different messages of %d", len(seen), senders*each)
	}
}
