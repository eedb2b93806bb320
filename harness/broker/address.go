package broker

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"strconv"
	"syscall"
	"time"

	"github.com/rebound-mqtt/rebound/harness/mqtt"
	"github.com/rebound-mqtt/rebound/harness/target"
)

// preflightTimeout bounds dial, CONNECT and CONNACK together.
const preflightTimeout = 5 * time.Second

// connackTexts are the return codes of MQTT 3.1.1 section 3.2.2.3.
var connackTexts = []string{
	"accepted", "unacceptable protocol version", "identifier rejected",
	"server unavailable", "bad user name or password", "not authorized",
}

// address is a broker that already runs.
type address struct{ info target.Info }

func (a address) Info() target.Info { return a.info }
func (a address) Close() error      { return nil }

// Address makes a target of a broker that already runs; nothing is dialled.
// endpoint is its CloseConnection endpoint's URL, "" if it has none. Whether
// that endpoint shares our clock is not known, so its instants are not used.
func Address(addr, endpoint string) (target.Target, error) {
	info := target.Info{Addresses: []string{addr}, Endpoint: endpoint}
	for _, row := range Rows() {
		if row.Name == KindAddress {
			info.Abilities = row.Abilities
		}
	}
	return Running(info)
}

// Running makes a target of a broker that already runs, as described; its kind
// is filled in.
func Running(info target.Info) (target.Target, error) {
	for _, addr := range info.Addresses {
		if _, err := hostPort(addr); err != nil {
			return nil, err
		}
	}
	info.Kind, info.Broker = KindAddress, "unknown"
	return address{info: info}, nil
}

// hostPort takes HOST:PORT from tcp://HOST:PORT.
func hostPort(addr string) (string, error) {
	u, err := url.Parse(addr)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrAddress, err)
	}
	switch u.Scheme {
	case "tcp":
	case "tls", "ssl", "mqtts", "ws", "wss":
		return "", fmt.Errorf("%w %q: %s is known, not in this version; use tcp://HOST:PORT", ErrAddress, addr, u.Scheme)
	default:
		return "", fmt.Errorf("%w %q: want tcp://HOST:PORT", ErrAddress, addr)
	}
	host, port, err := net.SplitHostPort(u.Host)
	if err != nil || host == "" || port == "" || u.Path != "" || u.RawQuery != "" || u.User != nil {
		return "", fmt.Errorf("%w %q: want tcp://HOST:PORT and nothing else", ErrAddress, addr)
	}
	return u.Host, nil
}

// dialFunc opens a connection to a broker.
type dialFunc = func(ctx context.Context) (net.Conn, error)

// Preflight makes one clean connection to tcp://HOST:PORT and leaves again. The
// error, which is target.ErrUnreachable unless the address can't be read, names
// the address and what was found there. login is nil where clients do not log in.
func Preflight(ctx context.Context, addr string, login *target.Login) error {
	host, err := hostPort(addr)
	if err != nil {
		return err
	}
	return preflight(ctx, addr, login, func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", host)
	})
}

// PreflightBy is Preflight of a target that is dialled in its own way.
func PreflightBy(ctx context.Context, d target.Dialer, addr string, login *target.Login) error {
	return preflight(ctx, addr, login, func(ctx context.Context) (net.Conn, error) { return d.Dial(ctx, addr) })
}

func preflight(ctx context.Context, addr string, login *target.Login, dial dialFunc) error {
	bounded, cancel := context.WithTimeout(ctx, preflightTimeout)
	defer cancel()
	err := connect(bounded, dial, login)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil: // interrupted: that says nothing about the broker
		return fmt.Errorf("preflight of %s: %w", addr, ctx.Err())
	}
	return fmt.Errorf("%w at %s: %w", target.ErrUnreachable, addr, err)
}

// connect dials, sends CONNECT, reads CONNACK and says DISCONNECT.
func connect(ctx context.Context, dial dialFunc, login *target.Login) (err error) {
	conn, err := dial(ctx)
	switch {
	case err == nil:
	case timedOut(err):
		return fmt.Errorf("no answer to the TCP connection within %v", preflightTimeout)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("connection refused: nothing listens there: %w", err)
	default:
		return err
	}
	defer func() {
		if closeErr := conn.Close(); err == nil {
			err = closeErr
		}
	}()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	hello := mqtt.ConnectInfo{
		ClientID: "rb-" + rand.Text()[:16], // at most 23 bytes of letters and digits are sure to be taken [MQTT-3.1.3-5]
		Clean:    true, KeepAlive: 10,
	}
	if login != nil {
		hello.Username, hello.Password = login.Username, login.Password
	}
	if _, err := conn.Write(mqtt.AppendConnect(nil, hello)); err != nil {
		return fmt.Errorf("send CONNECT: %w", err)
	}
	if err := readConnack(conn); err != nil {
		return err
	}
	if _, err := conn.Write(mqtt.AppendDisconnect(nil)); err != nil {
		return fmt.Errorf("send DISCONNECT: %w", err)
	}
	return nil
}

// readConnack reads an accepting CONNACK, or says what came instead.
func readConnack(r io.Reader) error {
	answer := make([]byte, 4, 48) // a CONNACK of 3.1.1 has four bytes
	n, err := io.ReadFull(r, answer)
	answer = answer[:n]
	switch {
	case n > 0 && answer[0] != byte(mqtt.CONNACK)<<4:
		more, _ := r.Read(answer[n:cap(answer)]) // for the error text: what there is, is enough
		return fmt.Errorf("no MQTT broker: it answered %q", answer[:n+max(more, 0)])
	case timedOut(err):
		return fmt.Errorf("it took the connection but sent no CONNACK within %v", preflightTimeout)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET):
		return fmt.Errorf("it closed the connection without a CONNACK: %w", err)
	case err != nil:
		return fmt.Errorf("read CONNACK: %w", err)
	}
	var packets int
	var code byte
	var framer mqtt.Framer
	var bad error
	err = framer.Feed(answer, 0, func(p *mqtt.Packet) {
		packets++
		_, code, bad = p.Connack()
	})
	if err != nil || bad != nil || packets != 1 {
		return fmt.Errorf("no MQTT 3.1.1 broker: it answered % x", answer)
	}
	if code != 0 {
		text := "reserved"
		if int(code) < len(connackTexts) {
			text = connackTexts[code]
		}
		return fmt.Errorf("it refused with CONNACK code %d (%s)", code, text)
	}
	return nil
}

// timedOut tells a passed deadline from other errors.
func timedOut(err error) bool {
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded)
}

// splitPort splits HOST:PORT.
func splitPort(addr string) (host string, port int, err error) {
	host, number, err := net.SplitHostPort(addr)
	if err != nil {
		return "", 0, fmt.Errorf("%w: %w", ErrAddress, err)
	}
	if port, err = strconv.Atoi(number); err != nil {
		return "", 0, fmt.Errorf("%w %q: %w", ErrAddress, addr, err)
	}
	return host, port, nil
}

// hostIn gives HOST:PORT of a URL.
func hostIn(rawURL string) (string, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrAddress, err)
	}
	return u.Host, nil
}

// portIn gives the port of a URL.
func portIn(rawURL string) (int, error) {
	addr, err := hostIn(rawURL)
	if err != nil {
		return 0, err
	}
	_, port, err := splitPort(addr)
	return port, err
}
