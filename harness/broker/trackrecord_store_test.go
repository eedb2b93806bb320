package broker

import (
	"path/filepath"
	"testing"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/hooks/storage/bolt"

	"github.com/rebound-mqtt/rebound/harness/mqtt"
)

// plainBolt is mochi's hook as it is, without what storage.go mends.
type plainBolt struct {
	*bolt.Hook
	dir string
}

func (p plainBolt) Init(any) error {
	return p.Hook.Init(&bolt.Options{Path: filepath.Join(p.dir, storeFile)})
}

func startPlain(t *testing.T, dir string) *Embedded {
	return startTest(t, Options{Addresses: 1, Hooks: []mochi.Hook{plainBolt{new(bolt.Hook), dir}}})
}

// TestTrackRecordMochiBoltIDs: the bolt hook of mochi v2.7.9 stores messages
// under way without their packet identifiers. After a start all those of a
// session stand under 0, so that one is left, and it can not be sent: the
// connection that resumes the session is closed.
func TestTrackRecordMochiBoltIDs(t *testing.T) {
	dir := t.TempDir()
	b := startPlain(t, dir)
	leave(t, b, "one", "two", "three")
	cl, ok := b.server.Clients.Get("sub")
	if !ok || cl.State.Inflight.Len() != 3 {
		t.Fatal("not three messages owed before the stop")
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}

	b = startPlain(t, dir)
	if cl, ok = b.server.Clients.Get("sub"); !ok || cl.State.Inflight.Len() != 1 {
		t.Fatal("more than one message, or no session: the defect is gone; take StoredInflightMessages out of storage.go")
	}
	sub, present := connectRaw(t, b.Info().Addresses[0], mqtt.ConnectInfo{ClientID: "sub"})
	got, fin := sub.rest()
	if !present || !fin || len(got) > 0 {
		t.Errorf("session present %v, then % x, end %v: the connection was closed before", present, got, fin)
	}
}

// TestTrackRecordMochiBoltPhantoms: the storage of mochi v2.7.9 leaves the
// subscriptions of a clean session behind when the broker is killed. After the
// next start they are the subscriptions of whoever connects with that client id.
func TestTrackRecordMochiBoltPhantoms(t *testing.T) {
	dir := t.TempDir()
	b := startPlain(t, dir)
	dialFinder(t, b.Info().Addresses[0], "clean", true).subscribe("t")
	image := crash(t, dir)

	b = startPlain(t, image)
	fresh := dialFinder(t, b.Info().Addresses[0], "clean", true)
	if fresh.sessionPresent {
		t.Error("the clean session was kept: another defect")
	}
	fresh.ping() // it is in the client table
	pub := dialFinder(t, b.Info().Addresses[0], "pub", true)
	pub.publish(1, "never asked for")
	pub.settle()
	if got := fresh.read(mqtt.PUBLISH); got != "never asked for" {
		t.Errorf("got %q: the defect is gone; take the test of kept out of StoredSubscriptions in storage.go", got)
	}
}

// TestTrackRecordMochiBoltRefused: the bolt hook of mochi v2.7.9 stores filters
// that the broker refused, with the failure code as their QoS. After a start
// they are subscriptions.
func TestTrackRecordMochiBoltRefused(t *testing.T) {
	dir := t.TempDir()
	b := startPlain(t, dir)
	sub := dialFinder(t, b.Info().Addresses[0], "sub", false)
	sub.write(mqtt.AppendSubscribe(nil, 1, mqtt.Filter{Topic: "bad/#/filter", QoS: 1}))
	sub.read(mqtt.SUBACK)
	if cl, ok := b.server.Clients.Get("sub"); !ok || cl.State.Subscriptions.Len() != 0 {
		t.Fatal("the filter was not refused")
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	b = startPlain(t, dir)
	cl, ok := b.server.Clients.Get("sub")
	if !ok {
		t.Fatal("no session")
	}
	if bad, found := cl.State.Subscriptions.Get("bad/#/filter"); !found || bad.Qos != 0x80 {
		t.Errorf("%v %+v: the defect is gone; take the QoS out of StoredSubscriptions in storage.go", found, bad)
	}
}
