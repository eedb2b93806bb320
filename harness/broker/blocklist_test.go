package broker

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
	"github.com/eclipse/paho.mqtt.golang/packets"

	"github.com/rebound-mqtt/rebound/harness/mqtt"
)

// connectPaho connects a paho client that does not come back by itself.
func connectPaho(b *Embedded, id string, set ...func(*paho.ClientOptions)) (paho.Client, error) {
	o := paho.NewClientOptions().AddBroker(b.Info().Addresses[0]).SetClientID(id).SetProtocolVersion(4).
		SetAutoReconnect(false).SetConnectTimeout(patience)
	for _, f := range set {
		f(o)
	}
	c := paho.NewClient(o)
	token := c.Connect()
	if !token.WaitTimeout(patience) {
		return c, errors.New("no answer to the CONNECT")
	}
	return c, token.Error()
}

// A blocked client is refused with CONNACK 5, another one is not, and a client
// that is let in again comes in.
func TestBlockedPahoClient(t *testing.T) {
	b := startTest(t, Options{})
	live, err := connectPaho(b, "dev")
	if err != nil {
		t.Fatal(err)
	}
	defer live.Disconnect(0)
	if err := b.Block("dev"); err != nil {
		t.Fatal(err)
	}
	if !live.IsConnectionOpen() || !b.Online("dev") {
		t.Error("Block closed a connection")
	}
	if found, _, err := b.CloseClient(testContext(t), "dev"); !found || err != nil {
		t.Fatal(found, err)
	}
	if _, err := connectPaho(b, "dev"); !errors.Is(err, packets.ErrorRefusedNotAuthorised) {
		t.Errorf("a blocked client: %v", err)
	}
	if b.Online("dev") {
		t.Error("a blocked client is online")
	}
	other, err := connectPaho(b, "dev2")
	if err != nil {
		t.Error("another client:", err)
	}
	other.Disconnect(0)
	b.Unblock("dev")
	back, err := connectPaho(b, "dev")
	if err != nil || !b.Online("dev") {
		t.Errorf("after Unblock: %v, online %v", err, b.Online("dev"))
	}
	back.Disconnect(0)
}

// On the wire: a CONNACK with the version's own code, and a FIN.
func TestBlockedOnTheWire(t *testing.T) {
	b := startTest(t, Options{})
	if err := b.Block("dev"); err != nil {
		t.Fatal(err)
	}
	v5 := append([]byte{0x10, 16, 0, 4, 'M', 'Q', 'T', 'T', 5, 2, 0, 0, 0, 0, 3}, "dev"...)
	for name, tc := range map[string]struct {
		connect []byte
		code    byte
	}{
		"3.1.1":             {mqtt.AppendConnect(nil, mqtt.ConnectInfo{ClientID: "dev", Clean: true}), 5},
		"3.1.1, persistent": {mqtt.AppendConnect(nil, mqtt.ConnectInfo{ClientID: "dev"}), 5},
		"5":                 {v5, 0x8A},
	} {
		c := dialRaw(t, b.Info().Addresses[0])
		c.write(tc.connect)
		if got, fin := c.rest(); len(got) < 4 || got[0] != 0x20 || got[2] != 0 || got[3] != tc.code || !fin {
			t.Errorf("%s: got % x, fin %v; want CONNACK %#x and a FIN", name, got, fin, tc.code)
		}
	}
	if n := b.Clients(); n != 0 {
		t.Errorf("%d clients are counted", n)
	}
}

// A refused CONNECT leaves a kept session as it is.
func TestBlockKeepsTheSession(t *testing.T) {
	b := startTest(t, Options{})
	addr := b.Info().Addresses[0]
	dev := mqtt.ConnectInfo{ClientID: "dev"}
	c, _ := connectRaw(t, addr, dev)
	c.subscribe("cmd", 1)
	if err := b.Block("dev"); err != nil {
		t.Fatal(err)
	}
	if found, _, err := b.CloseClient(testContext(t), "dev"); !found || err != nil {
		t.Fatal(found, err)
	}
	refused := dialRaw(t, addr)
	refused.write(mqtt.AppendConnect(nil, mqtt.ConnectInfo{ClientID: "dev", Clean: true}))
	refused.rest()
	if err := b.Send(testContext(t), "cmd", []byte("kept")); err != nil {
		t.Fatal(err)
	}
	b.Unblock("dev")
	c, present := connectRaw(t, addr, dev)
	if !present {
		t.Fatal("the session is gone")
	}
	if got := c.read(13); !bytes.HasSuffix(got, []byte("kept")) {
		t.Errorf("got % x", got)
	}
}

