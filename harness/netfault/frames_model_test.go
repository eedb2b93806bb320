package netfault

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/rebound-mqtt/rebound/harness/mqtt"
	"github.com/rebound-mqtt/rebound/harness/timeline"
)

// sample is a packet as the model knows it.
type sample struct {
	bytes []byte
	kind  mqtt.Type
	qos   int
	id    uint16
}

func samples() *rapid.Generator[sample] {
	return rapid.Custom(func(t *rapid.T) sample {
		id := rapid.Uint16Range(1, 5).Draw(t, "id")
		kind := rapid.SampledFrom([]mqtt.Type{mqtt.PUBLISH, mqtt.PUBLISH, mqtt.PUBACK, mqtt.PUBREC, mqtt.PUBREL, mqtt.PUBCOMP, mqtt.SUBSCRIBE, mqtt.PINGREQ}).Draw(t, "type")
		s := sample{kind: kind, id: id}
		switch kind {
		case mqtt.PUBLISH:
			s.qos = rapid.IntRange(0, 2).Draw(t, "qos")
			if s.qos == 0 {
				s.id = 0
			}
			size := rapid.SampledFrom([]int{48, 60, 200, 20_000}).Draw(t, "size")
			s.bytes = publish(byte(s.qos), id, ours(uint64(id)), size)
		case mqtt.PUBACK:
			s.bytes = mqtt.AppendPuback(nil, id)
		case mqtt.PUBREC:
			s.bytes = mqtt.AppendPubrec(nil, id)
		case mqtt.PUBREL:
			s.bytes = mqtt.AppendPubrel(nil, id)
		case mqtt.PUBCOMP:
			s.bytes = mqtt.AppendPubcomp(nil, id)
		case mqtt.SUBSCRIBE:
			s.bytes = mqtt.AppendSubscribe(nil, id, mqtt.Filter{Topic: "a/b/c/#", QoS: 1})
		case mqtt.PINGREQ:
			s.id, s.bytes = 0, mqtt.AppendPingreq(nil)
		}
		return s
	})
}

func ruleSamples(out bool) *rapid.Generator[Rule] {
	return rapid.Custom(func(t *rapid.T) Rule {
		r := Rule{
			Packet: rapid.SampledFrom([]mqtt.Type{mqtt.PUBLISH, mqtt.PUBACK, mqtt.PUBREL, mqtt.SUBSCRIBE, mqtt.PINGREQ}).Draw(t, "packet"),
			Out:    out,
			QoS:    rapid.IntRange(-1, 2).Draw(t, "qos"),
			Act:    rapid.SampledFrom([]Act{Swallow, Swallow, Swallow, CutBefore, CutAfter, Truncate}).Draw(t, "act"),
			Nth:    rapid.IntRange(0, 3).Draw(t, "nth"),
			Seed:   rapid.Uint64().Draw(t, "seed"),
		}
		if r.Act == Truncate {
			r.Keep = rapid.SampledFrom([]int{1, 2, 5, 60, 30_000}).Draw(t, "keep")
		}
		r.Close = r.Act == Swallow && rapid.IntRange(0, 5).Draw(t, "close") == 0
		if r.Nth == 0 {
			r.Share = rapid.Float64Range(0, 1).Draw(t, "share")
		}
		return r
	})
}

// passes is what the rules let pass of a sequence of packets, worked out
// packet by packet, with the hits and whether the connection ends.
func passes(packets []sample, rules []Rule) (want []byte, hits []Hit, ends bool) {
	seen, draws := make([]int, len(rules)), make([]*rand.Rand, len(rules))
	for i, r := range rules {
		draws[i] = rand.New(rand.NewPCG(r.Seed, shareStream))
	}
	for _, p := range packets {
		acting := -1
		for i, r := range rules {
			if r.Packet != p.kind || r.Packet == mqtt.PUBLISH && r.QoS >= 0 && r.QoS != p.qos || r.Nth > 0 && seen[i] >= r.Nth {
				continue
			}
			seen[i]++
			if r.Nth > 0 && seen[i] == r.Nth || r.Nth == 0 && draws[i].Float64() < r.Share {
				acting = i
				break
			}
		}
		if acting < 0 {
			want = append(want, p.bytes...)
		} else {
			want = append(want, rules[acting].part(p.bytes)...)
		}
		if acting >= 0 {
			hits = append(hits, Hit{N: 1, Out: rules[acting].Out, Packet: p.kind, ID: p.id, Passed: rules[acting].Act == CutAfter})
			if rules[acting].ends() {
				return want, hits, true
			}
		}
	}
	return want, hits, false
}

