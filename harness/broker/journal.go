package broker

import (
	"bytes"
	"log/slog"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// journal is the hook that logs who connects and how connections end.
type journal struct {
	mochi.HookBase
	log *slog.Logger
}

func (j *journal) ID() string { return "rebound-journal" }

func (j *journal) Provides(event byte) bool {
	return bytes.IndexByte([]byte{mochi.OnSessionEstablished, mochi.OnDisconnect}, event) >= 0
}

func (j *journal) OnSessionEstablished(cl *mochi.Client, pk packets.Packet) {
	j.log.Info("connect", "client", cl.ID, "remote", cl.Net.Remote, "mqtt", cl.Properties.ProtocolVersion, "clean", pk.Connect.Clean)
}

// OnDisconnect is called when a connection has ended, by either side.
func (j *journal) OnDisconnect(cl *mochi.Client, err error, expire bool) {
	cause := cl.StopCause() // ours, if we closed it
	if cause == nil {
		cause = err
	}
	j.log.Info("end", "client", cl.ID, "remote", cl.Net.Remote, "cause", cause, "session_kept", !expire)
}
