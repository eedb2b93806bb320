package mqtt

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// kept is a Packet that outlives its callback.
func kept(p *Packet) Packet {
	q := *p
	q.Topic, q.Body = bytes.Clone(p.Topic), bytes.Clone(p.Body)
	return q
}

// diff says how two lists of packets differ, but for First. It compares bytes
// itself, since a structural diff of long slices is slow.
func diff(want, got []Packet) string {
	if len(want) != len(got) {
		return fmt.Sprintf("%d packets, want %d", len(got), len(want))
	}
	for i := range want {
		w, g := want[i], got[i]
		if !bytes.Equal(w.Topic, g.Topic) || !bytes.Equal(w.Body, g.Body) {
			return fmt.Sprintf("packet %d, %v: other topic or body", i, w.Type)
		}
		for _, p := range []*Packet{&w, &g} {
			p.Topic, p.Body, p.First = nil, nil, 0
		}
		if w, g := fmt.Sprintf("%+v", w), fmt.Sprintf("%+v", g); w != g {
			return fmt.Sprintf("packet %d: %s, want %s", i, g, w)
		}
	}
	return ""
}

// feed gives the packets of stream, fed in chunks whose sizes cycle through
// sizes (none: all at once). Each chunk is wiped after it was fed, as a
// library's read buffer may be.
func feed(t testing.TB, stream []byte, sizes ...int) ([]Packet, error) {
	t.Helper()
	var f Framer
	var got []Packet
	used := 0
	emit := func(p *Packet) { got = append(got, kept(p)); used += p.Size }
	var err error
	fed := 0
	for i := 0; fed < len(stream); i++ {
		n := len(stream) - fed
		if len(sizes) > 0 {
			n = min(n, max(1, sizes[i%len(sizes)]))
		}
		chunk := bytes.Clone(stream[fed : fed+n])
		fed += n
		err = f.Feed(chunk, int64(i+1), emit)
		clear(chunk)
		if err == nil && f.Partial() != fed-used {
			t.Fatalf("after %d bytes Partial() = %d, want %d", fed, f.Partial(), fed-used)
		}
	}
	return got, err
}

// ours is a PUBLISH with our payload.
func ours(qos byte, size int) []byte {
	payload := make([]byte, size)
	PutPayload(payload, Header{Kind: KindData, Run: 7, Stream: 3, Seq: 41, Intended: 1e9, Sent: 1e9 + 5})
	return AppendPublish(nil, Publish{Topic: "rb/dev-7-000001/cmd", ID: 9, QoS: qos, Payload: payload})
}

// everyType is a stream with a packet of each type and each odd shape.
func everyType() []byte {
	b := AppendConnect(nil, ConnectInfo{ClientID: "c", Clean: true, KeepAlive: 30})
	b = AppendConnack(b, true, 0)
	for _, size := range []int{HeaderSize, HeaderSize + 1, 64, 1000, 70_000} {
		b = append(b, ours(1, size)...)
		b = append(b, ours(0, size)...)
	}
	for _, payload := range []string{"", "x", "a foreign payload that is longer than our header, so that it could have one"} {
		b = AppendPublish(b, Publish{Topic: "t", ID: 1, QoS: 2, Payload: []byte(payload)})
		b = AppendPublish(b, Publish{Payload: []byte(payload)})
	}
	b = AppendPuback(b, 1)
	b = AppendPubrec(b, 2)
	b = AppendPubrel(b, 3)
	b = AppendPubcomp(b, 4)
	b = AppendSubscribe(b, 5, Filter{"a/#", 1}, Filter{"b", 0})
	b = AppendSuback(b, 5, 1, 0x80)
	b = AppendUnsubscribe(b, 6, "a/#")
	b = AppendUnsuback(b, 6)
	b = AppendPingreq(b)
	b = AppendPingresp(b)
	b = AppendSubscribe(b, 8, Filter{string(bytes.Repeat([]byte("f"), maxString)), 1}) // beyond MaxBody
	return AppendDisconnect(b)
}

func TestAnySplitGivesTheSamePackets(t *testing.T) {
	stream := everyType()
	want, err := feed(t, stream)
	if err != nil || len(want) != 30 {
		t.Fatalf("whole: %d packets, %v; want 30", len(want), err)
	}
	for _, sizes := range [][]int{{1}, {2}, {3}, {5, 1}, {1, 1, 1 << 20}, {47}, {64}, {4096}, {66_000}} {
		got, err := feed(t, stream, sizes...)
		if err != nil {
			t.Fatalf("chunks of %v: %v", sizes, err)
		}
		if d := diff(want, got); d != "" {
			t.Errorf("chunks of %v: %s", sizes, d)
		}
	}
}

func TestEverySplitInTwo(t *testing.T) {
	stream := append(ours(1, 100), AppendPuback(nil, 77)...)
	want, _ := feed(t, stream)
	for at := 1; at < len(stream); at++ {
		got, err := feed(t, stream, at, len(stream))
		if d := diff(want, got); d != "" || err != nil {
			t.Errorf("split at %d: %v\n%s", at, err, d)
		}
	}
}