// TestAnySplit: whatever the packets, the rules and the splits, what passes is
// the sequence without what was swallowed, byte by byte, up to the end.
func TestAnySplit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) { anySplit(t, rapid.Bool().Draw(t, "out")) })
}

func FuzzAnySplit(f *testing.F) {
	f.Fuzz(rapid.MakeFuzz(func(t *rapid.T) { anySplit(t, rapid.Bool().Draw(t, "out")) }))
}

func anySplit(t *rapid.T, out bool) {
	packets := rapid.SliceOfN(samples(), 1, 20).Draw(t, "packets")
	rules := rapid.SliceOfN(ruleSamples(out), 0, 4).Draw(t, "rules")
	want, wantHits, ends := passes(packets, rules)
	var all []byte
	for _, p := range packets {
		all = append(all, p.bytes...)
	}
	f, h := NewFrames(func() timeline.Instant { return 1 }), new(hits)
	for _, r := range rules {
		f.Arm("c", h.rule(r))
	}
	most := rapid.SampledFrom([]int{1, 3, 70, 50_000}).Draw(t, "chunk")
	split := func(left int) int { return min(left, rapid.IntRange(1, most).Draw(t, "n")) }
	if len(all) > 10_000 && most < 70 {
		split = func(left int) int { return min(left, 997) } // or it takes for ever
	}
	m := &memory{toRead: all, chunk: split}
	if out {
		m.toRead = nil
	}
	c := f.Wrap("c", 1, m)
	var got []byte
	if out {
		got = writeAll(t, c, m, all, split, ends)
	} else {
		got = readAll(t, c, len(all), split)
	}
	if !bytes.Equal(got, want) {
		t.Fatalf("%d bytes passed, want %d of %d", len(got), len(want), len(all))
	}
	for i := range h.got {
		h.got[i].At, h.got[i].Message = 0, mqtt.Header{}
	}
	if diff := cmp.Diff(wantHits, h.got); diff != "" {
		t.Fatal(diff)
	}
	if m.closed != ends {
		t.Fatalf("ended %v, want %v", m.closed, ends)
	}
}

func writeAll(t *rapid.T, c io.Writer, m *memory, all []byte, split func(int) int, ends bool) []byte {
	for len(all) > 0 {
		size := split(len(all))
		n, err := c.Write(all[:size])
		all = all[size:]
		if (n == size) != (err == nil) || err != nil && !errors.Is(err, io.EOF) {
			t.Fatalf("wrote %d of %d, %v", n, size, err)
		}
		if err != nil {
			if !ends {
				t.Fatal(err)
			}
			if n, err := c.Write([]byte{0xc0, 0}); n != 0 || err == nil {
				t.Fatalf("after the end: %d, %v", n, err)
			}
			break
		}
	}
	return m.wrote
}

func readAll(t *rapid.T, c io.Reader, room int, split func(int) int) []byte {
	var got []byte
	for b := make([]byte, room); ; {
		n, err := c.Read(b[:split(room)])
		got = append(got, b[:n]...)
		switch {
		case n == 0 && err == nil:
			t.Fatal("a Read gave nothing and no error")
		case err == io.EOF:
			if n, err := c.Read(b); n != 0 || err != io.EOF {
				t.Fatalf("after the end: %d, %v", n, err)
			}
			return got
		case err != nil:
			t.Fatal(err)
		}
	}
}
