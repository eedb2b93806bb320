package broker

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"github.com/rebound-mqtt/rebound/harness/mqtt"
	"github.com/rebound-mqtt/rebound/harness/target"
)

// What a client sends while it is held comes to mochi in order, however it is cut.
func TestHeldClientSendsAhead(t *testing.T) {
	b := startTest(t, Options{})
	set := func(g target.Gate) {
		if _, err := b.SetGate(testContext(t), g); err != nil {
			t.Fatal(err)
		}
	}
	for _, filters := range []int{1, 40} { // less and more than is read ahead
		set(target.Gate{SlowAuth: &target.SlowAuth{Delay: time.Hour}})
		c := dialRaw(t, b.Info().Addresses[0])
		c.write(mqtt.AppendConnect(nil, mqtt.ConnectInfo{ClientID: fmt.Sprint("dev-", filters), Clean: true}))
		eventually(t, "held", func() bool { return b.Stats().Held == 1 })
		for i := range filters {
			c.write(mqtt.AppendSubscribe(nil, uint16(i+1), mqtt.Filter{Topic: "t/" + fmt.Sprint(i), QoS: 1}))
		}
		set(target.Gate{})
		if got := fmt.Sprintf("% x", c.read(4)); got != connack(0) {
			t.Errorf("CONNACK %s", got)
		}
		for i := range filters {
			if got := c.read(5); got[0] != 0x90 || got[3] != byte(i+1) || got[4] != 1 {
				t.Errorf("SUBACK %d: % x", i, got)
			}
		}
	}
}

// A WebSocket can not take a read back: it is held and let in, and its end is
// noticed, all the same.
func TestHeldWebSocket(t *testing.T) {
	b := startTest(t, Options{Also: []Transport{{Scheme: TransportWS}}})
	knock := func() *websocket.Conn {
		url := b.Info().Addresses[len(b.Info().Addresses)-1]
		c, resp, err := (&websocket.Dialer{Subprotocols: []string{"mqtt"}}).DialContext(testContext(t), url, nil)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		t.Cleanup(func() { _ = c.Close() })
		if err := c.WriteMessage(websocket.BinaryMessage, mqtt.AppendConnect(nil, mqtt.ConnectInfo{ClientID: "dev", Clean: true})); err != nil {
			t.Fatal(err)
		}
		return c
	}
	set := func(g target.Gate) target.GateTally {
		g.Name = "a"
		tally, err := b.SetGate(testContext(t), g)
		if err != nil {
			t.Fatal(err)
		}
		return tally
	}
	set(target.Gate{SlowAuth: &target.SlowAuth{Delay: time.Hour}})
	c := knock()
	eventually(t, "held", func() bool { return b.Stats().Held == 1 })
	set(target.Gate{})
	if _, got, err := c.ReadMessage(); err != nil || fmt.Sprintf("% x", got) != connack(0) {
		t.Errorf("% x, %v", got, err)
	}
	if err := c.WriteMessage(websocket.BinaryMessage, []byte{0xc0, 0}); err != nil { // what was to be read ahead is read now
		t.Fatal(err)
	}
	if _, got, err := c.ReadMessage(); err != nil || !bytes.Equal(got, []byte{0xd0, 0}) {
		t.Errorf("% x, %v", got, err)
	}
	set(target.Gate{ConnectLimit: &target.ConnectLimit{Rate: 1e-6, Burst: 1, Then: target.ThenHang}})
	knock()
	c = knock()
	eventually(t, "held", func() bool { return b.Stats().Held == 1 })
	_ = c.Close()
	eventually(t, "gone", func() bool { return b.Stats().Held == 0 })
	if tally := set(target.Gate{}); tally != (target.GateTally{Seen: 2, Passed: 1, Gone: 1, Delayed: 1}) {
		t.Errorf("%+v", tally)
	}
}

// A version 5 client is told in its own words.
func TestGatesInVersion5(t *testing.T) {
	for code, want := range map[byte]string{4: "86", 5: "87"} {
		b := startTest(t, Options{Gates: []target.Gate{{Name: "a", RejectAuth: &target.RejectAuth{Share: 1, Code: code}}}})
		c := dialRaw(t, b.Info().Addresses[0])
		c.write([]byte{0x10, 16, 0, 4, 'M', 'Q', 'T', 'T', 5, 2, 0, 0, 0, 0, 3, 'd', 'e', 'v'})
		ack, _ := c.rest()
		if len(ack) < 5 || ack[0] != 0x20 || fmt.Sprintf("%x", ack[3]) != want {
			t.Errorf("code %d: % x", code, ack)
		}
	}
}

