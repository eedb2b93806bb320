package mqtt

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

// one gives the single packet of b.
func one(t rapid.TB, b []byte) Packet {
	t.Helper()
	var f Framer
	var got []Packet
	if err := f.Feed(b, 1, func(p *Packet) { got = append(got, kept(p)) }); err != nil || len(got) != 1 || got[0].Size != len(b) {
		t.Fatalf("% x: %d packets, %v", b, len(got), err)
	}
	return got[0]
}

// Literal bytes, so that writers and readers can not be wrong together.
func TestBytes(t *testing.T) {
	for _, tc := range []struct {
		name string
		got  []byte
		want string
	}{
		{"CONNECT", AppendConnect(nil, ConnectInfo{
			ClientID: "id", Clean: true, KeepAlive: 300, WillTopic: "w", WillPayload: []byte("p"),
			WillQoS: 1, WillRetain: true, Username: "u", Password: []byte("s"),
		}), "\x10\x1a\x00\x04MQTT\x04\xee\x01\x2c\x00\x02id\x00\x01w\x00\x01p\x00\x01u\x00\x01s"},
		{"CONNACK", AppendConnack(nil, true, 5), "\x20\x02\x01\x05"},
		{"PUBLISH", AppendPublish(nil, Publish{Topic: "a/b", ID: 10, QoS: 1, Dup: true, Retain: true, Payload: []byte("x")}), "\x3b\x08\x00\x03a/b\x00\x0ax"},
		{"PUBLISH 0", AppendPublish(nil, Publish{Topic: "a", ID: 10}), "\x30\x03\x00\x01a"},
		{"PUBACK", AppendPuback(nil, 258), "\x40\x02\x01\x02"},
		{"PUBREC", AppendPubrec(nil, 1), "\x50\x02\x00\x01"},
		{"PUBREL", AppendPubrel(nil, 1), "\x62\x02\x00\x01"},
		{"PUBCOMP", AppendPubcomp(nil, 1), "\x70\x02\x00\x01"},
		{"SUBSCRIBE", AppendSubscribe(nil, 10, Filter{"a/b", 1}, Filter{"c", 2}), "\x82\x0c\x00\x0a\x00\x03a/b\x01\x00\x01c\x02"},
		{"SUBACK", AppendSuback(nil, 10, 0, 0x80), "\x90\x04\x00\x0a\x00\x80"},
		{"UNSUBSCRIBE", AppendUnsubscribe(nil, 10, "a"), "\xa2\x05\x00\x0a\x00\x01a"},
		{"UNSUBACK", AppendUnsuback(nil, 10), "\xb0\x02\x00\x0a"},
		{"PINGREQ", AppendPingreq(nil), "\xc0\x00"},
		{"PINGRESP", AppendPingresp(nil), "\xd0\x00"},
		{"DISCONNECT", AppendDisconnect(nil), "\xe0\x00"},
		{"length of two bytes", AppendPublish(nil, Publish{Payload: make([]byte, 126)})[:4], "\x30\x80\x01\x00"},
	} {
		if string(tc.got) != tc.want {
			t.Errorf("%s: % x, want % x", tc.name, tc.got, tc.want)
		}
		if name, _, _ := strings.Cut(tc.name, " "); name != "length" && one(t, tc.got).Type.String() != name {
			t.Errorf("%s reads as %v", tc.name, one(t, tc.got).Type)
		}
	}
}

func TestRoundTrip(t *testing.T) {
	text := rapid.StringN(0, 30, 100)
	filter := rapid.Custom(func(t *rapid.T) Filter {
		return Filter{text.Draw(t, "filter"), rapid.ByteRange(0, 2).Draw(t, "qos")}
	})
	rapid.Check(t, func(t *rapid.T) {
		id := rapid.Uint16().Draw(t, "id")

		c := ConnectInfo{
			Level: rapid.SampledFrom([]byte{3, 4, 0x84}).Draw(t, "level"), ClientID: text.Draw(t, "client"),
			Clean: rapid.Bool().Draw(t, "clean"), KeepAlive: rapid.IntRange(0, 65535).Draw(t, "keepalive"),
			Username: text.Draw(t, "user"), Password: rapid.SliceOf(rapid.Byte()).Draw(t, "password"),
		}
		if c.WillTopic = text.Draw(t, "will"); c.WillTopic != "" {
			c.WillPayload = rapid.SliceOf(rapid.Byte()).Draw(t, "will payload")
			c.WillQoS, c.WillRetain = rapid.ByteRange(0, 2).Draw(t, "will qos"), rapid.Bool().Draw(t, "will retain")
		}
		p := one(t, AppendConnect(nil, c))
		got, err := p.Connect()
		same(t, c, got, err)

		fs := rapid.SliceOfN(filter, 1, 5).Draw(t, "filters")
		p = one(t, AppendSubscribe(nil, id, fs...))
		gotF, err := p.Subscribe()
		same(t, fs, gotF, err)
		same(t, id, p.ID, nil)

		names := rapid.SliceOfN(text, 1, 5).Draw(t, "names")
		p = one(t, AppendUnsubscribe(nil, id, names...))
		gotN, err := p.Unsubscribe()
		same(t, names, gotN, err)

		codes := rapid.SliceOfN(rapid.Byte(), 1, 5).Draw(t, "codes")
		p = one(t, AppendSuback(nil, id, codes...))
		gotC, err := p.Suback()
		same(t, codes, gotC, err)

		present, code := rapid.Bool().Draw(t, "present"), rapid.Byte().Draw(t, "code")
		p = one(t, AppendConnack(nil, present, code))
		gotP, gotCode, err := p.Connack()
		same(t, present, gotP, err)
		same(t, code, gotCode, nil)
	})
}

