package wire

import (
	"net"
	"net/url"
	"strings"
	"testing"

	paho "github.com/eclipse/paho.mqtt.golang"

	"github.com/rebound-mqtt/rebound/harness/mqtt"
	"github.com/rebound-mqtt/rebound/harness/timeline"
)

// The tap under the real client library: what it writes and how it reads.
func TestUnderPaho(t *testing.T) {
	client, broker := net.Pipe()
	served := make(chan error, 1)
	acked := make(chan struct{})
	go func() { served <- serve(broker, acked) }()

	r := &recorder{}
	got := make(chan string, 1)
	c := paho.NewClient(paho.NewClientOptions().AddBroker("tcp://127.0.0.1:1").SetClientID("c").
		SetProtocolVersion(4).SetAutoReconnect(false).SetKeepAlive(0).
		SetCustomOpenConnectionFn(func(*url.URL, paho.ClientOptions) (net.Conn, error) {
			return Tap(client, ticks(), r), nil
		}))
	for _, token := range []func() paho.Token{
		c.Connect,
		func() paho.Token {
			return c.Subscribe("t", 1, func(_ paho.Client, m paho.Message) { got <- string(m.Payload()) })
		},
		func() paho.Token { return c.Publish("t", 1, false, "payload") },
	} {
		if tok := token(); tok.Wait() && tok.Error() != nil {
			t.Fatal(tok.Error())
		}
	}
	if m := <-got; m != "payload" {
		t.Errorf("handler got %q", m)
	}
	<-acked // a DISCONNECT may overtake an acknowledgement in the library
	c.Disconnect(250)
	if err := <-served; err != nil {
		t.Error(err)
	}

	seen := map[string]int{}
	for _, l := range r.take() {
		f := strings.Fields(l)
		seen[f[0]+" "+f[1]]++
	}
	for _, l := range []string{
		"out CONNECT", "in CONNACK", "out SUBSCRIBE", "in SUBACK",
		"out PUBLISH", "in PUBACK", "in PUBLISH", "out PUBACK", "out DISCONNECT",
	} {
		if seen[l] != 1 {
			t.Errorf("%s: seen %d times", l, seen[l])
		}
		delete(seen, l)
	}
	if len(seen) != 0 {
		t.Errorf("also seen: %v", seen)
	}
	if end, ends := r.ended(); ends != 1 || end.Kind != timeline.EndLocal || len(end.Last) != 9 {
		t.Errorf("%d ends: %+v", ends, end)
	}
}

// serve is a broker of a few lines: it grants, acknowledges and echoes. It closes
// acked at the first PUBACK.
func serve(c net.Conn, acked chan<- struct{}) error {
	defer c.Close()
	var f mqtt.Framer
	for b := make([]byte, 512); ; {
		n, err := c.Read(b)
		if err != nil {
			return nil
		}
		var answer []byte
		if err := f.Feed(b[:n], 1, func(p *mqtt.Packet) {
			switch p.Type {
			case mqtt.CONNECT:
				answer = mqtt.AppendConnack(answer, false, 0)
			case mqtt.SUBSCRIBE:
				answer = mqtt.AppendSuback(answer, p.ID, 1)
			case mqtt.PUBACK:
				close(acked)
			case mqtt.PUBLISH:
				answer = mqtt.AppendPuback(answer, p.ID)
				answer = mqtt.AppendPublish(answer, mqtt.Publish{Topic: string(p.Topic), QoS: 1, ID: 77, Payload: []byte("payload")})
			}
		}); err != nil {
			return err
		}
		if _, err := c.Write(answer); err != nil {
			return nil
		}
	}
}
