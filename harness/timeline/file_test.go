package timeline

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func connEvent(client, n int, end Instant) Event {
	return Event{Conn: &Conn{Fleet: "f", Client: client, ClientID: fmt.Sprint("c", client), N: n, Dial: 1, End: end}}
}

// sample has an event of each kind.
func sample() []Event {
	found := true
	return []Event{
		{Mark: &Mark{RunID: "r", StartedAt: "2026-11-24T00:00:00Z", Monotonic: 7}},
		{Phase: &Phase{Name: "storm", Start: 1, End: 2, Reason: "until"}},
		{Wave: &Wave{Phase: "storm", Wave: 1, Start: 1, End: 2}},
		{Action: &Action{Fault: "close", Phase: "storm", Wave: 1, Fleet: "f", Intended: 1, OK: true, Found: &found}},
		connEvent(3, 1, 0),
		{Mark: &Mark{Stop: 9}},
	}
}

func write(t testing.TB, w io.Writer, flushes ...[]Event) {
	t.Helper()
	out := NewWriter(w)
	for _, events := range flushes {
		for _, e := range events {
			out.Add(e)
		}
		if err := out.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestWriteAndRead(t *testing.T) {
	var file bytes.Buffer
	all := sample()
	write(t, &file, all[:2], nil, all[2:5], all[5:])
	got, err := Read(&file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(all, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if got, err := Read(strings.NewReader("")); err != nil || len(got) != 0 {
		t.Errorf("nothing reads as %v, %v", got, err)
	}
}

// A file that was appended to by a second process is one file.
func TestAppendedFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events.jsonl.gz")
	for _, e := range sample() {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		write(t, f, []Event{e})
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if got, err := Read(f); err != nil || cmp.Diff(sample(), got) != "" {
		t.Errorf("%v, %v", got, err)
	}
}

// After a kill -9 at any byte the file reads to its last whole flush.
func TestTruncatedAnywhere(t *testing.T) {
	all := sample()
	var file bytes.Buffer
	var ends []int // of the members
	for i := range all {
		write(t, &file, all[i:i+1])
		ends = append(ends, file.Len())
	}
	for cut := range file.Len() + 1 {
		whole, clean := 0, cut == 0
		for _, end := range ends {
			if end <= cut {
				whole++
				clean = end == cut
			}
		}
		got, err := Read(bytes.NewReader(file.Bytes()[:cut]))
		if diff := cmp.Diff(all[:whole], got); diff != "" && whole > 0 || len(got) != whole {
			t.Fatalf("cut at %d of %d:\n%s", cut, file.Len(), diff)
		}
		if clean && err != nil || !clean && !errors.Is(err, ErrTruncated) {
			t.Fatalf("cut at %d of %d: %v", cut, file.Len(), err)
		}
	}
}

func member(t testing.TB, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := WriteMember(&b, func(w io.Writer) error { _, err := io.WriteString(w, text); return err }); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestReadRefuses(t *testing.T) {
	good := member(t, `{"mark":{"run_id":"r"}}`+"\n")
	flipped := bytes.Clone(good)
	flipped[len(flipped)-6] ^= 1 // in the checksum
	mangled := bytes.Clone(good)
	mangled[10] = 0xff // in the deflated bytes
	for name, tail := range map[string][]byte{
		"no gzip":        []byte("garbage, and more than a gzip header of it"),
		"zeros":          make([]byte, 100),
		"checksum":       flipped,
		"deflate":        mangled,
		"no JSON":        member(t, "x\n"),
		"empty line":     member(t, "\n"),
		"no event":       member(t, "{}\n"),
		"two events":     member(t, `{"mark":{},"wave":{}}`+"\n"),
		"unknown event":  member(t, `{"later":{}}`+"\n"),
		"wrong type":     member(t, `{"conn":{"n":"one"}}`+"\n"),
		"line too long":  member(t, `{"mark":{"run_id":"`+strings.Repeat("r", MaxLine)+`"}}`+"\n"),
		"second is bad":  member(t, `{"mark":{}}`+"\nx\n"),
		"long, no lines": member(t, strings.Repeat("r", 3*MaxLine)),
	} {
		got, err := Read(io.MultiReader(bytes.NewReader(good), bytes.NewReader(tail)))
		if !errors.Is(err, ErrCorrupt) || len(got) != 1 {
			t.Errorf("%s: %d events, %v", name, len(got), err)
		}
	}
	if got, err := Read(bytes.NewReader(member(t, `{"mark":{}}`))); !errors.Is(err, ErrTruncated) || len(got) != 0 {
		t.Errorf("no newline: %d events, %v", len(got), err)
	}
}

type reader func([]byte) (int, error)

func (r reader) Read(b []byte) (int, error) { return r(b) }

func TestReadPassesErrorsOn(t *testing.T) {
	broken := errors.New("broken disk")
	fails := reader(func([]byte) (int, error) { return 0, broken })
	good := member(t, `{"mark":{}}`+"\n")
	for _, n := range []int{0, 5, 15, len(good)} {
		_, err := Read(io.MultiReader(bytes.NewReader(good[:n]), fails))
		if !errors.Is(err, broken) || errors.Is(err, ErrTruncated) || errors.Is(err, ErrCorrupt) {
			t.Errorf("after %d bytes: %v", n, err)
		}
	}
}

func TestLines(t *testing.T) {
	long := strings.Repeat("x", 200_000) // longer than the reader's buffer
	var got []string
	err := Lines(strings.NewReader("a\n\n"+long+"\nb\n"), len(long), func(n int, text []byte) error {
		if n != len(got)+1 {
			t.Errorf("line %d is numbered %d", len(got)+1, n)
		}
		got = append(got, string(text))
		return nil
	})
	if err != nil || cmp.Diff([]string{"a", "", long, "b"}, got) != "" {
		t.Errorf("%d lines, %v", len(got), err)
	}
	for _, limit := range []int{0, 10, 100_000, len(long) - 1} {
		err := Lines(strings.NewReader(long+"\n"), limit, func(int, []byte) error { return nil })
		if !errors.Is(err, ErrCorrupt) {
			t.Errorf("limit %d: %v", limit, err)
		}
	}
	stop := errors.New("stop")
	if err := Lines(strings.NewReader("a\nb\n"), 9, func(int, []byte) error { return stop }); !errors.Is(err, stop) {
		t.Error(err)
	}
}

// ReadMembers must find each member, also when its content was not read.
func TestReadMembersUnread(t *testing.T) {
	n := 0
	err := ReadMembers(io.MultiReader(bytes.NewReader(member(t, "one\n")), bytes.NewReader(member(t, "two\n"))), func(io.Reader) error {
		n++
		return nil
	})
	if n != 2 || err != nil {
		t.Errorf("%d members, %v", n, err)
	}
}

type limited struct {
	bytes.Buffer
	room int
}

func (l *limited) Write(b []byte) (int, error) {
	if len(b) > l.room {
		n, _ := l.Buffer.Write(b[:l.room])
		l.room = 0
		return n, errDisk
	}
	l.room -= len(b)
	return l.Buffer.Write(b)
}

var errDisk = errors.New("no space left")

// Behind half a member nothing may be written, or it could not be read.
func TestFullDisk(t *testing.T) {
	disk := &limited{room: 250}
	w := NewWriter(disk)
	flushed := 0
	for w.Flush() == nil {
		flushed++
		w.Add(Event{Mark: &Mark{RunID: fmt.Sprint(flushed)}})
	}
	disk.room = 1 << 20
	w.Add(Event{Mark: &Mark{RunID: "late"}})
	if err := w.Close(); !errors.Is(err, errDisk) {
		t.Errorf("close after a failed write: %v", err)
	}
	got, err := Read(&disk.Buffer)
	if !errors.Is(err, ErrTruncated) || len(got) != flushed-1 || len(got) == 0 {
		t.Errorf("%d events of %d, %v", len(got), flushed, err)
	}
	if err := WriteMember(&limited{}, func(io.Writer) error { return nil }); !errors.Is(err, errDisk) {
		t.Errorf("WriteMember: %v", err)
	}
	if err := WriteMember(io.Discard, func(io.Writer) error { return errDisk }); !errors.Is(err, errDisk) {
		t.Errorf("WriteMember hides the error of its content: %v", err)
	}
}

func TestClosedWriter(t *testing.T) {
	var file bytes.Buffer
	w := NewWriter(&file)
	w.Add(Event{Mark: &Mark{}})
	for range 2 {
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	w.Add(Event{Mark: &Mark{Stop: 1}})
	if err := w.Flush(); !errors.Is(err, ErrClosed) {
		t.Errorf("an event after Close: %v", err)
	}
	if got, err := Read(&file); err != nil || len(got) != 1 {
		t.Errorf("%d events, %v", len(got), err)
	}
}

// For the race detector, and nothing may be lost between Add and Flush.
func TestConcurrentAdd(t *testing.T) {
	const writers, each = 4, 250
	var file bytes.Buffer
	w := NewWriter(&file)
	var all sync.WaitGroup
	for i := range writers {
		all.Go(func() {
			for n := range each {
				w.Add(connEvent(i, n, 0))
				if n%50 == 0 {
					if err := w.Flush(); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	all.Wait()
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	got, err := Read(&file)
	if err != nil || len(got) != writers*each {
		t.Fatalf("%d events, %v", len(got), err)
	}
	next := map[int]int{}
	for _, e := range got {
		if e.Conn.N != next[e.Conn.Client] {
			t.Fatalf("client %d: %d comes where %d should", e.Conn.Client, e.Conn.N, next[e.Conn.Client])
		}
		next[e.Conn.Client]++
	}
}

func TestLatest(t *testing.T) {
	other := Event{Conn: &Conn{Fleet: "g", Client: 1, N: 1}}
	phase := Event{Phase: &Phase{Name: "p"}}
	in := []Event{connEvent(1, 1, 0), connEvent(2, 1, 0), phase, connEvent(1, 1, 50), connEvent(1, 2, 0), other, connEvent(1, 1, 60), phase}
	want := []Event{connEvent(1, 1, 60), connEvent(2, 1, 0), phase, connEvent(1, 2, 0), other, phase}
	if diff := cmp.Diff(want, Latest(in)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if in[0].Conn.End != 0 {
		t.Error("the input was changed")
	}
}

// TestLatestOfFaults: what lasts is recorded again when it was lifted; two kicks
// of one client at one instant are two.
func TestLatestOfFaults(t *testing.T) {
	hold := func(client int, intended, until Instant) Event {
		return Event{Action: &Action{Fault: "blackhole", Phase: "p", Wave: 1, Fleet: "f", Client: client, Intended: intended, Lasting: true, Until: until}}
	}
	kick := Event{Action: &Action{Fault: "close", Phase: "p", Wave: 1, Fleet: "f", Intended: 5}}
	extent := func(id int, healed Instant) Event {
		return Event{Extent: &Extent{ID: id, Fault: "slow-auth", Healed: healed}}
	}
	other := hold(1, 5, 0)
	other.Action = new(*other.Action)
	other.Action.Number = 2 // another fault of the kind, in the same wave
	in := []Event{other, hold(1, 5, 0), hold(2, 5, 0), hold(1, 9, 0), kick, kick, extent(1, 0), extent(2, 0), hold(1, 5, 7), extent(1, 8)}
	want := []Event{other, hold(1, 5, 7), hold(2, 5, 0), hold(1, 9, 0), kick, kick, extent(1, 8), extent(2, 0)}
	if diff := cmp.Diff(want, Latest(in)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func FuzzRead(f *testing.F) {
	var file bytes.Buffer
	write(f, &file, sample()[:3], sample()[3:])
	f.Add(file.Bytes())
	f.Add(file.Bytes()[:file.Len()-5])
	f.Add([]byte{0x1f, 0x8b})
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 1<<12 {
			return // a few KiB inflate to megabytes
		}
		events, err := Read(bytes.NewReader(b))
		if err == nil {
			Latest(events)
		} else if !errors.Is(err, ErrTruncated) && !errors.Is(err, ErrCorrupt) {
			t.Errorf("an error without a word: %v", err)
		}
	})
}

// FuzzReadLines goes behind the checksum.
func FuzzReadLines(f *testing.F) {
	var file bytes.Buffer
	write(f, &file, sample())
	zip, err := gzip.NewReader(&file)
	if err != nil {
		f.Fatal(err)
	}
	text, err := io.ReadAll(zip)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Fuzz(func(t *testing.T, text []byte) {
		events, err := Read(bytes.NewReader(member(t, string(text))))
		if err != nil {
			if !errors.Is(err, ErrTruncated) && !errors.Is(err, ErrCorrupt) {
				t.Errorf("an error without a word: %v", err)
			}
			return
		}
		var again bytes.Buffer
		write(t, &again, events)
		back, err := Read(&again)
		if err != nil || cmp.Diff(events, back) != "" {
			t.Errorf("does not read back: %v", err)
		}
	})
}

func BenchmarkAdd(b *testing.B) {
	w := NewWriter(io.Discard)
	e := connEvent(1, 1, 9)
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		w.Add(e)
		if n++; n%100_000 == 0 {
			b.StopTimer()
			if err := w.Flush(); err != nil {
				b.Fatal(err)
			}
			b.StartTimer()
		}
	}
}

func BenchmarkFlush(b *testing.B) {
	w := NewWriter(io.Discard)
	events := sample()
	b.ReportAllocs()
	for b.Loop() {
		for range 1000 {
			w.Add(events[4])
		}
		if err := w.Flush(); err != nil {
			b.Fatal(err)
		}
	}
}
