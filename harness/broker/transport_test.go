package broker

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
	"github.com/gorilla/websocket"

	"github.com/rebound-mqtt/rebound/harness/mqtt"
)

// certificate makes one for loopback, in files, and the pool that trusts it.
func certificate(t *testing.T) (certFile, keyFile string, pool *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "rebound test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}, DNSNames: []string{"localhost"},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for file, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "PRIVATE KEY", Bytes: keyDER}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool = x509.NewCertPool()
	pool.AddCert(cert)
	return certFile, keyFile, pool
}

// startEverywhere starts a broker on all transports.
func startEverywhere(t *testing.T, host string) (*Embedded, map[string]string, *x509.CertPool) {
	t.Helper()
	certFile, keyFile, pool := certificate(t)
	conf, err := LoadTLS(certFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	b := startTest(t, Options{Host: host, TLS: conf, Also: []Transport{{TransportTLS, 0}, {TransportWS, 0}, {TransportWSS, 0}}})
	byScheme := make(map[string]string)
	for _, addr := range b.Info().Addresses {
		scheme, _, _ := strings.Cut(addr, "://")
		byScheme[scheme] = addr
	}
	if len(byScheme) != 4 {
		t.Fatalf("addresses %q", b.Info().Addresses)
	}
	return b, byScheme, pool
}

// The client under test of the mission speaks all four, and is kicked from each.
func TestPahoOverEachTransport(t *testing.T) {
	for _, host := range []string{"", "::1"} {
		if host == "::1" {
			l, err := net.Listen("tcp6", "[::1]:0")
			if err != nil {
				t.Logf("SKIPPED: no IPv6 loopback here: %v", err)
				continue
			}
			_ = l.Close()
		}
		b, byScheme, pool := startEverywhere(t, host)
		for scheme, addr := range byScheme {
			t.Run(scheme+host, func(t *testing.T) {
				lost := make(chan error, 1)
				got := make(chan string, 1)
				big := strings.Repeat("x", 200_000) // larger than any buffer on the way
				c := paho.NewClient(paho.NewClientOptions().AddBroker(addr).SetClientID(scheme).SetProtocolVersion(4).
					SetAutoReconnect(false).SetTLSConfig(&tls.Config{RootCAs: pool}).
					SetConnectionLostHandler(func(_ paho.Client, err error) { lost <- err }))
				finish := func(what string, token paho.Token) {
					t.Helper()
					if !token.WaitTimeout(patience) || token.Error() != nil {
						t.Fatalf("%s: %v", what, token.Error())
					}
				}
				finish("connect", c.Connect())
				finish("subscribe", c.Subscribe("t/"+scheme, 1, func(_ paho.Client, m paho.Message) { got <- string(m.Payload()) }))
				finish("publish", c.Publish("t/"+scheme, 1, false, big))
				select {
				case payload := <-got:
					if payload != big {
						t.Errorf("%d bytes came back, want %d", len(payload), len(big))
					}
				case <-time.After(patience):
					t.Fatal("the message never came")
				}
				if found, _, err := b.CloseClient(testContext(t), scheme); err != nil || !found {
					t.Fatal(found, err)
				}
				select {
				case <-lost:
				case <-time.After(patience):
					t.Fatal("the kick was never seen")
				}
				eventually(t, "the client is gone", func() bool { return b.Clients() == 0 })
				eventually(t, "the door is empty", func() bool { return b.door.count() == 0 })
			})
		}
	}
}

func TestWebSocketUpgrade(t *testing.T) {
	b, byScheme, _ := startEverywhere(t, "")
	host := strings.TrimSuffix(strings.TrimPrefix(byScheme["ws"], "ws://"), "/mqtt")
	offer := []string{"v2.example", "mqtt"}
	for _, c := range []struct {
		name, path, origin string
		offer              []string
		status             int
	}{
		{"mqtt", "/mqtt", "", offer, http.StatusSwitchingProtocols},
		{"a page of this host", "/mqtt", "http://localhost:3000", offer, http.StatusSwitchingProtocols},
		{"a page of this address", "/mqtt", "http://" + host, offer, http.StatusSwitchingProtocols},
		{"no subprotocol", "/mqtt", "", nil, http.StatusBadRequest},
		{"another subprotocol", "/mqtt", "", offer[:1], http.StatusBadRequest},
		{"another path", "/", "", offer, http.StatusNotFound},
		{"a page from elsewhere", "/mqtt", "https://evil.example", offer, http.StatusForbidden},
		{"a page without a place", "/mqtt", "null", offer, http.StatusForbidden},
	} {
		ws, resp, err := (&websocket.Dialer{Subprotocols: c.offer}).DialContext(testContext(t), "ws://"+host+c.path, origin(c.origin))
		if resp == nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if resp.StatusCode != c.status {
			t.Errorf("%s: status %d, want %d", c.name, resp.StatusCode, c.status)
		}
		if ws != nil {
			if ws.Subprotocol() != "mqtt" { // [MQTT-6.0.0-4]
				t.Errorf("%s: subprotocol %q", c.name, ws.Subprotocol())
			}
			_ = ws.Close()
		}
	}
	// A page of a name that was re-bound to 127.0.0.1 has an origin of its own.
	rebound := origin("http://evil.example:8083")
	rebound.Set("Host", "evil.example:8083")
	_, resp, err := (&websocket.Dialer{Subprotocols: offer}).DialContext(testContext(t), "ws://"+host+"/mqtt", rebound)
	if resp == nil || resp.StatusCode != http.StatusForbidden {
		t.Errorf("a name that was re-bound: %v, %v", resp, err)
	}
	// What is no upgrade at all gets an answer, or a closed socket; what never
	// ends is not read on and on.
	for name, request := range map[string]string{
		"a browser":       "GET /mqtt HTTP/1.1\r\nHost: " + host + "\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n",
		"MQTT":            string(mqtt.AppendConnect(nil, mqtt.ConnectInfo{ClientID: "lost", Clean: true})) + "\r\n\r\n",
		"1 MiB of header": "GET /mqtt HTTP/1.1\r\nX: " + strings.Repeat("x", 1<<20) + "\r\n\r\n",
	} {
		conn, err := net.Dial("tcp", host)
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(patience))
		_, _ = io.WriteString(conn, request) // the other side may have closed
		answer, err := io.ReadAll(conn)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: never closed", name)
		}
		if name == "a browser" && !strings.HasPrefix(string(answer), "HTTP/1.1 400 ") {
			t.Errorf("%s: %q", name, answer)
		}
		_ = conn.Close()
	}
	if n := b.Clients(); n != 0 {
		t.Errorf("%d clients", n)
	}
}