// A broker that closes lets nobody in, and waits for nobody.
func TestCloseWithClientsHeld(t *testing.T) {
	for what, g := range map[string]target.Gate{
		"slow": {SlowAuth: &target.SlowAuth{Delay: time.Hour, Workers: 1, Queue: 10}},
		"hang": {ConnectLimit: &target.ConnectLimit{Rate: 1e-6, Burst: 1, Then: target.ThenHang}},
	} {
		b, err := StartEmbedded(testContext(t), Options{Gates: []target.Gate{g}})
		if err != nil {
			t.Fatal(err)
		}
		all := devices(t, b, 4)
		eventually(t, "held", func() bool { return b.Stats().Held >= 3 })
		if err := b.Close(); err != nil {
			t.Error(err)
		}
		for _, c := range all {
			if got, _ := c.rest(); len(got) > 0 && what == "slow" {
				t.Errorf("%s: % x", what, got)
			}
		}
	}
}

func TestGateMistakes(t *testing.T) {
	b := startTest(t, Options{})
	for _, g := range []target.Gate{
		{Clients: "("},
		{SlowAuth: &target.SlowAuth{Delay: -1}},
		{SlowAuth: &target.SlowAuth{Distribution: "normal"}},
		{RejectAuth: &target.RejectAuth{Share: 2, Code: 5}},
		{RejectAuth: &target.RejectAuth{Share: 1, Code: 3}},
		{ConnectLimit: &target.ConnectLimit{Rate: 1, Then: target.ThenHang}},
		{ConnectLimit: &target.ConnectLimit{Rate: 1, Burst: 1, Then: target.ThenDelay}},
		{SubscribeSlow: &target.SubscribeSlow{Delay: -1}},
		{PublishQuota: &target.PublishQuota{Burst: 1, Then: target.ThenClose}},
		{PublishQuota: &target.PublishQuota{Rate: 1, Burst: 1, Then: target.ThenRefuse}},
		{SubscribeSlow: &target.SubscribeSlow{}, SlowAuth: &target.SlowAuth{}},
	} {
		if _, err := b.SetGate(t.Context(), g); !errors.Is(err, target.ErrGate) {
			t.Errorf("%+v: %v", g, err)
		}
		if _, err := StartEmbedded(testContext(t), Options{Gates: []target.Gate{g}}); !errors.Is(err, target.ErrGate) {
			t.Errorf("from the start, %+v: %v", g, err)
		}
	}
}

// The mean of each distribution is its delay, and none is above the bound.
func TestDelayDistributions(t *testing.T) {
	const n, delay = 20_000, 100 * time.Millisecond
	for _, s := range []target.SlowAuth{
		{Delay: delay}, {Delay: delay, Distribution: target.DelayUniform}, {Delay: delay, Distribution: target.DelayExponential},
		{Delay: delay, Distribution: target.DelayExponential, Max: 150 * time.Millisecond},
	} {
		b, err := newBarrier(target.Gate{SlowAuth: &s, Seed: 1}, nil)
		if err != nil {
			t.Fatal(err)
		}
		var sum, most time.Duration
		for range n {
			d := b.draw()
			sum += d
			most = max(most, d)
		}
		mean := sum / n
		if s.Max == 0 && (mean < delay*97/100 || mean > delay*103/100) || s.Max > 0 && most != s.Max || mean > delay*103/100 {
			t.Errorf("%+v: mean %v, most %v", s, mean, most)
		}
	}
}

// Clients are picked alike by any broker, as the share says, and by the number
// that the expression catches, not by what is around it.
func TestPicks(t *testing.T) {
	pick := func(clients, id string, seed uint64) (picked []int) {
		b, err := newBarrier(target.Gate{Clients: clients, Seed: seed, RejectAuth: &target.RejectAuth{Share: 0.3, Code: 5}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 5000 {
			if b.picks(fmt.Sprintf(id, i), 0.3) {
				picked = append(picked, i)
			}
		}
		return picked
	}
	first := pick(`dev-run1-(\d+)`, "dev-run1-%06d", 1)
	if n := len(first); n < 1370 || n > 1630 { // 1500 ± 4 standard deviations
		t.Errorf("%d of 5000", n)
	}
	if again := pick(`dev-run2-(\d+)`, "dev-run2-%06d", 1); fmt.Sprint(first) != fmt.Sprint(again) {
		t.Error("another run picks others")
	}
	both := 0
	for _, i := range pick(`dev-run1-(\d+)`, "dev-run1-%06d", 2) {
		for _, j := range first {
			if i == j {
				both++
			}
		}
	}
	if both < 350 || both > 550 { // 450 if the seeds have nothing to do with each other
		t.Errorf("two seeds share %d", both)
	}
}

// The end of a connection that is read ahead is noticed once, and told to
// whoever reads it; what came before it is not lost.
func TestEarlyConn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, sent := range []string{"", "x", strings.Repeat("y", 200)} {
			near, far := net.Pipe()
			c := &earlyConn{Conn: near}
			gone := c.gone()
			go func() {
				if sent != "" { // a pipe tells of a write of nothing
					_, _ = io.WriteString(far, sent)
				}
				_ = far.Close()
			}()
			if sent == "" {
				<-gone
			}
			got, err := io.ReadAll(c)
			if string(got) != sent || err != nil {
				t.Errorf("%q, %v", got, err)
			}
			<-c.gone() // also when it is asked for late
			c.finish()
			_ = near.Close()
		}
	})
}