func same[T any](t rapid.TB, want, got T, err error) {
	t.Helper()
	if d := cmp.Diff(want, got, cmpopts.EquateEmpty()); d != "" || err != nil {
		t.Fatalf("read back: %v\n%s", err, d)
	}
}

func TestDecodersRefuse(t *testing.T) {
	connect := func(p *Packet) error { _, err := p.Connect(); return err }
	connack := func(p *Packet) error { _, _, err := p.Connack(); return err }
	subscribe := func(p *Packet) error { _, err := p.Subscribe(); return err }
	unsubscribe := func(p *Packet) error { _, err := p.Unsubscribe(); return err }
	suback := func(p *Packet) error { _, err := p.Suback(); return err }
	good := AppendConnect(nil, ConnectInfo{ClientID: "id"})
	with := func(at int, b byte) []byte {
		c := append([]byte(nil), good...)
		c[at] = b
		return c
	}
	for _, tc := range []struct {
		name   string
		in     []byte
		decode func(*Packet) error
		want   error
	}{
		{"another type", AppendPingreq(nil), connack, ErrType},
		{"CONNECT of MQTT 5", with(8, 5), connect, ErrLevel},
		{"CONNECT with the reserved flag", with(9, 1), connect, ErrMalformed},
		{"CONNECT with a Will that is not there", with(9, 4), connect, ErrMalformed},
		{"CONNECT cut short", append([]byte{0x10, 13}, good[2:15]...), connect, ErrMalformed},
		{"CONNECT with bytes after its end", append([]byte{0x10, good[1] + 1}, append(good[2:len(good):len(good)], 0)...), connect, ErrMalformed},
		{"CONNECT beyond MaxBody", AppendConnect(nil, ConnectInfo{WillTopic: "w", WillPayload: make([]byte, maxString), Username: "u"}), connect, ErrTruncated},
		{"SUBSCRIBE without filter", AppendSubscribe(nil, 1), subscribe, ErrMalformed},
		{"SUBSCRIBE without QoS", []byte{0x82, 5, 0, 1, 0, 1, 'a'}, subscribe, ErrMalformed},
		{"SUBSCRIBE cut at a filter's end", AppendSubscribe(nil, 1, Filter{strings.Repeat("f", MaxBody-5), 1}, Filter{"g", 1}), subscribe, ErrTruncated},
		{"UNSUBSCRIBE without filter", AppendUnsubscribe(nil, 1), unsubscribe, ErrMalformed},
		{"UNSUBSCRIBE cut short", []byte{0xa2, 5, 0, 1, 0, 2, 'a'}, unsubscribe, ErrMalformed},
		{"SUBACK without code", AppendSuback(nil, 1), suback, ErrMalformed},
	} {
		p := one(t, tc.in)
		if err := tc.decode(&p); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v, want %v", tc.name, err, tc.want)
		}
	}
}

func TestWritersPanicOnWhatNoPacketCarries(t *testing.T) {
	for name, write := range map[string]func(){
		"long string":     func() { AppendUnsubscribe(nil, 1, strings.Repeat("x", maxString+1)) },
		"long packet":     func() { appendFixed(nil, PUBLISH, 0, maxRemaining+1) },
		"long keep alive": func() { AppendConnect(nil, ConnectInfo{KeepAlive: 65536}) },
		"short payload":   func() { PutPayload(make([]byte, HeaderSize-1), Header{}) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			write()
		}()
	}
}

func TestNames(t *testing.T) {
	if s := Type(0).String() + Type(15).String(); s != "RESERVED(0)RESERVED(15)" {
		t.Error(s)
	}
	if s := KindData.String() + KindProbe.String() + KindSentinel.String() + Kind(9).String(); s != "dataprobesentinelkind(9)" {
		t.Error(s)
	}
}
