package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
)

// mkcert is a command: it writes a certificate for loopback and its key.
func mkcert() {
	if err := writeCertificate(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func writeCertificate(certFile, keyFile string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return err
	}
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	if err := os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}), 0o600); err != nil {
		return err
	}
	return os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw}), 0o600)
}

// serving is a running `rebound broker`.
type serving struct {
	*process
	mqtt             []string
	endpoint, health string
}

func serveProcess(t *testing.T, args ...string) serving {
	t.Helper()
	p, err := startProcess(t.TempDir(), os.Environ(), reboundPath(t), append([]string{"broker"}, args...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.kill)
	lines, err := p.await(&p.out, regexp.MustCompile(`(?m)^mqtt +(.+)\nendpoint +(\S+)\nhealth +(\S+)\n`))
	if err != nil {
		errs, _ := p.err.text()
		t.Fatalf("%v\n%s", err, errs)
	}
	return serving{p, strings.Fields(lines[0]), lines[1], lines[2]}
}

// stop ends it with a signal and checks the exit code.
func (s serving) stop(t *testing.T) {
	t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code, err := s.wait(); err != nil || code != 0 {
		errs, _ := s.err.text()
		t.Fatalf("exit code %d, %v\n%s", code, err, errs)
	}
}

// device is a paho client that collects what it gets.
type device struct {
	paho.Client
	lost chan error

	mu  sync.Mutex
	got []string
}

func connectDevice(t *testing.T, addr, id string, clean bool, pool *x509.CertPool) (*device, bool) {
	t.Helper()
	d := &device{lost: make(chan error, 1)}
	d.Client = paho.NewClient(paho.NewClientOptions().AddBroker(addr).SetClientID(id).SetCleanSession(clean).
		SetProtocolVersion(4).SetAutoReconnect(false).SetTLSConfig(&tls.Config{RootCAs: pool}).
		SetConnectionLostHandler(func(_ paho.Client, err error) { d.lost <- err }).
		SetDefaultPublishHandler(func(_ paho.Client, m paho.Message) {
			d.mu.Lock()
			defer d.mu.Unlock()
			d.got = append(d.got, string(m.Payload()))
		}))
	token := d.Connect().(*paho.ConnectToken)
	complete(t, "connect to "+addr, token)
	t.Cleanup(func() { d.Disconnect(0) })
	return d, token.SessionPresent()
}

func complete(t *testing.T, what string, token paho.Token) {
	t.Helper()
	if !token.WaitTimeout(patience) || token.Error() != nil {
		t.Fatalf("%s: %v", what, token.Error())
	}
}

// receives waits until what came is, in any order, what was wanted.
func (d *device) receives(t *testing.T, want ...string) {
	t.Helper()
	slices.Sort(want)
	awaitGot(t, fmt.Sprintf("%q", want), d, func(got []string) bool {
		slices.Sort(got)
		return slices.Equal(got, want)
	})
}

// awaitGot waits until what came to a device is right, and gives it.
func awaitGot(t *testing.T, what string, d *device, right func(got []string) bool) []string {
	t.Helper()
	bound := time.NewTimer(patience)
	defer bound.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		d.mu.Lock()
		got := slices.Clone(d.got)
		d.mu.Unlock()
		if right(got) {
			return got
		}
		select {
		case <-bound.C:
			t.Fatalf("never came: %s; got %q", what, got)
		case <-tick.C:
		}
	}
}

func getURL(t *testing.T, client *http.Client, url string) (status int, body string) {
	t.Helper()
	resp, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close() //nolint:errcheck // read only
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(raw)
}

