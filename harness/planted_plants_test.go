package harness

import (
	"bytes"
	"context"
	"slices"
	"sync"

	"github.com/rebound-mqtt/rebound/harness/mqtt"
	"github.com/rebound-mqtt/rebound/harness/target"
)

// The plants: each is a fault below the tap, or a library's above it.

// pbUnder is a message once more, under another packet id.
func pbUnder(id uint16, p *mqtt.Packet, raw []byte) []byte {
	m := pbPublish(p, raw)
	m.ID = id
	return pbOne(m)
}

// pbGhost adds a message at QoS 1 that is the one that passes, but for its header.
func pbGhost(change func(*mqtt.Header)) pbLie {
	return func(_ *pbConn, _ bool, p *mqtt.Packet, raw []byte) [][]byte {
		m, h := pbPublish(p, raw), p.Header
		change(&h)
		mqtt.PutPayload(m.Payload, h)
		m.ID = pbFirst
		return [][]byte{raw, pbOne(m)}
	}
}

func pbCorrupt(_ *pbConn, _ bool, _ *mqtt.Packet, raw []byte) [][]byte {
	raw[len(raw)-1] ^= 1
	return [][]byte{raw}
}

func pbCut(c *pbConn, _ bool, _ *mqtt.Packet, raw []byte) [][]byte {
	c.cut()
	return passes(raw)
}

func pbIsWill(_ *pbConn, out bool, p *mqtt.Packet) bool { return !out && pbKind(p, mqtt.KindWill) }

// pbRetained is the traffic to fleet a, kept by the broker.
const pbRetained = `  - {to: a, topic: "d/{client}", qos: 1, each: 50/s, retain: true}` + "\n"

// pbSwallowExactly loses one message at QoS 2: the broker gets both answers.
func pbSwallowExactly(w *pbWire) pbLie {
	id := uint16(0)
	return func(c *pbConn, out bool, p *mqtt.Packet, raw []byte) [][]byte {
		switch {
		case w.hits == 0 && pbRead("a", 1, 10)(c, out, p):
			w.hit()
			id = p.ID
			c.reply(mqtt.AppendPubrec(nil, id))
			return nil
		case !out && c.of("a", 1) && id != 0 && p.Type == mqtt.PUBREL && p.ID == id:
			id = 0
			c.reply(mqtt.AppendPubcomp(nil, p.ID))
			return nil
		}
		return passes(raw)
	}
}

// pbSwap delivers message 11 of a stream before message 10.
func pbSwap(w *pbWire) pbLie {
	var held []byte
	return func(c *pbConn, out bool, p *mqtt.Packet, raw []byte) [][]byte {
		switch {
		case pbRead("a", 1, 10)(c, out, p):
			held = bytes.Clone(raw)
			return nil
		case pbRead("a", 1, 11)(c, out, p):
			w.hit()
			return [][]byte{raw, held}
		}
		return passes(raw)
	}
}

// pbReuse sends message 11 under the packet id of message 10, which is in use.
func pbReuse(w *pbWire) pbLie {
	const id = pbFirst - 1
	var held [][]byte // message 11, and what comes behind it until 10 is answered
	answers := 0
	return func(c *pbConn, out bool, p *mqtt.Packet, raw []byte) [][]byte {
		switch {
		case !c.of("a", 1):
		case pbRead("a", 1, 10)(c, out, p):
			c.reply(mqtt.AppendPubrec(nil, p.ID))
			return [][]byte{pbUnder(id, p, raw)}
		case pbRead("a", 1, 11)(c, out, p):
			w.hit()
			c.reply(mqtt.AppendPubrec(nil, p.ID))
			held = [][]byte{pbUnder(id, p, raw)}
			if answers == 0 {
				return nil
			}
			defer func() { held = nil }()
			return held
		case !out && held != nil:
			held = append(held, bytes.Clone(raw))
			if answers == 0 {
				return nil
			}
			defer func() { held = nil }()
			return held
		case p.Type == mqtt.PUBREC && p.ID == id:
			if answers++; answers == 2 {
				c.next = mqtt.AppendPubrel(c.next, id)
			}
			return nil
		case p.Type == mqtt.PUBCOMP && p.ID == id:
			return nil
		}
		return passes(raw)
	}
}

// pbAfterRelease sends message 10 again when its PUBREL was sent.
func pbAfterRelease(w *pbWire) pbLie {
	id, again := uint16(0), []byte(nil)
	return func(c *pbConn, out bool, p *mqtt.Packet, raw []byte) [][]byte {
		switch {
		case pbRead("a", 1, 10)(c, out, p):
			m := pbPublish(p, raw)
			m.Dup = true
			id, again = p.ID, pbOne(m)
		case !out && c.of("a", 1) && p.Type == mqtt.PUBREL && p.ID == id:
			w.hit()
			defer func() { id = 0 }()
			return [][]byte{raw, again}
		}
		return passes(raw)
	}
}

