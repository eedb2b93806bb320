package broker

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	mochi "github.com/mochi-mqtt/server/v2"

	"github.com/rebound-mqtt/rebound/harness/mqtt"
)

// leave makes a session with a filter on t that has left, and publishes to it.
func leave(t *testing.T, b *Embedded, payloads ...string) {
	t.Helper()
	addr := b.Info().Addresses[0]
	sub := dialFinder(t, addr, "sub", false)
	sub.subscribe("t")
	sub.write(mqtt.AppendDisconnect(nil))
	eventually(t, "the subscriber left", func() bool { return b.Clients() == 0 })
	pub := dialFinder(t, addr, "pub", true)
	for i, p := range payloads {
		pub.publish(uint16(i+1), p)
		pub.settle()
	}
	pub.write(mqtt.AppendDisconnect(nil))
	eventually(t, "the publisher left", func() bool { return b.Clients() == 0 })
}

// take reads n messages of a resumed session, sorted: what is sent again comes
// in any order (docs/track-record.md#mochi-offline-order).
func (c *finder) take(n int) (payloads []string, ids map[uint16]bool) {
	ids = make(map[uint16]bool)
	for range n {
		p := c.next(mqtt.PUBLISH)
		payloads, ids[p.id] = append(payloads, p.payload), true
	}
	slices.Sort(payloads)
	return payloads, ids
}

// only checks that nothing but a new message is delivered to a client.
func (c *finder) only(t *testing.T, b *Embedded, marker string) {
	t.Helper()
	pub := dialFinder(t, b.Info().Addresses[0], "marker", true)
	pub.publish(1, marker)
	pub.settle()
	if got := c.upTo(marker); len(got) != 1 {
		t.Errorf("got %q, want %q alone", got, marker)
	}
}

func TestStoreKeepsWhatClientsLeave(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	b := startTest(t, Options{Addresses: 1, Store: dir})
	if info := b.Info(); info.Settings["storage"] != "bolt" || info.Abilities.Persistence != "lazy" {
		t.Errorf("%+v", info)
	}
	stat, err := os.Stat(dir)
	if err != nil || stat.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", stat.Mode(), err)
	}
	kept := dialFinder(t, b.Info().Addresses[0], "retainer", true)
	kept.write(mqtt.AppendPublish(nil, mqtt.Publish{Topic: "r", ID: 1, QoS: 1, Retain: true, Payload: []byte("retained")}))
	kept.settle()
	kept.write(mqtt.AppendDisconnect(nil))
	leave(t, b, "one", "two", "three")
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}

	b = startTest(t, Options{Addresses: 1, Store: dir})
	sub := dialFinder(t, b.Info().Addresses[0], "sub", false)
	if !sub.sessionPresent {
		t.Error("the session is gone")
	}
	got, ids := sub.take(3)
	if diff := cmp.Diff([]string{"one", "three", "two"}, got); diff != "" {
		t.Error(diff)
	}
	if len(ids) != 3 || ids[0] {
		t.Errorf("packet identifiers %v", ids)
	}
	sub.only(t, b, "new") // the subscription is there, and nothing comes twice
	sub.subscribe("r")
	sub.upTo("retained")
	sub.ping() // its acknowledgement was read
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}

	b = startTest(t, Options{Addresses: 1, Store: dir})
	sub = dialFinder(t, b.Info().Addresses[0], "sub", false)
	sub.only(t, b, "acknowledged ones are gone")
	// A clean connect ends the session, for the next start as well.
	sub = dialFinder(t, b.Info().Addresses[0], "sub", true)
	sub.ping()
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	b = startTest(t, Options{Addresses: 1, Store: dir})
	if sub = dialFinder(t, b.Info().Addresses[0], "sub", false); sub.sessionPresent {
		t.Error("the session outlived a clean one")
	}
}

