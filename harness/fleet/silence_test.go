package fleet

import (
	"errors"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestVoice: what is written in a silence is taken, and comes after it, whole and
// in order; a PINGREQ waits, whatever its deadline; what is read comes at once;
// and what is kept at a Close never comes.
func TestVoice(t *testing.T) {
	below, peer := net.Pipe()
	defer peer.Close() //nolint:errcheck // the test's own
	v := &voice{Conn: below, n: 1}
	heard := make(chan string)
	go func() {
		defer close(heard)
		b := make([]byte, 10)
		for {
			n, err := peer.Read(b)
			if err != nil {
				return
			}
			heard <- string(b[:n])
		}
	}()
	say := func(text string) <-chan error {
		done := make(chan error, 1)
		go func() {
			_, err := v.Write([]byte(text))
			done <- err
		}()
		return done
	}
	before := say("before")
	if got := <-heard; got != "before" || <-before != nil {
		t.Fatalf("heard %q", got)
	}

	resume := v.silence()
	if v.silence() != nil {
		t.Error("a second silence began in the first")
	}
	if err := v.SetWriteDeadline(time.Now().Add(-time.Second)); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(<-say("kept"), <-say("too")); err != nil {
		t.Error(err)
	}
	ping := say(string(pingreq))
	go func() { _, _ = peer.Write([]byte("read")) }()
	b := make([]byte, 4)
	if _, err := io.ReadFull(v, b); err != nil || string(b) != "read" {
		t.Errorf("read %q, %v", b, err)
	}
	select {
	case got := <-heard:
		t.Errorf("heard %q in the silence", got)
	case err := <-ping:
		t.Errorf("a PINGREQ ended in the silence: %v", err)
	case <-time.After(50 * time.Millisecond): // that nothing comes has no other sign
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		resume()
		resume()
	}()
	if got := <-heard; got != "kepttoo" {
		t.Errorf("heard %q after the silence", got)
	}
	if got := <-heard; got != string(pingreq) || <-ping != nil {
		t.Errorf("heard %q after what was kept", got)
	}
	<-done

	resume = v.silence()
	ping = say(string(pingreq))
	if err := <-say("never"); err != nil {
		t.Error(err)
	}
	big := say(strings.Repeat("x", maxKept))
	if err := v.Close(); err != nil {
		t.Error(err)
	}
	if err := <-ping; !errors.Is(err, net.ErrClosed) {
		t.Errorf("the PINGREQ that a Close met: %v", err)
	}
	if err := <-big; !errors.Is(err, net.ErrClosed) {
		t.Errorf("what was too much, at a Close: %v", err)
	}
	resume()
	if v.silence() != nil {
		t.Error("a closed connection fell silent")
	}
	if got, open := <-heard; open {
		t.Errorf("%q came after the Close", got)
	}
}

// TestVoiceRaces begins and ends silences under writes: all is written once.
func TestVoiceRaces(t *testing.T) {
	below, peer := net.Pipe()
	v := &voice{Conn: below}
	var got atomic.Int64
	done := make(chan struct{})
	go func() {
		defer close(done)
		n, _ := io.Copy(io.Discard, peer)
		got.Store(n)
	}()
	const writes = 2000
	wrote := make(chan struct{})
	go func() {
		defer close(wrote)
		for range writes {
			if _, err := v.Write([]byte("x")); err != nil {
				t.Error(err)
			}
		}
	}()
	for running := true; running; {
		if resume := v.silence(); resume != nil {
			resume()
		}
		select {
		case <-wrote:
			running = false
		default:
		}
	}
	_ = v.Close()
	<-done
	if got.Load() != writes {
		t.Errorf("%d of %d bytes came", got.Load(), writes)
	}
}

func BenchmarkVoice(b *testing.B) {
	v := &voice{Conn: nowhere{}}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := v.Write(nil); err != nil {
			b.Fatal(err)
		}
	}
}

type nowhere struct{ net.Conn }

func (nowhere) Write(b []byte) (int, error) { return len(b), nil }