// pbReleaseOutOfOrder swaps the first two PUBRELs that are sent again.
func pbReleaseOutOfOrder(w *pbWire) pbLie {
	var held []byte
	return func(c *pbConn, out bool, p *mqtt.Packet, raw []byte) [][]byte {
		switch {
		case w.hits > 0, out, !c.of("a", 2), p.Type != mqtt.PUBREL:
		case held == nil:
			held = bytes.Clone(raw)
			return nil
		default:
			w.hit()
			return [][]byte{raw, held}
		}
		return passes(raw)
	}
}

// pbMisroute gives b a copy of a message of a's.
func pbMisroute(w *pbWire) pbLie {
	var stray []byte
	return func(c *pbConn, out bool, p *mqtt.Packet, raw []byte) [][]byte {
		switch {
		case pbRead("a", 1, 10)(c, out, p):
			stray = pbUnder(pbFirst, p, raw)
		case stray != nil && pbRead("b", 1, 0)(c, out, p):
			w.hit()
			defer func() { stray = nil }()
			return [][]byte{raw, stray}
		}
		return passes(raw)
	}
}

// pbNoAnswer loses the broker's tenth answer of a type to what b publishes.
func pbNoAnswer(typ mqtt.Type) func(*pbWire) pbLie {
	return func(w *pbWire) pbLie {
		n := 0
		return func(c *pbConn, out bool, p *mqtt.Packet, raw []byte) [][]byte {
			if out || !c.of("b", 1) || p.Type != typ {
				return passes(raw)
			}
			if n++; n == 10 {
				w.hit()
				return nil
			}
			return passes(raw)
		}
	}
}

// pbConnack changes the CONNACK of one connection.
func pbConnack(fleet string, n int, instead func(raw []byte) [][]byte) func(*pbWire) pbLie {
	return pbWhen(func(c *pbConn, out bool, p *mqtt.Packet) bool {
		return !out && c.of(fleet, n) && p.Type == mqtt.CONNACK
	},
		func(_ *pbConn, _ bool, _ *mqtt.Packet, raw []byte) [][]byte { return instead(raw) })
}

// pbForget makes the broker say that a's session is gone; wholly: it sends
// nothing of it either.
func pbForget(wholly bool) func(*pbWire) pbLie {
	return func(w *pbWire) pbLie {
		subscribed := false
		return func(c *pbConn, out bool, p *mqtt.Packet, raw []byte) [][]byte {
			switch {
			case out || !c.of("a", 2):
			case p.Type == mqtt.CONNACK:
				w.hit()
				return [][]byte{mqtt.AppendConnack(nil, false, 0)}
			case p.Type == mqtt.SUBACK:
				subscribed = true
			case wholly && !subscribed && p.Type == mqtt.PUBLISH:
				c.reply(mqtt.AppendPuback(nil, p.ID))
				return nil
			}
			return passes(raw)
		}
	}
}

// pbSilence keeps every message under a topic from a's second connection.
func pbSilence(topic string) func(*pbWire) pbLie {
	return func(w *pbWire) pbLie {
		return func(c *pbConn, out bool, p *mqtt.Packet, raw []byte) [][]byte {
			if out || !c.of("a", 2) || p.Type != mqtt.PUBLISH || !bytes.HasPrefix(p.Topic, []byte(topic)) {
				return passes(raw)
			}
			w.hit()
			c.reply(mqtt.AppendPuback(nil, p.ID))
			return nil
		}
	}
}

// pbSuback answers the SUBSCRIBE of a's second connection with another code.
func pbSuback(code byte) func(*pbWire) pbLie {
	return pbWhen(func(c *pbConn, out bool, p *mqtt.Packet) bool { return !out && c.of("a", 2) && p.Type == mqtt.SUBACK },
		func(_ *pbConn, _ bool, p *mqtt.Packet, _ []byte) [][]byte {
			return [][]byte{mqtt.AppendSuback(nil, p.ID, code)}
		})
}

// pbBeforeConnack sends the first message that was kept for a before the CONNACK.
func pbBeforeConnack(w *pbWire) pbLie {
	var connack []byte
	return func(c *pbConn, out bool, p *mqtt.Packet, raw []byte) [][]byte {
		switch {
		case out || !c.of("a", 2):
		case p.Type == mqtt.CONNACK:
			connack = bytes.Clone(raw)
			return nil
		case connack != nil && pbData(p):
			w.hit()
			connack = nil // the client is to close before it would come
		}
		return passes(raw)
	}
}

// pbUnread makes a library that does not get to read message 10 before its
// first connection ends.
func pbUnread(_ *pbWire, o *Options) {
	o.Drivers = pbLibrary(func(id string) lie {
		read := false
		return func(out bool, p *mqtt.Packet, raw []byte) [][]byte {
			if id[0] == 'a' && !out && !read && pbData(p) && p.Header.Seq == 10 {
				read = true
				return nil
			}
			return passes(raw)
		}
	})
}