func TestFields(t *testing.T) {
	got, err := feed(t, append(ours(1, 64), AppendPublish(nil, Publish{Topic: "r", QoS: 2, ID: 513, Dup: true, Retain: true})...))
	if err != nil {
		t.Fatal(err)
	}
	p := got[0]
	if string(p.Topic) != "rb/dev-7-000001/cmd" || p.ID != 9 || p.QoS() != 1 || p.Dup() || p.Retain() || p.Payload != 64 || p.Size != 2+2+19+2+64 {
		t.Errorf("first packet reads %+v", p)
	}
	if want := (Header{KindData, 7, 3, 41, 1e9, 1e9 + 5}); p.Header != want || p.HeaderErr != nil {
		t.Errorf("header reads %+v, %v; want %+v", p.Header, p.HeaderErr, want)
	}
	if p = got[1]; p.ID != 513 || p.QoS() != 2 || !p.Dup() || !p.Retain() || !errors.Is(p.HeaderErr, ErrNoHeader) {
		t.Errorf("second packet reads %+v", p)
	}
}

func TestFirstIsTheChunkOfTheFirstByte(t *testing.T) {
	var f Framer
	var firsts []int64
	emit := func(p *Packet) { firsts = append(firsts, p.First) }
	b := AppendPuback(nil, 1)
	_ = f.Feed(append(bytes.Clone(b), b[:1]...), 10, emit) // one and a bit
	_ = f.Feed(b[1:2], 20, emit)
	_ = f.Feed(append(bytes.Clone(b[2:]), b...), 30, emit) // the rest and one more
	if d := cmp.Diff([]int64{10, 10, 30}, firsts); d != "" {
		t.Error(d)
	}
}

func TestMalformed(t *testing.T) {
	good := AppendPingresp(nil)
	for _, tc := range []struct {
		name string
		in   []byte
	}{
		{"reserved type 0", []byte{0x00}},
		{"reserved type 15", []byte{0xF0, 0}},
		{"length of five bytes", []byte{0x30, 0x80, 0x80, 0x80, 0x80, 0x01}},
		{"length of five bytes that is small", []byte{0x30, 0x83, 0x80, 0x80, 0x80, 0x00, 0, 1, 't'}},
		{"QoS 3", []byte{0x36, 5, 0, 1, 't', 0, 1}},
		{"PUBLISH without topic length", []byte{0x30, 1, 0}},
		{"PUBLISH without room for its id", []byte{0x32, 3, 0, 1, 't'}},
		{"topic beyond the packet", []byte{0x30, 4, 0, 3, 't', 'o'}},
		{"id beyond the packet", []byte{0x32, 4, 0, 2, 't', 'o'}},
		{"CONNECT that is too short", []byte{0x10, 2, 0, 0}},
		{"CONNACK of three bytes", []byte{0x20, 3, 0, 0, 0}},
		{"PUBCOMP of three bytes", []byte{0x70, 3, 0, 0, 0}},
		{"PINGREQ with a body", []byte{0xC0, 1, 0}},
		{"not MQTT at all", []byte("HTTP/1.1 400 Bad Request\r\n\r\n")},
		{"PUBACK without id", []byte{0x40, 0}},
		{"SUBACK of one byte", []byte{0x90, 1, 0}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			stream := append(append(bytes.Clone(good), tc.in...), good...)
			for _, size := range []int{len(stream), 1, 2, 3} {
				got, err := feed(t, stream, size)
				if !errors.Is(err, ErrMalformed) || len(got) != 1 {
					t.Errorf("chunks of %d: %d packets, %v; want the one before, and ErrMalformed", size, len(got), err)
				}
			}
		})
	}
	t.Run("the longest length is legal", func(t *testing.T) {
		if _, err := feed(t, []byte{0x30, 0xFF, 0xFF, 0xFF, 0x7F, 0, 1, 't'}); err != nil {
			t.Error(err)
		}
	})
}

// A changed byte anywhere in one of our payloads must show, split or not.
func TestChangedPayloadIsSeen(t *testing.T) {
	const size = 200
	whole := ours(1, size)
	for i := len(whole) - size; i < len(whole); i++ {
		bad := bytes.Clone(whole)
		bad[i] ^= 0x10
		for _, sizes := range [][]int{nil, {1}, {50, 7}} {
			got, err := feed(t, bad, sizes...)
			if err != nil || len(got) != 1 {
				t.Fatalf("byte %d: %d packets, %v", i, len(got), err)
			}
			inMagic := i-(len(whole)-size) < 5 || i-(len(whole)-size) == 6 || i-(len(whole)-size) == 7
			want := ErrChecksum
			if inMagic {
				want = ErrNoHeader
			}
			if !errors.Is(got[0].HeaderErr, want) {
				t.Errorf("byte %d changed, chunks %v: %v, want %v", i, sizes, got[0].HeaderErr, want)
			}
		}
	}
}

