package fleet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/rebound-mqtt/rebound/harness/mqtt"
)

// startPaho makes a paho client that is connected to the script.
func (s *script) startPaho(set Settings) (*pahoClient, *scriptConn) {
	s.t.Helper()
	made, err := Paho{}.New(set)
	if err != nil {
		s.t.Fatal(err)
	}
	c := made.(*pahoClient)
	s.t.Cleanup(c.Close)
	failed := make(chan error, 1)
	go func() { failed <- c.Connect(context.Background()) }()
	conn := s.accept(false)
	if err := <-failed; err != nil {
		s.t.Fatal(err)
	}
	return c, conn
}

func TestPahoWill(t *testing.T) {
	s := newScript(t)
	set := s.settings()
	set.Will = &Will{Topic: "w", Payload: []byte("p"), QoS: 2, Retain: true}
	made, err := Paho{}.New(set)
	if err != nil {
		t.Fatal(err)
	}
	defer made.Close()
	go func() { _ = made.Connect(context.Background()) }()
	conn := s.next()
	var info mqtt.ConnectInfo
	buf := make([]byte, 100)
	n, _ := conn.conn.Read(buf)
	_ = conn.framer.Feed(buf[:n], 0, func(p *mqtt.Packet) { info, err = p.Connect() })
	if err != nil || info.WillTopic != "w" || string(info.WillPayload) != "p" || info.WillQoS != 2 || !info.WillRetain {
		t.Errorf("CONNECT %+v, %v", info, err)
	}
}

// The fleet's policy is slept, and nothing of the library's on top.
func TestPahoPolicies(t *testing.T) {
	var mu sync.Mutex
	dials, asked, marks := 0, []int{}, 0
	s := newScript(t)
	set := s.settings()
	s.fail = func() error {
		mu.Lock()
		defer mu.Unlock()
		if dials++; dials == 2 || dials == 3 {
			return errors.New("down")
		}
		return nil
	}
	const sleep = 30 * time.Millisecond
	set.Backoff = func(attempt int) time.Duration {
		mu.Lock()
		defer mu.Unlock()
		asked = append(asked, attempt)
		return sleep
	}
	set.OnReconnecting = func() {
		mu.Lock()
		defer mu.Unlock()
		marks++
	}
	_, conn := s.startPaho(set)
	began := time.Now()
	conn.cut()
	conn = s.accept(true)
	// The library's own would be two sleeps of 1 s after the failed attempts.
	if d := time.Since(began); d < 3*sleep || d > time.Second {
		t.Errorf("three sleeps of %s took %s", sleep, d)
	}
	began = time.Now()
	conn.cut() // a continual loss: the library's own would sleep 1 s
	s.accept(true)
	if d := time.Since(began); d < sleep || d > time.Second {
		t.Errorf("a sleep of %s took %s", sleep, d)
	}
	mu.Lock()
	defer mu.Unlock()
	if fmt.Sprint(asked) != "[1 2 3 1]" || marks != 4 {
		t.Errorf("asked for attempts %v, marked %d", asked, marks)
	}
}

// A sleep of the fleet's policy ends with Disconnect, also one that has no other
// end, and Connect works again.
func TestDisconnectCutsThePolicysSleep(t *testing.T) {
	for name, start := range map[string]func(*script, Settings) (Client, *scriptConn){
		"paho":   func(s *script, set Settings) (Client, *scriptConn) { return s.startPaho(set) },
		"strict": func(s *script, set Settings) (Client, *scriptConn) { return s.start(set) },
	} {
		for _, sleep := range []time.Duration{time.Hour, Never} {
			t.Run(fmt.Sprint(name, " ", sleep), func(t *testing.T) {
				s := newScript(t)
				set := s.settings()
				asleep := make(chan struct{}, 9)
				set.Backoff = func(int) time.Duration { asleep <- struct{}{}; return sleep }
				c, conn := start(s, set)
				for range 3 {
					conn.cut()
					<-asleep
					began := time.Now()
					c.Disconnect()
					if d := time.Since(began); d > time.Second {
						t.Errorf("Disconnect took %s", d)
					}
					failed := make(chan error, 1)
					go func() { failed <- c.Connect(t.Context()) }()
					conn = s.accept(true)
					if err := <-failed; err != nil {
						t.Fatal(err)
					}
				}
			})
		}
	}
}

// Disconnect inside the handshake, Connect not awaited, on the same library
// client: it always works again, and no goroutine is left.
func TestPahoFlapsInTheHandshake(t *testing.T) {
	const cycles = 150
	s := newScript(t)
	set := s.settings()
	c, conn := s.startPaho(set)
	if err := c.Publish("t", 1, false, []byte("kept")); err != nil {
		t.Fatal(err)
	}
	conn.expect("PUBLISH1 1 kept")
	left := make(chan struct{})
	go func() { defer close(left); c.Disconnect() }()
	conn.expect("DISCONNECT", "")
	<-left
	runtime.GC()
	before := runtime.NumGoroutine()
	for i := range cycles {
		failed := make(chan error, 1)
		go func() { failed <- c.Connect(context.Background()) }()
		conn := s.next()
		conn.expect("CONNECT")
		if i%3 == 1 { // the connection is made while it is ended
			conn.send(mqtt.AppendConnack(nil, true, 0))
			go func() {
				for conn.read() != "" {
				}
			}()
		}
		c.Disconnect()
		<-failed
	}
	await(t, "the goroutines to end", func() bool { return runtime.NumGoroutine() <= before })
	failed := make(chan error, 1)
	go func() { failed <- c.Connect(t.Context()) }()
	conn = s.accept(true)
	conn.expect("PUBLISH1 dup 1 kept")
	if err := <-failed; err != nil {
		t.Fatal(err)
	}
}

// A dial that hangs is aborted too.
func TestPahoDisconnectInTheDial(t *testing.T) {
	dialing := make(chan struct{}, 1)
	c, err := Paho{}.New(Settings{ClientID: "c", Addr: "h:1", Dial: func(ctx context.Context) (net.Conn, error) {
		dialing <- struct{}{}
		<-ctx.Done()
		return nil, ctx.Err()
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for range 20 {
		failed := make(chan error, 1)
		go func() { failed <- c.Connect(context.Background()) }()
		<-dialing
		c.Disconnect()
		if err := <-failed; err == nil {
			t.Fatal("connected")
		}
	}
}