func TestBlockListIsBounded(t *testing.T) {
	b := startTest(t, Options{})
	for i := range maxBlocked {
		if err := b.Block(fmt.Sprint("dev", i)); err != nil {
			t.Fatal(i, err)
		}
	}
	if err := b.Block("one more"); !errors.Is(err, ErrBlockListFull) {
		t.Error(err)
	}
	if err := b.Block("dev7"); err != nil {
		t.Error("one that is there:", err)
	}
	b.Unblock("dev7")
	b.Unblock("dev7")
	if err := b.Block("one more"); err != nil {
		t.Error(err)
	}
	list := b.Blocked()
	if len(list) != maxBlocked || !slices.IsSorted(list) || slices.Contains(list, "dev7") || !slices.Contains(list, "one more") {
		t.Errorf("%d clients listed", len(list))
	}
}

// Ids as long as a request can carry fill the list, too.
func TestBlockListIsBoundedInBytes(t *testing.T) {
	b := startTest(t, Options{})
	long := strings.Repeat("x", maxBlockedIDs/4-1)
	for i := range 4 {
		if err := b.Block(long + fmt.Sprint(i)); err != nil {
			t.Fatal(i, err)
		}
	}
	if err := b.Block("dev"); !errors.Is(err, ErrBlockListFull) {
		t.Error(err)
	}
	for range 2 {
		b.Unblock(long + "0")
	}
	if err := b.Block("dev"); err != nil {
		t.Error(err)
	}
	if err := b.Block(long + "0"); !errors.Is(err, ErrBlockListFull) {
		t.Error(err)
	}
}

// Clients that connect all the time while they are blocked and then kicked: at
// the end none is online, whatever the CONNECT was doing just then.
func TestNoneSlipsThroughBlockAndKick(t *testing.T) {
	b := startTest(t, Options{})
	ctx := testContext(t)
	for round := range 30 {
		id := fmt.Sprint("dev", round)
		refused := make(chan error, 1)
		go func() { refused <- connectUntilRefused(b, id) }()
		eventually(t, "it connects", func() bool { return b.Online(id) })
		if round%2 == 0 { // or block it while it comes back
			if _, _, err := b.CloseClient(ctx, id); err != nil {
				t.Fatal(err)
			}
		}
		if err := b.Block(id); err != nil {
			t.Fatal(err)
		}
		if _, _, err := b.CloseClient(ctx, id); err != nil {
			t.Fatal(err)
		}
		if err := <-refused; err != nil {
			t.Fatal("a blocked client stays connected after the kick: ", err)
		}
	}
}

// connectUntilRefused connects again and again, as soon as it is closed, until
// a CONNACK refuses it. The error says that a connection was not closed in time.
func connectUntilRefused(b *Embedded, id string) error {
	for {
		conn, err := net.Dial("tcp", strings.TrimPrefix(b.Info().Addresses[0], "tcp://"))
		if err != nil {
			return err
		}
		ack := make([]byte, 5)
		_, err = conn.Write(mqtt.AppendConnect(nil, mqtt.ConnectInfo{ClientID: id, Clean: true}))
		err = errors.Join(err, conn.SetDeadline(time.Now().Add(patience)))
		n, end := io.ReadFull(conn, ack) // a byte more than a CONNACK has: to the end
		if err = errors.Join(err, conn.Close()); err != nil {
			return err
		}
		switch {
		case errors.Is(end, os.ErrDeadlineExceeded):
			return end
		case n == 4 && ack[3] == 5:
			return nil
		}
	}
}