// pbNotAgain loses what is sent again of message 10.
func pbNotAgain(w *pbWire) pbLie {
	return func(c *pbConn, out bool, p *mqtt.Packet, raw []byte) [][]byte {
		if !pbRead("a", 2, 10)(c, out, p) {
			return passes(raw)
		}
		w.hit()
		c.reply(mqtt.AppendPuback(nil, p.ID))
		return nil
	}
}

// pbUnanswered makes a library that does not get to answer some messages before
// its first connection ends.
func pbUnanswered(seqs ...uint64) func(*pbWire, *Options) {
	return pbSlow(func(t mqtt.Type) bool { return t == mqtt.PUBACK || t == mqtt.PUBREC }, seqs)
}

// pbUncompleted makes one that does not get to write their PUBCOMP.
func pbUncompleted(seqs ...uint64) func(*pbWire, *Options) {
	return pbSlow(func(t mqtt.Type) bool { return t == mqtt.PUBCOMP }, seqs)
}

func pbSlow(answer func(mqtt.Type) bool, seqs []uint64) func(*pbWire, *Options) {
	return func(_ *pbWire, o *Options) {
		o.Drivers = pbLibrary(func(id string) lie {
			seen, late := map[uint64]bool{}, map[uint16]bool{}
			return func(out bool, p *mqtt.Packet, raw []byte) [][]byte {
				switch {
				case id[0] != 'a':
				case !out && pbData(p) && slices.Contains(seqs, p.Header.Seq) && !seen[p.Header.Seq]:
					seen[p.Header.Seq], late[p.ID] = true, true
				case out && answer(p.Type) && late[p.ID]:
					delete(late, p.ID)
					return nil
				}
				return passes(raw)
			}
		})
	}
}

// pbOutOfOrder swaps the messages 10 and 11 when they are sent again.
func pbOutOfOrder(w *pbWire) pbLie {
	var held []byte
	return func(c *pbConn, out bool, p *mqtt.Packet, raw []byte) [][]byte {
		switch {
		case pbRead("a", 2, 10)(c, out, p):
			held = bytes.Clone(raw)
			return nil
		case pbRead("a", 2, 11)(c, out, p):
			w.hit()
			return [][]byte{raw, held}
		}
		return passes(raw)
	}
}

// pbLostAnswers loses a's last answers of a type on its first connection, from
// the twentieth on.
func pbLostAnswers(typ mqtt.Type) func(*pbWire) pbLie {
	return func(w *pbWire) pbLie {
		n := 0
		return func(c *pbConn, out bool, p *mqtt.Packet, raw []byte) [][]byte {
			if !out || !c.of("a", 1) || p.Type != typ {
				return passes(raw)
			}
			if n++; n < 20 {
				return passes(raw)
			}
			w.hit()
			return nil
		}
	}
}

// pbBeforeSuback holds the SUBACK of a's second connection up until a message
// has come.
func pbBeforeSuback(w *pbWire) pbLie {
	var suback []byte
	return func(c *pbConn, out bool, p *mqtt.Packet, raw []byte) [][]byte {
		switch {
		case out || !c.of("a", 2):
		case p.Type == mqtt.SUBACK:
			suback = bytes.Clone(raw)
			return nil
		case suback != nil && pbData(p):
			w.hit()
			defer func() { suback = nil }()
			return [][]byte{raw, suback}
		}
		return passes(raw)
	}
}

// pbBystander ends b's connection when a comes back from its kick.
func pbBystander(w *pbWire) pbLie {
	var b *pbConn
	return func(c *pbConn, out bool, p *mqtt.Packet, raw []byte) [][]byte {
		switch {
		case c.of("b", 1):
			b = c
		case !out && c.of("a", 2) && p.Type == mqtt.CONNACK:
			w.hit()
			b.cut()
		}
		return passes(raw)
	}
}

// pbLateKick holds the second kick up until the client is back from the first:
// it has read its probe, and a message behind that.
func pbLateKick(w *pbWire, o *Options) {
	probed, back := false, make(chan struct{})
	w.lie = func(c *pbConn, out bool, p *mqtt.Packet, raw []byte) [][]byte {
		switch {
		case out || !c.of("a", 2):
		case pbKind(p, mqtt.KindProbe):
			probed = true
		case probed && pbData(p):
			probed = false
			close(back)
		}
		return passes(raw)
	}
	var mu sync.Mutex
	calls := 0
	o.WrapClose = func(next target.ConnectionCloser) target.ConnectionCloser {
		return closerFunc(func(ctx context.Context, id string) (target.Closed, error) {
			mu.Lock()
			calls++
			second := calls == 2
			mu.Unlock()
			if second {
				select {
				case <-back:
				case <-ctx.Done():
				}
			}
			return next.CloseConnection(ctx, id)
		})
	}
}
