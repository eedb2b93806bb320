package broker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	mochi "github.com/mochi-mqtt/server/v2"

	"github.com/rebound-mqtt/rebound/harness/timeline"
)

const (
	defaultAddresses = 4
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
	// ErrChildOptions says that an option works only in the same process.
	ErrChildOptions = errors.New("option not available in a broker child")
	// ErrAddress says that a target address can't be read.
	ErrAddress = errors.New("bad target address")
)

// Options is how to start mochi. The zero value of each field is its default.
type Options struct {
	Clock         *timeline.Clock // the run's clock; nil = a new one
	Addresses     int             // 127.0.0.x addresses to listen on, same port; fewer where they can't be bound; 0 = 4
	Port          int             // 0 = a free one below the ephemeral range, so that it survives a restart of the broker
	WritesPending int             // messages queued to one client's writer, above which mochi drops; 0 = 1024
	Log           *slog.Logger    // our own warnings; mochi's are never shown; nil = silent
	Hooks         []mochi.Hook    // for tests; embedded only
	EndpointAddr  string          // where a child's CloseConnection endpoint listens; "" = 127.0.0.1:0; child only
	EndpointKey   *EndpointKey    // what a child's endpoint verifies; nil = unsigned; child only
	BrokerLog     io.Writer       // what a foreign broker prints; nil = only its end is kept, for error texts
	ReadyTimeout  time.Duration   // of a child or a foreign broker; 0 = 10 s
}

// withDefaults fills in what is zero.
func (o Options) withDefaults() Options {
	if o.Clock == nil {
		o.Clock = timeline.NewClock()
	}
	if o.Addresses <= 0 {
		o.Addresses = defaultAddresses
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
		"storage":                  "none",
	}
}

// listen opens the listeners: the same port on 127.0.0.1, 127.0.0.2, …
func listen(ctx context.Context, o Options) ([]net.Listener, error) {
	if o.Port != 0 {
		return listenOn(ctx, o.Port, o.Addresses)
	}
	low, high := portRange()
	var err error
	for range 100 {
		var ls []net.Listener
		if ls, err = listenOn(ctx, low+rand.IntN(high-low), o.Addresses); err == nil {
			return ls, nil
		}
		if !errors.Is(err, ErrPortInUse) {
			return nil, err
		}
	}
	return nil, fmt.Errorf("no free port in 100 tries between %d and %d: %w", low, high, err)
}

// listenOn opens one port on up to n addresses, at least on 127.0.0.1.
func listenOn(ctx context.Context, port, n int) ([]net.Listener, error) {
	// MQTT has a keep alive of its own; TCP's would only add packets and timers.
	lc := net.ListenConfig{KeepAlive: -1}
	var open []net.Listener
	for i := range n {
		addr := net.JoinHostPort(fmt.Sprintf("127.0.0.%d", i+1), strconv.Itoa(port))
		l, err := lc.Listen(ctx, "tcp4", addr)
		switch {
		case err == nil:
			open = append(open, l)
			continue
		case errors.Is(err, syscall.EADDRINUSE):
			err = fmt.Errorf("%w: %s: %w", ErrPortInUse, addr, err)
		case i > 0 && ctx.Err() == nil:
			return open, nil // a system where only 127.0.0.1 is up
		default:
			err = fmt.Errorf("listen on %s: %w", addr, err)
		}
		for _, l := range open {
			err = errors.Join(err, l.Close())
		}
		return nil, err
	}
	return open, nil
}

// portRange is where listener ports are picked: [low, high), below the ports
// that the kernel gives to outgoing connections. While a broker is down,
// clients that redial could take a port of that range for themselves.
func portRange() (low, high int) {
	low, high = 10240, 32768
	raw, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if err != nil {
		return low, high
	}
	fields := strings.Fields(string(raw))
	if len(fields) != 2 {
		return low, high
	}
	if n, err := strconv.Atoi(fields[0]); err == nil && n > 1024 {
		high = n
	}
	if high-low < 1000 {
		low = 1024
	}
	if high <= low {
		high = low + 1
	}
	return low, high
}