func dialWS(t *testing.T, addr string) *websocket.Conn {
	t.Helper()
	ws, _, err := (&websocket.Dialer{Subprotocols: []string{"mqtt"}}).DialContext(testContext(t), addr, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ws.Close() })
	_ = ws.SetReadDeadline(time.Now().Add(patience))
	return ws
}

func send(t *testing.T, ws *websocket.Conn, kind int, b []byte) {
	t.Helper()
	if err := ws.WriteMessage(kind, b); err != nil {
		t.Fatal(err)
	}
}

// MQTT packets and WebSocket messages need not match [MQTT-6.0.0-2]; what is
// not binary ends the connection [MQTT-6.0.0-1].
func TestWebSocketMessages(t *testing.T) {
	b, byScheme, _ := startEverywhere(t, "")
	ws := dialWS(t, byScheme["ws"])
	hello := mqtt.AppendConnect(nil, mqtt.ConnectInfo{ClientID: "w", Clean: true})
	for i := range hello { // one byte a message, and empty ones
		send(t, ws, websocket.BinaryMessage, hello[i:i+1])
		send(t, ws, websocket.BinaryMessage, nil)
	}
	if kind, ack, err := ws.ReadMessage(); err != nil || kind != websocket.BinaryMessage || len(ack) != 4 || ack[0] != 0x20 {
		t.Fatalf("%d % x %v", kind, ack, err)
	}
	send(t, ws, websocket.BinaryMessage, mqtt.AppendPingreq(mqtt.AppendPingreq(nil))) // two packets in one
	var answers []byte
	for len(answers) < 4 {
		_, pong, err := ws.ReadMessage()
		if err != nil {
			t.Fatal(err)
		}
		answers = append(answers, pong...)
	}
	send(t, ws, websocket.TextMessage, mqtt.AppendPingreq(nil))
	if _, more, err := ws.ReadMessage(); err == nil {
		t.Errorf("a text message was answered: % x", more)
	}
	eventually(t, "the client is gone", func() bool { return b.Clients() == 0 })
}

func TestTLSVersions(t *testing.T) {
	_, byScheme, pool := startEverywhere(t, "")
	for version, ok := range map[uint16]bool{tls.VersionTLS11: false, tls.VersionTLS12: true, tls.VersionTLS13: true} {
		conn, err := tls.Dial("tcp", strings.TrimPrefix(byScheme["tls"], "tls://"), &tls.Config{RootCAs: pool, MinVersion: version, MaxVersion: version})
		if (err == nil) != ok {
			t.Errorf("%s: %v", tls.VersionName(version), err)
		}
		if err == nil {
			_ = conn.Close()
		}
	}
}

