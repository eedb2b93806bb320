package broker

import (
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"strconv"
	"time"

	mochi "github.com/mochi-mqtt/server/v2"

	"github.com/rebound-mqtt/rebound/harness/target"
	"github.com/rebound-mqtt/rebound/harness/timeline"
)

const (
	// DefaultAddresses is how many addresses a broker of ours listens on: each
	// gives its clients another range of ports.
	DefaultAddresses = 4
	// defaultWritesPending is an eighth of mochi's own default, which costs
	// 64 KiB a client for the channel alone. A full queue drops messages of
	// QoS 1 too, so it must hold the longest pause of a client's writer: 1024
	// is minutes of the shipped scenarios' traffic for 8 KiB a client.
	defaultWritesPending = 1024
	// maxInflight is mochi's default: the messages kept for an absent session.
	maxInflight = 8192
	// sysTopicSeconds puts off the resend of $SYS topics, which stops the world
	// to read memory statistics, beyond any run.
	sysTopicSeconds = 365 * 24 * 60 * 60

	defaultReadyTimeout = 10 * time.Second
)

// The errors of this package, beside target.ErrUnreachable.
var (
	// ErrPortInUse says that a fixed port is taken.
	ErrPortInUse = errors.New("port in use")
	// ErrNoChildMain says that a re-executed program did not become a broker.
	ErrNoChildMain = errors.New("the re-executed program did not become a broker child: call harness.ChildMain() first in main or TestMain")
	// ErrControl says that the control pipe carried what it should not.
	ErrControl = errors.New("broker child control")
	// ErrNoSocket says that a connection is on nothing that can be reset.
	ErrNoSocket = errors.New("no TCP socket")
	// ErrChildOptions says that an option works only in the same process.
	ErrChildOptions = errors.New("option not available in a broker child")
	// ErrTLS says that a certificate can't be used, or that there is none.
	ErrTLS = errors.New("TLS certificate")
	// ErrDown says that the broker's process is not there to be asked.
	ErrDown = errors.New("the broker is down")
	// ErrMoved says that a broker is back at other addresses than before.
	ErrMoved = errors.New("the broker moved")
	// ErrStore says that the store can't be used.
	ErrStore = errors.New("store")
	// ErrAddress says that a target address can't be read.
	ErrAddress = errors.New("bad target address")
)

// Options is how to start mochi. The zero value of each field is its default.
type Options struct {
	Clock         *timeline.Clock // the run's clock; nil = a new one
	Addresses     int             // 127.0.0.x addresses to listen on, same port; fewer where they can't be bound; 0 = 4
	Port          int             // 0 = a free one below the ephemeral range, so that it survives a restart of the broker
	Host          string          // the one address or name to listen on, instead of Addresses; embedded only
	Also          []Transport     // besides TCP, on Host or else 127.0.0.1; embedded only
	TLS           *tls.Config     // of the transports tls and wss (LoadTLS)
	Store         string          // folder that keeps sessions and messages; "" = they end with the broker; embedded only
	Persist       bool            // keep sessions and messages over a restart, in a folder that goes with the target; child only, a foreign broker always keeps what it can
	WritesPending int             // messages queued to one client's writer, above which mochi drops; 0 = 1024
	Log           *slog.Logger    // our own warnings; mochi's are never shown; nil = silent
	Hooks         []mochi.Hook    // for tests; embedded only
	EndpointAddr  string          // where a child's CloseConnection endpoint listens; "" = 127.0.0.1:0; child only
	EndpointKey   *EndpointKey    // what a child's endpoint verifies; nil = unsigned; child only
	BrokerLog     io.Writer       // what a foreign broker prints; nil = only its end is kept, for error texts
	// ConnectTimeout bounds what an accepted socket may take to say CONNECT, TLS
	// and WebSocket apart; 0 = no bound, as mochi has none. Embedded only.
	ConnectTimeout time.Duration
	Gates          []target.Gate // that stand from the start
	ReadyTimeout   time.Duration // of a child or a foreign broker; 0 = 10 s
}

// withDefaults fills in what is zero.
func (o Options) withDefaults() Options {
	if o.Clock == nil {
		o.Clock = timeline.NewClock()
	}
	if o.Addresses <= 0 {
		o.Addresses = DefaultAddresses
	}
	if o.WritesPending <= 0 {
		o.WritesPending = defaultWritesPending
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.EndpointAddr == "" {
		o.EndpointAddr = "127.0.0.1:0"
	}
	if o.ReadyTimeout <= 0 {
		o.ReadyTimeout = defaultReadyTimeout
	}
	return o
}

// settings is what was tuned, for the report.
func (o Options) settings() map[string]string {
	return map[string]string{
		"writes_pending":           strconv.Itoa(o.WritesPending),
		"maximum_inflight":         strconv.Itoa(maxInflight),
		"sys_topic_resend_seconds": strconv.Itoa(sysTopicSeconds),
		"accept_loop":              "retries",
		"storage":                  o.storage(),
	}
}
