package broker

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// The transports of MQTT, by the scheme of their URL.
const (
	TransportTCP = "tcp"
	TransportTLS = "tls"
	TransportWS  = "ws"  // WebSocket, path /mqtt
	TransportWSS = "wss" // WebSocket over TLS
	// TransportPipe is a connection in memory; only Pipe has it.
	TransportPipe = "pipe"
)

// Transport is one more way to the broker.
type Transport struct {
	Scheme string // TransportTLS, TransportWS or TransportWSS
	Port   int    // 0 = a free one
}

// way is a listener, and what becomes of a socket before MQTT is spoken on it.
type way struct {
	net.Listener
	url  string
	open func(net.Conn) (net.Conn, error) // nil = nothing; may block until the socket's deadline
}

// waysIn opens all listeners, or none.
func waysIn(ctx context.Context, o Options) (ways []way, err error) {
	defer func() {
		if err != nil {
			err = errors.Join(err, closeAll(ways))
			ways = nil
		}
	}()
	for _, t := range o.Also { // before any port is taken
		if t.Scheme != TransportWS && o.TLS == nil {
			return nil, fmt.Errorf("%w: %s needs one", ErrTLS, t.Scheme)
		}
	}
	plain, err := listen(ctx, o)
	for _, l := range plain {
		ways = append(ways, way{Listener: l, url: TransportTCP + "://" + l.Addr().String()})
	}
	if err != nil {
		return ways, err
	}
	host := o.Host
	if host == "" {
		host = firstLoopback
	}
	for _, t := range o.Also {
		var l net.Listener
		err := onPort(t.Port, func(port int) (err error) {
			l, err = listenAt(ctx, host, port)
			return err
		})
		if err != nil {
			return ways, err
		}
		ways = append(ways, t.way(l, o.TLS))
	}
	return ways, nil
}

func closeAll(ways []way) (err error) {
	for _, w := range ways {
		err = errors.Join(err, w.Close())
	}
	return err
}

// way is a listener with what the transport does to its sockets.
func (t Transport) way(l net.Listener, conf *tls.Config) way {
	url := t.Scheme + "://" + l.Addr().String()
	secure := func(c net.Conn) (net.Conn, error) { return openTLS(c, conf) }
	switch t.Scheme {
	case TransportTLS:
		return way{l, url, secure}
	case TransportWSS:
		return way{l, url + webSocketPath, func(c net.Conn) (net.Conn, error) {
			s, err := secure(c)
			if err != nil {
				return nil, err
			}
			return openWebSocket(s)
		}}
	}
	return way{l, url + webSocketPath, openWebSocket}
}

const firstLoopback = "127.0.0.1"

// listen opens the listeners of plain TCP: on Host, or the same port on
// 127.0.0.1, 127.0.0.2, …
func listen(ctx context.Context, o Options) (ls []net.Listener, err error) {
	err = onPort(o.Port, func(port int) error {
		ls, err = listenOn(ctx, o, port)
		return err
	})
	return ls, err
}

// onPort opens a port, or for 0 one that is free.
func onPort(port int, open func(port int) error) error {
	if port != 0 {
		return open(port)
	}
	low, high := portRange()
	var err error
	for range 100 {
		if err = open(low + rand.IntN(high-low)); !errors.Is(err, ErrPortInUse) {
			return err
		}
	}
	return fmt.Errorf("no free port in 100 tries between %d and %d: %w", low, high, err)
}

// listenOn opens one port on Host, or on up to Addresses addresses, at least on
// 127.0.0.1.
func listenOn(ctx context.Context, o Options, port int) ([]net.Listener, error) {
	if o.Host != "" {
		l, err := listenAt(ctx, o.Host, port)
		if err != nil {
			return nil, err
		}
		return []net.Listener{l}, nil
	}
	var open []net.Listener
	for i := range o.Addresses {
		l, err := listenAt(ctx, fmt.Sprintf("127.0.0.%d", i+1), port)
		switch {
		case err == nil:
			open = append(open, l)
			continue
		case i > 0 && ctx.Err() == nil && !errors.Is(err, ErrPortInUse):
			return open, nil // a system where only 127.0.0.1 is up
		}
		for _, l := range open {
			err = errors.Join(err, l.Close())
		}
		return nil, err
	}
	return open, nil
}

// listenAt opens one port on one address.
func listenAt(ctx context.Context, host string, port int) (net.Listener, error) {
	// MQTT has a keep alive of its own; TCP's would only add packets and timers.
	lc := net.ListenConfig{KeepAlive: -1}
	network := "tcp"
	if ip := net.ParseIP(host); ip != nil && ip.To4() != nil {
		network = "tcp4" // else 0.0.0.0 would mean IPv6, too
	}
	addr := net.JoinHostPort(host, strconv.Itoa(port))
	l, err := lc.Listen(ctx, network, addr)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("%w: %s: %w", ErrPortInUse, addr, err)
	case err != nil:
		return nil, fmt.Errorf("listen on %s: %w", addr, err)
	}
	return l, nil
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