// Close ends connections in every state of every transport at once, without a
// word: no DISCONNECT, no close frame, no alert.
func TestCloseIsAbruptOnEachTransport(t *testing.T) {
	b, byScheme, pool := startEverywhere(t, "")
	ws := dialWS(t, byScheme["ws"])
	send(t, ws, websocket.BinaryMessage, mqtt.AppendConnect(nil, mqtt.ConnectInfo{ClientID: "w", Clean: true}))
	if _, _, err := ws.ReadMessage(); err != nil {
		t.Fatal(err)
	}
	secure, err := tls.Dial("tcp", strings.TrimPrefix(byScheme["tls"], "tls://"), &tls.Config{RootCAs: pool})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = secure.Close() }()
	var silent []net.Conn // in the middle of a handshake
	for _, scheme := range []string{"tls", "ws", "wss"} {
		u, err := url.Parse(byScheme[scheme])
		if err != nil {
			t.Fatal(err)
		}
		silent = append(silent, dialRaw(t, "tcp://"+u.Host).conn)
	}
	eventually(t, "all are in the door", func() bool { return b.door.count() == 5 })
	begin := time.Now()
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begin); took > openTimeout/2 {
		t.Errorf("Close took %v: it waited for a handshake", took)
	}
	if _, _, err := ws.ReadMessage(); err == nil || websocket.IsCloseError(err, websocket.CloseNormalClosure, websocket.CloseGoingAway) {
		t.Errorf("WebSocket: %v", err)
	}
	if _, err := secure.Read(make([]byte, 1)); !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		t.Errorf("TLS: %v", err)
	}
	for _, c := range silent {
		if _, err := bufio.NewReader(c).ReadByte(); !errors.Is(err, io.EOF) {
			t.Errorf("silent: %v", err)
		}
	}
}

// A socket that says nothing is closed, before its handshake and before its CONNECT.
func TestSilentSocketsAreClosed(t *testing.T) {
	certFile, keyFile, pool := certificate(t)
	conf, err := LoadTLS(certFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	b := startTest(t, Options{
		Host: "127.0.0.1", TLS: conf, Also: []Transport{{TransportTLS, 0}, {TransportWS, 0}}, ConnectTimeout: 50 * time.Millisecond,
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	slow := newDoor([]way{Transport{Scheme: TransportTLS}.way(l, conf)}, Options{}.withDefaults().Log)
	slow.handshake = 50 * time.Millisecond
	served := make(chan struct{})
	go func() { defer close(served); slow.Serve(nil) }()
	defer func() { slow.Close(nil); <-served }()
	addrs := b.Info().Addresses
	secure, err := tls.Dial("tcp", strings.TrimPrefix(addrs[1], "tls://"), &tls.Config{RootCAs: pool})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = secure.Close() }()
	_ = secure.SetDeadline(time.Now().Add(patience))
	ws := dialWS(t, addrs[2])
	silent := map[string]io.Reader{
		"TCP": dialRaw(t, addrs[0]).conn, "TLS": secure, "WebSocket": ws.NetConn(),
		"handshake": dialRaw(t, l.Addr().String()).conn,
	}
	for name, c := range silent {
		if n, err := c.Read(make([]byte, 1)); n > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: not closed (%v)", name, err)
		}
	}
	// The bound is of the CONNECT alone: a client that is quiet after it stays.
	quiet, _ := connectRaw(t, addrs[0], mqtt.ConnectInfo{ClientID: "quiet", Clean: true})
	<-time.After(200 * time.Millisecond)
	quiet.write(mqtt.AppendPingreq(nil))
	quiet.read(2)
}

func TestLoadTLSThatFails(t *testing.T) {
	cert, key, _ := certificate(t)
	_, other, _ := certificate(t)
	for _, pair := range [][2]string{{"/no/such/file", key}, {cert, "/no/such/file"}, {cert, other}, {key, cert}} {
		if conf, err := LoadTLS(pair[0], pair[1]); conf != nil || !errors.Is(err, ErrTLS) || !strings.Contains(fmt.Sprint(err), pair[0]) {
			t.Errorf("%v: %v", pair, err)
		}
	}
	for _, scheme := range []string{TransportTLS, TransportWSS} {
		if _, err := StartEmbedded(testContext(t), Options{Also: []Transport{{scheme, 0}}}); !errors.Is(err, ErrTLS) {
			t.Errorf("%s without a certificate: %v", scheme, err)
		}
	}
}

func TestHostThatCanNotBeUsed(t *testing.T) {
	b := startTest(t, Options{Host: "127.0.0.1", Also: []Transport{{TransportWS, 0}}})
	for _, addr := range b.Info().Addresses {
		for _, o := range []Options{{Host: "127.0.0.1", Port: portOf(t, addr)}, {Also: []Transport{{TransportWS, portOf(t, addr)}}}} {
			if _, err := StartEmbedded(testContext(t), o); !errors.Is(err, ErrPortInUse) {
				t.Errorf("%s: %v", addr, err)
			}
		}
	}
	if _, err := StartEmbedded(testContext(t), Options{Host: "192.0.2.1"}); err == nil { // TEST-NET-1: of no machine
		t.Error("an address of another network was taken")
	}
}

func origin(of string) http.Header {
	if of == "" {
		return nil
	}
	return http.Header{"Origin": {of}}
}
