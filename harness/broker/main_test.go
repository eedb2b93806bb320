package broker

import (
	"context"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/rebound-mqtt/rebound/harness/closeconn"
	"github.com/rebound-mqtt/rebound/harness/closeconn/acs"
	"github.com/rebound-mqtt/rebound/harness/mqtt"
)

// Environment of re-executed test binaries.
const (
	noChildMain = "REBOUND_TEST_NO_CHILD_MAIN" // be a program that forgot ChildMain
	beParent    = "REBOUND_TEST_PARENT"        // start a child, print its pid and wait to be killed
	bePaused    = "REBOUND_TEST_PAUSED"        // pause it before
)

func TestMain(m *testing.M) {
	if IsChild() && os.Getenv(noChildMain) == "" {
		os.Exit(RunChild(testMount))
	}
	if os.Getenv(beParent) != "" {
		os.Exit(parentMain())
	}
	goleak.VerifyTestMain(m)
}

func testMount(ctx context.Context, b *Embedded, addr string, key *EndpointKey) (string, func() error, error) {
	cfg := closeconn.Config{Sessions: b, Clock: b.Clock()}
	if key != nil {
		var err error
		if cfg.Keys, err = closeconn.NewKeys(closeconn.KeyPair{Credentials: acs.Credentials{KeyID: key.ID, Secret: key.Secret}}); err != nil {
			return "", nil, err
		}
	}
	s, err := closeconn.Serve(ctx, addr, cfg)
	if err != nil {
		return "", nil, err
	}
	return s.URL(), s.Close, nil
}

// patience bounds every wait of these tests; none depends on its length.
const patience = 30 * time.Second

func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

func startTest(t *testing.T, o Options) *Embedded {
	t.Helper()
	b, err := StartEmbedded(testContext(t), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

// eventually waits for a condition that another goroutine or process brings about.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline.C:
			t.Fatalf("never came: %s", what)
		case <-tick.C:
		}
	}
}

// rawClient is a client that sees every byte.
type rawClient struct {
	t    testing.TB
	conn net.Conn
}

func dialRaw(t testing.TB, addr string) rawClient {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(addr, "tcp://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return rawClient{t: t, conn: conn}
}

func (c rawClient) write(b []byte) {
	c.t.Helper()
	if _, err := c.conn.Write(b); err != nil {
		c.t.Fatal(err)
	}
}

func (c rawClient) read(n int) []byte {
	c.t.Helper()
	b := make([]byte, n)
	if _, err := io.ReadFull(c.conn, b); err != nil {
		c.t.Fatal(err)
	}
	return b
}

// rest reads to the end of the connection: what came, and whether it was a FIN.
func (c rawClient) rest() (got []byte, fin bool) {
	got, err := io.ReadAll(c.conn)
	return got, err == nil
}

// connectRaw connects with MQTT 3.1.1 and reports session present.
func connectRaw(t testing.TB, addr string, info mqtt.ConnectInfo) (rawClient, bool) {
	t.Helper()
	c := dialRaw(t, addr)
	c.write(mqtt.AppendConnect(nil, info))
	ack := c.read(4)
	if ack[0] != 0x20 || ack[3] != 0 {
		t.Fatalf("CONNACK % x", ack)
	}
	return c, ack[2] == 1
}

// connectV5 connects with MQTT 5 and no properties.
func connectV5(t testing.TB, addr, id string) rawClient {
	t.Helper()
	c := dialRaw(t, addr)
	body := append([]byte{0, 4, 'M', 'Q', 'T', 'T', 5, 2, 0, 0, 0, 0, byte(len(id))}, id...)
	c.write(append([]byte{0x10, byte(len(body))}, body...))
	head := c.read(2)
	if rest := c.read(int(head[1])); head[0] != 0x20 || rest[1] != 0 {
		t.Fatalf("CONNACK % x % x", head, rest)
	}
	return c
}

func (c rawClient) subscribe(filter string, qos byte) {
	c.t.Helper()
	c.write(mqtt.AppendSubscribe(nil, 1, mqtt.Filter{Topic: filter, QoS: qos}))
	if ack := c.read(5); ack[0] != 0x90 || ack[4] != qos {
		c.t.Fatalf("SUBACK % x", ack)
	}
}

// count is the number of sockets that are in the door.
func (d *door) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.conns)
}
