package mqtt

import (
	"bytes"
	"errors"
	"testing"

	"pgregory.net/rapid"
)

func TestPayloadRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := Header{
			Kind: Kind(rapid.Byte().Draw(t, "kind")), Run: rapid.Uint64().Draw(t, "run"),
			Stream: rapid.Uint32().Draw(t, "stream"), Seq: rapid.Uint64().Draw(t, "seq"),
			Intended: rapid.Int64().Draw(t, "intended"), Sent: rapid.Int64().Draw(t, "sent"),
		}
		b := make([]byte, rapid.IntRange(HeaderSize, 200).Draw(t, "size"))
		PutPayload(b, h)
		again := bytes.Repeat([]byte{0xff}, len(b))
		PutPayload(again, h)
		if !bytes.Equal(b, again) {
			t.Fatal("the padding is not deterministic")
		}
		if got, err := ParsePayload(b); got != h || err != nil {
			t.Fatalf("read back %+v, %v; want %+v", got, err, h)
		}
		if _, err := ParsePayload(b[:len(b)-1]); err == nil {
			t.Fatal("a payload cut short is accepted")
		}
	})
}

func TestPayloadBytes(t *testing.T) {
	b := make([]byte, HeaderSize)
	PutPayload(b, Header{Kind: KindProbe, Run: 1, Stream: 2, Seq: 3, Intended: 4, Sent: 5})
	want := "RBND\x01\x02\x00\x00" + "\x00\x00\x00\x00\x00\x00\x00\x01" + "\x00\x00\x00\x00\x00\x00\x00\x03" +
		"\x00\x00\x00\x00\x00\x00\x00\x04" + "\x00\x00\x00\x00\x00\x00\x00\x05" + "\x00\x00\x00\x02"
	if string(b[:sumAt]) != want {
		t.Errorf("% x", b)
	}
}

func FuzzParsePayload(f *testing.F) {
	b := make([]byte, 64)
	PutPayload(b, Header{Kind: KindData, Seq: 1})
	f.Add(b)
	f.Add(b[:40])
	f.Add(bytes.Repeat([]byte("RBND"), 20))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := ParsePayload(b)
		if err == nil {
			again := bytes.Clone(b[:HeaderSize])
			PutPayload(again, h)
			if !bytes.Equal(again[:sumAt], b[:sumAt]) {
				t.Errorf("header % x is written back as % x", b[:sumAt], again[:sumAt])
			}
		} else if !errors.Is(err, ErrNoHeader) && !errors.Is(err, ErrChecksum) {
			t.Error(err)
		}
	})
}