func TestMemory(t *testing.T) {
	var f Framer
	if n := unsafe.Sizeof(f); n > 80 {
		t.Errorf("a Framer is %d bytes", n)
	}
	none := func(*Packet) {}
	_ = f.Feed(everyType(), 1, none)
	if f.buf != nil {
		t.Errorf("whole packets left a buffer of %d bytes", cap(f.buf))
	}
	for _, b := range ours(1, 1<<16) { // a payload streams, byte by byte
		_ = f.Feed([]byte{b}, 1, none)
		if cap(f.buf) > 256 {
			t.Fatalf("a streamed payload is buffered: %d bytes", cap(f.buf))
		}
	}
	long := AppendSubscribe(nil, 1, Filter{string(make([]byte, 5000)), 0})
	_ = f.Feed(long[:4000], 1, none)
	_ = f.Feed(long[4000:], 1, none)
	if cap(f.buf) > keepCap || f.Partial() != 0 {
		t.Errorf("a buffer of %d bytes is kept after a long packet", cap(f.buf))
	}
}

func TestCopyFrom(t *testing.T) {
	b := ours(1, 100)
	var f, g Framer
	count := 0
	emit := func(p *Packet) {
		if p.HeaderErr == nil && string(p.Topic) == "rb/dev-7-000001/cmd" {
			count++
		}
	}
	f.buf = make([]byte, 0, 256) // warm: it does not grow away from a shared one
	_ = f.Feed(b[:30], 1, emit)
	g.CopyFrom(&f)
	_ = f.Feed(b[30:], 1, emit)
	_ = f.Feed(AppendSubscribe(nil, 1, Filter{"a filter that is longer", 1})[:20], 1, emit) // must not reach into g
	_ = g.Feed(b[30:], 1, emit)
	if count != 2 || f.Partial() != 20 || g.Partial() != 0 {
		t.Errorf("%d good packets of 2, %d and %d bytes left", count, f.Partial(), g.Partial())
	}
}

func FuzzFramer(f *testing.F) {
	f.Add(everyType()[:2000], []byte{1, 2, 100})
	f.Add(AppendPingreq(ours(2, 60)), []byte{1})
	f.Add([]byte{0x30, 0xFF, 0xFF, 0xFF, 0x7F, 0, 1, 't'}, []byte{3})
	f.Add([]byte{0x32, 4, 0, 2, 't', 'o', 0}, []byte{2})
	f.Fuzz(func(t *testing.T, stream, cuts []byte) {
		sizes := make([]int, len(cuts))
		for i, c := range cuts {
			sizes[i] = int(c)
		}
		whole, errWhole := feed(t, stream)
		split, errSplit := feed(t, stream, sizes...)
		if d := diff(whole, split); d != "" {
			t.Errorf("split: %s", d)
		}
		if fmt.Sprint(errWhole) != fmt.Sprint(errSplit) {
			t.Errorf("whole: %v, split: %v", errWhole, errSplit)
		}
		for i := range whole {
			decodeAll(&whole[i])
		}
	})
}

// decodeAll calls every decoder: none may panic, whatever the packet.
func decodeAll(p *Packet) {
	_, _, _ = p.Connack()
	_, _ = p.Connect()
	_, _ = p.Subscribe()
	_, _ = p.Unsubscribe()
	_, _ = p.Suback()
	_ = p.Type.String()
}

func TestAnySplitRapid(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var stream []byte
		for range rapid.IntRange(1, 5).Draw(t, "packets") {
			p := Publish{
				Topic:  rapid.StringN(0, 40, 200).Draw(t, "topic"),
				ID:     rapid.Uint16().Draw(t, "id"),
				QoS:    rapid.ByteRange(0, 2).Draw(t, "qos"),
				Dup:    rapid.Bool().Draw(t, "dup"),
				Retain: rapid.Bool().Draw(t, "retain"),
			}
			p.Payload = make([]byte, rapid.IntRange(0, 300).Draw(t, "payload"))
			if len(p.Payload) >= HeaderSize && rapid.Bool().Draw(t, "ours") {
				PutPayload(p.Payload, Header{Seq: rapid.Uint64().Draw(t, "seq")})
			}
			stream = AppendPuback(AppendPublish(stream, p), p.ID)
		}
		var whole, split []Packet
		var f, g Framer
		if err := f.Feed(stream, 1, func(p *Packet) { whole = append(whole, kept(p)) }); err != nil {
			t.Fatal(err)
		}
		for b := stream; len(b) > 0; {
			n := rapid.IntRange(1, len(b)).Draw(t, "cut")
			if err := g.Feed(b[:n], 1, func(p *Packet) { split = append(split, kept(p)) }); err != nil {
				t.Fatal(err)
			}
			b = b[n:]
		}
		if d := diff(whole, split); d != "" {
			t.Fatal(d)
		}
	})
}
