package mqtt

import (
	"fmt"
	"testing"
)

func BenchmarkFeed(b *testing.B) {
	for _, size := range []int{64, 1024, 65536} {
		pub := ours(1, size)
		head := len(pub) - size
		fixed := 1
		for pub[fixed] >= 0x80 {
			fixed++
		}
		pahoRead := [][]byte{pub[:1]} // the length too byte by byte
		for i := 1; i <= fixed; i++ {
			pahoRead = append(pahoRead, pub[i:i+1])
		}
		pahoRead = append(pahoRead, pub[fixed+1:])
		for _, c := range []struct {
			name   string
			chunks [][]byte
		}{
			{"whole", [][]byte{pub}},
			{"bytewise-header", pahoRead},
			{"header+payload", [][]byte{pub[:head], pub[head:]}},
		} {
			b.Run(fmt.Sprintf("publish=%d/%s", size, c.name), func(b *testing.B) { benchFeed(b, c.chunks, len(pub)) })
		}
	}
	b.Run("puback", func(b *testing.B) { benchFeed(b, [][]byte{AppendPuback(nil, 1)}, 4) })
}

func benchFeed(b *testing.B, chunks [][]byte, size int) {
	var f Framer
	n := 0
	emit := func(*Packet) { n++ }
	b.ReportAllocs()
	b.SetBytes(int64(size))
	for b.Loop() {
		for _, c := range chunks {
			if err := f.Feed(c, 1, emit); err != nil {
				b.Fatal(err)
			}
		}
	}
	if n < b.N {
		b.Fatalf("%d packets of %d", n, b.N)
	}
}

func BenchmarkPutPayload(b *testing.B) {
	buf := make([]byte, 64)
	b.ReportAllocs()
	for b.Loop() {
		PutPayload(buf, Header{Kind: KindData, Seq: 1})
	}
}