// The unit as its users have it: a process, paho by each transport, a close
// through the endpoint.
func TestBrokerProcessTransports(t *testing.T) {
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	if err := writeCertificate(cert, key); err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if text, err := os.ReadFile(cert); err != nil || !pool.AppendCertsFromPEM(text) {
		t.Fatal(err)
	}
	s := serveProcess(t, "--host", "127.0.0.1", "--tls-port", "0", "--ws-port", "0", "--wss-port", "0",
		"--tls-cert", cert, "--tls-key", key, "--endpoint-tls", "--verbose")
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: patience}
	if status, body := getURL(t, client, s.health); status != 200 || body != "ok\n" {
		t.Errorf("health: %d %q", status, body)
	}
	if len(s.mqtt) != 4 {
		t.Fatalf("addresses %q", s.mqtt)
	}
	s.mqtt = append(s.mqtt, strings.Replace(s.mqtt[1], "tls://", "ssl://", 1)) // the other name of it
	for i, addr := range s.mqtt {
		id := fmt.Sprintf("GID_test@@@%d", i)
		d, _ := connectDevice(t, addr, id, true, pool)
		complete(t, "subscribe", d.Subscribe(id, 1, nil))
		complete(t, "publish", d.Publish(id, 1, false, addr))
		d.receives(t, addr)
		status, body := getURL(t, client, s.endpoint+"/?Action=CloseConnection&Version=2020-04-20&InstanceId=post-cn-test&ClientId="+id)
		if status != 200 || !strings.Contains(body, `"Success":true`) {
			t.Errorf("%s: %d %s", addr, status, body)
		}
		select {
		case <-d.lost:
		case <-time.After(patience):
			t.Fatalf("%s: the close was never seen", addr)
		}
		// --verbose tells both ends of it.
		for _, line := range []string{`msg=connect client=` + id, `msg=end client=` + id + ` .*administrative`} {
			if _, err := s.await(&s.err, regexp.MustCompile(line)); err != nil {
				t.Error(err)
			}
		}
	}
	s.stop(t)
}

// What clients leave behind survives a stop and SIGKILL.
func TestBrokerProcessPersistence(t *testing.T) {
	for name, end := range map[string]func(*testing.T, serving){
		"stop":    func(t *testing.T, s serving) { s.stop(t) },
		"SIGKILL": func(_ *testing.T, s serving) { s.kill() },
	} {
		t.Run(name, func(t *testing.T) {
			store := filepath.Join(t.TempDir(), "state")
			s := serveProcess(t, "--store", store)
			sub, _ := connectDevice(t, s.mqtt[0], "GID_test@@@sub", false, nil)
			complete(t, "subscribe", sub.Subscribe("t/#", 1, nil))
			sub.Disconnect(100)
			pub, _ := connectDevice(t, s.mqtt[0], "GID_test@@@pub", true, nil)
			var want []string
			for i := range 50 {
				want = append(want, fmt.Sprint("message ", i))
				complete(t, "publish", pub.Publish("t/a", 1, false, want[i]))
			}
			complete(t, "publish retained", pub.Publish("kept", 1, true, "retained"))
			// mochi acknowledges before it routes: what comes after is routed later.
			complete(t, "subscribe", pub.Subscribe("kept", 1, nil))
			pub.receives(t, "retained")
			end(t, s)

			s = serveProcess(t, "--store", store, "--port", s.mqtt[0][strings.LastIndex(s.mqtt[0], ":")+1:])
			again, present := connectDevice(t, s.mqtt[0], "GID_test@@@sub", false, nil)
			if !present {
				t.Error("the session is gone")
			}
			again.receives(t, want...)
			complete(t, "subscribe", again.Subscribe("kept", 1, nil))
			again.receives(t, append(want, "retained")...)
			// The subscription is there, and the clean session is not.
			back, present := connectDevice(t, s.mqtt[0], "GID_test@@@pub", false, nil)
			if present {
				t.Error("a clean session survived")
			}
			complete(t, "publish", back.Publish("t/b", 1, false, "new"))
			again.receives(t, append(want, "retained", "new")...)
			s.stop(t)
		})
	}
}

