package netfault

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"sync"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"

	"github.com/rebound-mqtt/rebound/harness/broker"
	"github.com/rebound-mqtt/rebound/harness/mqtt"
	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/harness/wire"
)

// TestUnderPaho: the real client library against a real broker. Each rule meets
// its packet once in the exchange of one message, knows the message, and where
// it ends the connection the tap sees a FIN and the library comes back.
func TestUnderPaho(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	b, err := broker.StartEmbedded(ctx, broker.Options{Addresses: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	addr, err := url.Parse(b.Info().Addresses[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, qos := range []byte{1, 2} {
		for _, tc := range []struct {
			kind mqtt.Type
			out  bool
			qos  byte // of messages that have such a packet; 0 = both
		}{
			{mqtt.PUBLISH, true, 0}, {mqtt.PUBLISH, false, 0},
			{mqtt.PUBACK, false, 1}, {mqtt.PUBACK, true, 1},
			{mqtt.PUBREC, false, 2}, {mqtt.PUBREL, true, 2}, {mqtt.PUBCOMP, false, 2},
			{mqtt.PUBREC, true, 2}, {mqtt.PUBREL, false, 2}, {mqtt.PUBCOMP, true, 2},
		} {
			for name, rule := range acts {
				if tc.qos != 0 && tc.qos != qos {
					continue
				}
				rule.Packet, rule.Out, rule.QoS, rule.Nth = tc.kind, tc.out, -1, 1
				t.Run(fmt.Sprintf("qos=%d/%v/out=%v/%s", qos, tc.kind, tc.out, name), func(t *testing.T) {
					underPaho(t, addr.Host, qos, rule)
				})
			}
		}
	}
}

// lives are the lives of one client, as its taps tell.
type lives struct {
	kinds
	ended chan struct{}
}

func (l *lives) End(e timeline.End) { l.kinds.End(e); l.ended <- struct{}{} }

func underPaho(t *testing.T, addr string, qos byte, rule Rule) {
	f := NewFrames(timeline.NewClock().Now)
	l, up, hit := &lives{ended: make(chan struct{}, 100)}, make(chan struct{}, 100), make(chan Hit, 100)
	var mu sync.Mutex
	dials := 0
	id := fmt.Sprintf("c%p", l)
	c := paho.NewClient(paho.NewClientOptions().AddBroker("tcp://" + addr).SetClientID(id).SetCleanSession(false).
		SetProtocolVersion(4).SetKeepAlive(0).SetOnConnectHandler(func(paho.Client) { up <- struct{}{} }).
		SetCustomOpenConnectionFn(func(*url.URL, paho.ClientOptions) (net.Conn, error) {
			raw, err := new(net.Dialer).DialContext(t.Context(), "tcp", addr)
			if err != nil {
				return nil, err
			}
			mu.Lock()
			defer mu.Unlock()
			dials++
			return wire.Tap(f.Wrap(id, dials, raw), f.now, l), nil
		}))
	defer c.Disconnect(0)
	wait := func(what string, ch <-chan struct{}) {
		t.Helper()
		select {
		case <-ch:
		case <-time.After(20 * time.Second):
			t.Fatalf("waited in vain for %s", what)
		}
	}
	for _, call := range []func() paho.Token{
		c.Connect,
		func() paho.Token { return c.Subscribe("rb/"+id, 2, func(paho.Client, paho.Message) {}) },
	} {
		if token := call(); !token.WaitTimeout(20*time.Second) || token.Error() != nil {
			t.Fatal(token.Error())
		}
	}
	wait("the first connection", up)
	rule.Hit = func(h Hit) { hit <- h }
	f.Arm(id, rule)
	payload := make([]byte, 1000)
	mqtt.PutPayload(payload, ours(42))
	c.Publish("rb/"+id, qos, false, payload)
	select {
	case h := <-hit:
		if h.N != 1 || h.ID == 0 || h.Message != ours(42) || h.Packet != rule.Packet {
			t.Errorf("%+v", h)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the rule met no packet")
	}
	if rule.ends() {
		wait("the end", l.ended)
		wait("the second connection", up)
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.got[0] != timeline.EndEOF {
			t.Errorf("it ended with %s", l.got[0])
		}
	}
	if len(hit) != 0 {
		t.Error("the rule acted twice")
	}
}
