package broker

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/hooks/storage"
	"github.com/mochi-mqtt/server/v2/hooks/storage/bolt"
	"github.com/mochi-mqtt/server/v2/packets"
	"go.etcd.io/bbolt"
	bbolterrors "go.etcd.io/bbolt/errors"
)

const (
	storeFile = "mqtt.db"
	// storeLock is how long another process may take to let go of the store.
	storeLock = time.Second
)

// store keeps sessions, subscriptions, messages under way and retained messages
// in a folder. It is mochi's hook for bbolt, mended in what that forgets or
// keeps too long (docs/decisions/0018-the-store.md).
type store struct {
	*bolt.Hook
	dir  string
	log  *slog.Logger
	kept map[string]bool // the clients whose session outlives their connection, from StoredClients

	stopErr error // of Stop
}

// storage names the store's kind for the report.
func (o Options) storage() string {
	if o.Store == "" {
		return "none"
	}
	return "bolt"
}

// Provides leaves out mochi's counters: they are of one process.
func (s *store) Provides(event byte) bool {
	switch event {
	case mochi.OnSysInfoTick, mochi.StoredSysInfo:
		return false
	case mochi.OnPacketEncode:
		return true
	}
	return s.Hook.Provides(event)
}

// OnPacketEncode stores a PUBREL before it is sent, in the place of its PUBLISH,
// which mochi does not: it would send the PUBLISH again, which [MQTT-4.3.3-1]
// forbids.
func (s *store) OnPacketEncode(cl *mochi.Client, pk packets.Packet) packets.Packet {
	if pk.FixedHeader.Type == packets.Pubrel && pk.ReasonCode < packets.ErrUnspecifiedError.Code {
		s.OnQosPublish(cl, pk, pk.Created, 0)
	}
	return pk
}

// OnDisconnect deletes a client that keeps no session, unless another connection
// has taken its place: the hook knows that only of those that were taken over
// while they were open, and would delete the client that is back after a kick.
func (s *store) OnDisconnect(cl *mochi.Client, err error, expire bool) {
	if !cl.IsTakenOver() {
		s.Hook.OnDisconnect(cl, err, expire)
	}
}

// SetOpts gives the hook our log, in which its failed writes show.
func (s *store) SetOpts(_ *slog.Logger, o *mochi.HookOptions) { s.Hook.SetOpts(s.log, o) }

// openStore opens or makes the store of a folder. Commits are not synced to the
// disk: the kernel has them once they are written, so that they outlive this
// process however it ends.
func openStore(dir string, log *slog.Logger) (*store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrStore, err)
	}
	s := &store{Hook: new(bolt.Hook), dir: dir, log: log}
	path := filepath.Join(dir, storeFile)
	err := s.Hook.Init(&bolt.Options{Path: path, Options: &bbolt.Options{
		Timeout: storeLock, NoSync: true, NoGrowSync: true, NoFreelistSync: true, FreelistType: bbolt.FreelistMapType,
	}})
	switch {
	case errors.Is(err, bbolterrors.ErrTimeout):
		return nil, fmt.Errorf("%w %s is in use by another process", ErrStore, dir)
	case errors.Is(err, bbolterrors.ErrInvalid), errors.Is(err, bbolterrors.ErrVersionMismatch), errors.Is(err, bbolterrors.ErrChecksum):
		return nil, fmt.Errorf("%w: %s is none of ours, or damaged: %w", ErrStore, path, err)
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrStore, err)
	}
	return s, nil
}

// Init is called by mochi when openStore has done it.
func (s *store) Init(any) error { return nil }

// Stop closes the store and brings it to the disk.
func (s *store) Stop() error {
	if err := errors.Join(s.Hook.Stop(), syncFile(filepath.Join(s.dir, storeFile))); err != nil {
		s.stopErr = fmt.Errorf("close the %w: %w", ErrStore, err)
	}
	return s.stopErr
}

// syncFile syncs a file that others have written.
func syncFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// StoredClients reads the clients. The hook forgets that a version 5 client
// asked for an expiry, without which mochi never ends its session.
func (s *store) StoredClients() ([]storage.Client, error) {
	clients, err := s.Hook.StoredClients()
	s.kept = make(map[string]bool, len(clients))
	for i, c := range clients {
		kept := !c.Clean
		if c.ProtocolVersion == 5 {
			kept = c.Properties.SessionExpiryInterval > 0
			clients[i].Properties.SessionExpiryIntervalFlag = kept
		}
		s.kept[c.ID] = kept
	}
	return clients, err
}

// StoredSubscriptions reads the subscriptions. The hook also holds those of
// clean sessions that a crash ended and of sessions that expired, which mochi
// would give to whoever connects with the same client id, and filters that were
// refused: they are deleted.
func (s *store) StoredSubscriptions() ([]storage.Subscription, error) {
	all, err := s.Hook.StoredSubscriptions()
	var good []storage.Subscription
	for _, sub := range all {
		if s.kept[sub.Client] && sub.Qos <= 2 {
			good = append(good, sub)
			continue
		}
		s.OnUnsubscribed(&mochi.Client{ID: sub.Client}, packets.Packet{Filters: packets.Subscriptions{{Filter: sub.Filter}}})
	}
	return good, err
}

// StoredInflightMessages reads the messages under way. The hook forgets their
// packet identifiers, so that one of each session would be left; they stand at
// the end of the keys.
func (s *store) StoredInflightMessages() ([]storage.Message, error) {
	all, err := s.Hook.StoredInflightMessages()
	var good []storage.Message
	for _, m := range all {
		id, perr := strconv.ParseUint(m.ID[strings.LastIndexByte(m.ID, ':')+1:], 10, 16)
		if perr != nil {
			s.log.Error("a message of the store has no packet identifier", "key", m.ID)
			continue
		}
		m.PacketID = uint16(id)
		if s.kept[m.Client] {
			good = append(good, m)
			continue
		}
		s.OnQosComplete(&mochi.Client{ID: m.Client}, packets.Packet{PacketID: m.PacketID})
	}
	return good, err
}