// SIGKILL in the middle of writing: the store opens again, and lacks at most the
// one message that was acknowledged and not routed yet
// (docs/track-record.md#mochi-late-routing).
func TestBrokerProcessKilledUnderLoad(t *testing.T) {
	store := filepath.Join(t.TempDir(), "state")
	for round := range 5 {
		s := serveProcess(t, "--store", store)
		if round == 0 { // the session goes on from then on
			sub, _ := connectDevice(t, s.mqtt[0], "sub", false, nil)
			complete(t, "subscribe", sub.Subscribe("t", 1, nil))
			sub.Disconnect(100)
		}
		pub, _ := connectDevice(t, s.mqtt[0], "pub", true, nil)
		var acked []string
		for killed := false; ; {
			payload := fmt.Sprint(round, "-", len(acked))
			token := pub.Publish("t", 1, false, payload)
			if !killed && len(acked) == 100+37*round {
				killed = true
				s.cmd.Process.Kill() //nolint:errcheck // its end is waited for below
			}
			ended := make(chan struct{})
			go func() { defer close(ended); token.Wait() }()
			select {
			case <-ended:
			case <-pub.lost:
			case <-time.After(patience):
				t.Fatal("neither an acknowledgement nor the end of the connection")
			}
			if token.Error() != nil || !pub.IsConnected() {
				break
			}
			acked = append(acked, payload)
		}
		s.kill()

		s = serveProcess(t, "--store", store)
		again, present := connectDevice(t, s.mqtt[0], "sub", false, nil)
		if !present {
			t.Fatal("the session is gone")
		}
		awaitGot(t, "each acknowledged message but the last one", again, func(got []string) bool {
			return !slices.ContainsFunc(acked[:len(acked)-1], func(p string) bool { return !slices.Contains(got, p) })
		})
		// What is sent again and what is new may overtake each other, so the
		// marker comes when there is no more to be sent again.
		marker, _ := connectDevice(t, s.mqtt[0], "marker", true, nil)
		end := fmt.Sprint("end of round ", round)
		complete(t, "publish", marker.Publish("t", 1, false, end))
		got := awaitGot(t, end, again, func(got []string) bool { return slices.Contains(got, end) })
		// Of the rounds before may come what the stop cut the acknowledgement of.
		got = slices.DeleteFunc(got, func(p string) bool { return !strings.HasPrefix(p, fmt.Sprint(round, "-")) })
		slices.Sort(got)
		if unique := slices.Compact(slices.Clone(got)); len(unique) != len(got) {
			t.Errorf("round %d: delivered twice: %q", round, got)
		}
		again.Disconnect(100) // acknowledges what it has first
		s.stop(t)
	}
}

// A call that a rule holds back is answered when the broker ends, and the end is
// a good one.
func TestBrokerProcessEndsInADelay(t *testing.T) {
	rules := filepath.Join(t.TempDir(), "rules.yaml")
	if err := os.WriteFile(rules, []byte("rules:\n  - {delay: 50s, after_effect: true}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := serveProcess(t, "--inject", rules, "--verbose")
	connectDevice(t, s.mqtt[0], "dev", true, nil)
	type answer struct {
		status int
		err    error
	}
	answered := make(chan answer, 1)
	go func() {
		client := &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
		resp, err := client.Get(s.endpoint + "/?Action=CloseConnection&Version=2020-04-20&InstanceId=i&ClientId=dev")
		if err != nil {
			answered <- answer{err: err}
			return
		}
		answered <- answer{resp.StatusCode, resp.Body.Close()}
	}()
	// The delay comes after the effect, which can be seen.
	if _, err := s.await(&s.err, regexp.MustCompile(`msg=end client=dev .*administrative`)); err != nil {
		t.Fatal(err)
	}
	s.stop(t)
	if a := <-answered; a.err != nil || a.status != http.StatusOK {
		t.Errorf("the call that was held back: %d, %v", a.status, a.err)
	}
}

// A caller that hangs is cut off after 5 s; the end is a good one, and says so.
func TestBrokerProcessCutsOffWhoHangs(t *testing.T) {
	s := serveProcess(t)
	hang(t, s)
	s.stop(t)
	if text, _ := s.err.text(); !strings.Contains(text, "calls that did not end were cut off") || strings.Count(text, "\n") != 1 {
		t.Errorf("it says %q", text)
	}
}

// hang sends a request without an end, which holds the endpoint's orderly close
// for 5 s.
func hang(t *testing.T, s serving) {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.endpoint, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() }) //nolint:errcheck // the test's own
	if _, err := io.WriteString(conn, "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 10\r\nExpect: 100-continue\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, make([]byte, len("HTTP/1.1 100"))); err != nil { // it is read
		t.Fatal(err)
	}
}

// A second signal does not wait for the first one's end.
func TestBrokerProcessSecondSignal(t *testing.T) {
	s := serveProcess(t)
	hang(t, s)
	begin := time.Now()
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	for status := 0; status != http.StatusServiceUnavailable && time.Since(begin) < patience; { // until it has begun to close
		status, _ = getURL(t, client, s.health)
	}
	if ended(s.process) {
		t.Fatal("nothing held the first signal's end, so that this test shows nothing")
	}
	for !ended(s.process) && time.Since(begin) < patience {
		s.cmd.Process.Signal(syscall.SIGTERM) //nolint:errcheck // until it has ended
		select {
		case <-s.done:
		case <-time.After(50 * time.Millisecond):
		}
	}
	if took := time.Since(begin); took > 4*time.Second {
		t.Errorf("it took %v", took)
	}
	if code := s.cmd.ProcessState.ExitCode(); code == 0 {
		t.Error("it ended well, not by the signal")
	}
}

func ended(p *process) bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}