// crash copies the store of a running broker, as a killed one would leave it.
func crash(t *testing.T, dir string) string {
	t.Helper()
	image := t.TempDir()
	if err := os.CopyFS(image, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return image
}

func TestStoreAfterACrash(t *testing.T) {
	dir := t.TempDir()
	b := startTest(t, Options{Addresses: 1, Store: dir})
	clean := dialFinder(t, b.Info().Addresses[0], "clean", true)
	clean.mute = true
	clean.subscribe("t")
	leave0 := dialFinder(t, b.Info().Addresses[0], "sub", false)
	leave0.mute = true
	leave0.subscribe("t")
	pub := dialFinder(t, b.Info().Addresses[0], "pub", true)
	pub.publish(1, "under way")
	pub.settle()
	clean.upTo("under way")
	leave0.upTo("under way")
	image := crash(t, dir)

	again := startTest(t, Options{Addresses: 1, Store: image})
	sub := dialFinder(t, again.Info().Addresses[0], "sub", false)
	if got := sub.upTo("under way"); len(got) != 1 || !sub.sessionPresent {
		t.Errorf("got %q, session present %v", got, sub.sessionPresent)
	}
	// The clean session ended with its connection: it has no subscription, now
	// and after the next start, although it is kept from here on.
	fresh := dialFinder(t, again.Info().Addresses[0], "clean", false)
	if fresh.sessionPresent {
		t.Error("a clean session survived")
	}
	if cl, ok := again.server.Clients.Get("clean"); !ok || cl.State.Subscriptions.Len() != 0 || cl.State.Inflight.Len() != 0 {
		t.Errorf("client %v has state", ok)
	}
	if n := len(again.server.Topics.Subscribers("t").Subscriptions); n != 1 {
		t.Errorf("%d subscribers, want the kept one", n)
	}
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
	again = startTest(t, Options{Addresses: 1, Store: image})
	if n := len(again.server.Topics.Subscribers("t").Subscriptions); n != 1 {
		t.Errorf("%d subscribers after another start, want the kept one", n)
	}
	if cl, ok := again.server.Clients.Get("clean"); !ok || cl.State.Inflight.Len() != 0 {
		t.Errorf("client %v has the messages of another session", ok)
	}
}

// The two steps of QoS 2 survive a crash between them, on both sides.
func TestStoreKeepsQoS2(t *testing.T) {
	dir := t.TempDir()
	b := startTest(t, Options{Addresses: 1, Store: dir})
	sub := dialFinder(t, b.Info().Addresses[0], "sub", false)
	sub.mute = true
	sub.write(mqtt.AppendSubscribe(nil, 1, mqtt.Filter{Topic: "t", QoS: 2}))
	sub.read(mqtt.SUBACK)
	pub := dialFinder(t, b.Info().Addresses[0], "pub", false)
	message := mqtt.Publish{Topic: "t", ID: 7, QoS: 2, Payload: []byte("twice?")}
	pub.write(mqtt.AppendPublish(nil, message))
	pub.read(mqtt.PUBREC)
	id := sub.next(mqtt.PUBLISH).id
	sub.write(mqtt.AppendPubrec(nil, id))
	sub.read(mqtt.PUBREL)
	image := crash(t, dir)

	b = startTest(t, Options{Addresses: 1, Store: image})
	pub = dialFinder(t, b.Info().Addresses[0], "pub", false)
	pub.read(mqtt.PUBREC) // sent again
	message.Dup = true
	pub.write(mqtt.AppendPublish(nil, message))
	pub.read(mqtt.PUBREC) // and not routed again: see below
	pub.write(mqtt.AppendPubrel(nil, message.ID))
	pub.read(mqtt.PUBCOMP)
	sub = dialFinder(t, b.Info().Addresses[0], "sub", false)
	if got := sub.next(mqtt.PUBREL).id; got != id {
		t.Errorf("PUBREL %d, want %d", got, id)
	}
	sub.write(mqtt.AppendPubcomp(nil, id))
	sub.ping()
	sub.only(t, b, "marker")
	sub.ping()
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	b = startTest(t, Options{Addresses: 1, Store: image})
	for _, name := range []string{"pub", "sub"} {
		if cl, ok := b.server.Clients.Get(name); !ok || cl.State.Inflight.Len() != 0 {
			t.Errorf("%s (%v) has something under way", name, ok)
		}
	}
}

// A stop is no crash: what was acknowledged is routed to kept sessions, and the
// Will of a client that is cut off comes to them.
func TestStoppedBrokerKeepsWills(t *testing.T) {
	dir := t.TempDir()
	b := startTest(t, Options{Addresses: 1, Store: dir})
	leave(t, b)
	dialFinderAs(t, b.Info().Addresses[0], mqtt.ConnectInfo{
		ClientID: "will", Clean: true, WillTopic: "t", WillPayload: []byte("gone"), WillQoS: 1,
	})
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	b = startTest(t, Options{Addresses: 1, Store: dir})
	sub := dialFinder(t, b.Info().Addresses[0], "sub", false)
	if got, _ := sub.take(1); got[0] != "gone" {
		t.Errorf("got %q", got)
	}
}

func TestStoreForgetsRefusedFilters(t *testing.T) {
	dir := t.TempDir()
	b := startTest(t, Options{Addresses: 1, Store: dir})
	sub := dialFinder(t, b.Info().Addresses[0], "sub", false)
	sub.subscribe("bad/#/filter")
	sub.subscribe("good")
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	b = startTest(t, Options{Addresses: 1, Store: dir})
	cl, ok := b.server.Clients.Get("sub")
	if !ok {
		t.Fatal("no session")
	}
	if _, good := cl.State.Subscriptions.Get("good"); !good || cl.State.Subscriptions.Len() != 1 {
		t.Errorf("subscriptions %v", cl.State.Subscriptions.GetAll())
	}
}

// mochi ends a version 5 session at its expiry only if it knows that one was asked for.
func TestStoreKeepsTheExpiry(t *testing.T) {
	dir := t.TempDir()
	b := startTest(t, Options{Addresses: 1, Store: dir})
	c := dialRaw(t, b.Info().Addresses[0])
	// CONNECT of version 5, clean start 0, session expiry 3600 s, client id "five"
	c.write([]byte{0x10, 22, 0, 4, 'M', 'Q', 'T', 'T', 5, 0, 0, 0, 5, 0x11, 0, 0, 0x0e, 0x10, 0, 4, 'f', 'i', 'v', 'e'})
	if head := c.read(4); head[0] != 0x20 || head[3] != 0 {
		t.Fatalf("CONNACK % x", head)
	}
	eventually(t, "the session is in the store", func() bool {
		clients, err := b.store.Hook.StoredClients()
		return err == nil && len(clients) == 1
	})
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	b = startTest(t, Options{Addresses: 1, Store: dir})
	cl, ok := b.server.Clients.Get("five")
	if !ok || !cl.Properties.Props.SessionExpiryIntervalFlag || cl.Properties.Props.SessionExpiryInterval != 3600 {
		t.Errorf("session %v: %+v", ok, cl)
	}
}

func TestStoreThatCanNotBeUsed(t *testing.T) {
	dir := t.TempDir()
	b := startTest(t, Options{Addresses: 1, Store: dir})
	start := func(dir string) error {
		other, err := StartEmbedded(testContext(t), Options{Addresses: 1, Store: dir})
		if err == nil {
			_ = other.Close()
		}
		return err
	}
	if err := start(dir); !errors.Is(err, ErrStore) || err.Error() != "start embedded broker: store "+dir+" is in use by another process" {
		t.Errorf("in use: %v", err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if err := start(dir); err != nil {
		t.Errorf("let go: %v", err)
	}
	damaged := t.TempDir()
	if err := os.WriteFile(filepath.Join(damaged, storeFile), make([]byte, 64<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := start(damaged); !errors.Is(err, ErrStore) {
		t.Errorf("damaged: %v", err)
	}
	if err := start(filepath.Join(damaged, storeFile)); !errors.Is(err, ErrStore) {
		t.Errorf("a file in place of a folder: %v", err)
	}
	if _, err := StartChild(testContext(t), Options{Store: dir}, nil, nil); !errors.Is(err, ErrChildOptions) {
		t.Errorf("child: %v", err)
	}
}

var _ mochi.Hook = (*store)(nil)

// A clean client is kicked and is back, with a session to keep, before mochi has
// come to tell of the old connection's end: that must not delete the new session.
func TestStoreKeepsASessionThatCameBeforeTheOldOneEnded(t *testing.T) {
	dir := t.TempDir()
	late := &lateEnd{kicked: make(chan struct{}), back: make(chan struct{}), ended: make(chan struct{})}
	release := sync.OnceFunc(func() { close(late.back) })
	defer release()
	b := startTest(t, Options{Addresses: 1, Store: dir, Hooks: []mochi.Hook{late}})
	dialFinder(t, b.Info().Addresses[0], "dev", true).ping()
	if found, _, err := b.CloseClient(testContext(t), "dev"); !found || err != nil {
		t.Fatal(found, err)
	}
	<-late.kicked
	c := dialFinder(t, b.Info().Addresses[0], "dev", false)
	c.subscribe("t")
	release()
	<-late.ended
	eventually(t, "the old connection is gone", func() bool { return b.door.count() == 1 })
	image := crash(t, dir)

	again := startTest(t, Options{Addresses: 1, Store: image})
	if sub := dialFinder(t, again.Info().Addresses[0], "dev", false); !sub.sessionPresent {
		t.Error("the session is gone")
	}
}

// lateEnd holds back the first end of a connection until the client is back.
type lateEnd struct {
	mochi.HookBase
	once                sync.Once
	kicked, back, ended chan struct{}
}

func (*lateEnd) ID() string               { return "late-end" }
func (*lateEnd) Provides(event byte) bool { return event == mochi.OnDisconnect }

func (l *lateEnd) OnDisconnect(*mochi.Client, error, bool) {
	l.once.Do(func() {
		close(l.kicked)
		<-l.back
		close(l.ended)
	})
}
