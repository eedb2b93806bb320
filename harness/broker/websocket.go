package broker

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/url"
	"slices"

	"github.com/gorilla/websocket"
)

const (
	webSocketPath = "/mqtt"
	subprotocol   = "mqtt"
	// maxUpgrade bounds the request that asks for a WebSocket, in bytes.
	maxUpgrade = 16 << 10
)

var (
	errUpgrade = errors.New("WebSocket upgrade")
	errBinary  = errors.New("a WebSocket message that is not binary")
)

var upgrader = websocket.Upgrader{Subprotocols: []string{subprotocol}, CheckOrigin: localOrigin}

// openWebSocket answers the one HTTP request of a socket: with the upgrade to a
// WebSocket of MQTT, or with an error. It is done on the accepted socket and
// not by an http.Server, so that the door counts and closes it like any other.
func openWebSocket(c net.Conn) (net.Conn, error) {
	limit := &io.LimitedReader{R: c, N: maxUpgrade}
	in := bufio.NewReader(limit)
	req, err := http.ReadRequest(in)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errUpgrade, err)
	}
	req.RemoteAddr = c.RemoteAddr().String()
	req = req.WithContext(context.WithValue(context.Background(), http.LocalAddrContextKey, c.LocalAddr()))
	w := &upgrade{conn: c, in: in, head: http.Header{}}
	switch {
	case req.URL.Path != webSocketPath:
		http.Error(w, "MQTT is at "+webSocketPath, http.StatusNotFound)
	case !slices.Contains(websocket.Subprotocols(req), subprotocol): // [MQTT-6.0.0-3]
		http.Error(w, "offer the subprotocol "+subprotocol, http.StatusBadRequest)
	default:
		ws, err := upgrader.Upgrade(w, req, nil)
		if err == nil {
			limit.N = math.MaxInt64 // the reader goes on as the WebSocket's
			return &webSocket{Conn: ws.NetConn(), ws: ws}, nil
		}
		w.err = errors.Join(err, w.err)
	}
	return nil, errors.Join(fmt.Errorf("%w: refused with status %d", errUpgrade, w.status), w.err, w.send())
}

// localOrigin lets in programs, which name no origin, and pages of this host:
// a page from elsewhere that is open in a browser here must not reach a broker
// that asks for no credentials. That a page's host is the one it asks for
// proves nothing on loopback: any name can be re-bound to 127.0.0.1.
func localOrigin(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" {
		return true
	}
	u, err := url.Parse(origin)
	if err != nil {
		return false
	}
	host := u.Hostname()
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback() || u.Host == r.Host && !cameByLoopback(r)
}

func cameByLoopback(r *http.Request) bool {
	at, _ := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	return at == nil || at.IP.IsLoopback()
}

// upgrade is the http.ResponseWriter of a request that was read by hand.
type upgrade struct {
	conn   net.Conn
	in     *bufio.Reader
	head   http.Header
	status int
	body   bytes.Buffer
	err    error
}

func (u *upgrade) Header() http.Header         { return u.head }
func (u *upgrade) WriteHeader(status int)      { u.status = status }
func (u *upgrade) Write(b []byte) (int, error) { return u.body.Write(b) }

// Hijack gives the socket to the WebSocket.
func (u *upgrade) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return u.conn, bufio.NewReadWriter(u.in, bufio.NewWriter(u.conn)), nil
}

// send writes the answer of a request that was refused.
func (u *upgrade) send() error {
	resp := http.Response{
		StatusCode: u.status, ProtoMajor: 1, ProtoMinor: 1, Header: u.head, Close: true,
		Body: io.NopCloser(&u.body), ContentLength: int64(u.body.Len()),
	}
	return resp.Write(u.conn)
}

// webSocket is a WebSocket as a stream of bytes: MQTT packets may span
// messages [MQTT-6.0.0-2]. Close closes the socket, without a farewell of the
// WebSocket: what MQTT has to say was said.
type webSocket struct {
	net.Conn
	ws      *websocket.Conn
	message io.Reader // that is being read; nil between two
}

func (w *webSocket) Read(p []byte) (int, error) {
	for {
		if w.message == nil {
			kind, r, err := w.ws.NextReader()
			if err != nil {
				return 0, err
			}
			if kind != websocket.BinaryMessage { // [MQTT-6.0.0-1]
				return 0, errBinary
			}
			w.message = r
		}
		n, err := w.message.Read(p)
		if errors.Is(err, io.EOF) {
			w.message, err = nil, nil
		}
		if n > 0 || err != nil || len(p) == 0 {
			return n, err
		}
	}
}

// Write sends one message. mochi writes to a connection from one goroutine at
// a time.
func (w *webSocket) Write(p []byte) (int, error) {
	if err := w.ws.WriteMessage(websocket.BinaryMessage, p); err != nil {
		return 0, err
	}
	return len(p), nil
}
