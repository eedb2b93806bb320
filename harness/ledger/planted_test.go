package ledger

import (
	"testing"

	"github.com/rebound-mqtt/rebound/harness/mqtt"
)

// Each planted history turns exactly the verdicts beside it; those with none
// are the false alarms that lie next to them.
var planted = []struct {
	name string
	play func() *history
	want []string
}{
	{"all is well", func() *history {
		return newHistory(1).write(1, 2, 3).ack(1, 2, 3).read(1, 2, 3).sentinel()
	}, nil},

	// lost
	{"lost: a gap before a later one", func() *history {
		return newHistory(1).write(1, 2, 3).ack(1, 2, 3).read(1, 3).sentinel()
	}, []string{"lost s 2"}},
	{"lost: the tail, with the sentinel behind it", func() *history {
		return newHistory(1).write(1, 2, 3).ack(1, 2, 3).read(1, 2).sentinel()
	}, []string{"lost s 3"}},
	{"lost: a gap in an epoch that ended", func() *history {
		return newHistory(1).write(1, 2, 3).ack(1, 2, 3).read(1, 3).fresh().sentinel()
	}, []string{"lost s 2"}},
	{"lost: a gap, though the sentinel was not read", func() *history {
		return newHistory(1).write(1, 2, 3).ack(1, 2, 3).read(1, 3)
	}, []string{"lost s 2"}},
	{"lost: everything, from a silent start", func() *history {
		return newHistory(1).write(1).ack(1).sentinel()
	}, []string{"lost s 1"}},
	{"lost: by one of two subscribers", func() *history {
		h := newHistory(1)
		h.Connected("u", 1, false, h.tick())
		h.Subscribed("u", "+", 1, h.tick())
		h.write(1, 2).ack(1, 2).read(1, 2).copy("u", false, 1, 2)
		h.SentinelDelivered("u", 1, h.tick())
		return h.sentinel()
	}, []string{"lost u 1"}},
	{"not lost: never acknowledged", func() *history {
		return newHistory(1).write(1, 2, 3).ack(1, 3).read(1, 3).sentinel()
	}, []string{"stuck  2"}},
	{"not lost: refused by the library, never at the tap", func() *history {
		h := newHistory(1).write(1, 3).ack(1, 3).read(1, 3).sentinel()
		h.Slots(1, 3, 0, 1)
		return h
	}, nil},
	{"not lost: written before the SUBACK was read", func() *history {
		h := newHistory(1)
		h.Connected("u", 1, false, h.tick())
		h.write(1).ack(1).read(1)
		h.Subscribed("u", "t", 1, h.tick())
		h.write(2).ack(2).read(2).copy("u", false, 1, 2)
		h.SentinelDelivered("u", 1, h.tick())
		return h.sentinel()
	}, nil},
	{"not lost: first written before the SUBACK was read, resent after it", func() *history {
		h := newHistory(1)
		h.Connected("u", 1, false, h.tick())
		h.write(1)
		h.Subscribed("u", "t", 1, h.tick())
		h.conn++
		return h.write(1).ack(1).read(1).sentinel()
	}, nil},
	{"not lost: written while the call about the SUBACK was under way", func() *history {
		h := newHistory(1)
		h.Connected("u", 1, false, h.tick())
		h.Subscribed("u", "t", 1, h.now+10e6)
		return h.write(1).ack(1).read(1).sentinel()
	}, nil},
	{"not lost: written at the very instant of the SUBACK", func() *history {
		h := newHistory(1)
		h.Connected("u", 1, false, h.tick())
		h.Subscribed("u", "t", 1, h.now+1e6)
		return h.write(1).ack(1).read(1).sentinel()
	}, nil},
	{"not lost: the SUBACK refused", func() *history {
		h := newHistory(1)
		h.Connected("u", 1, false, h.tick())
		h.Subscribed("u", "t", 0x80, h.tick())
		return h.write(1).ack(1).read(1).sentinel()
	}, nil},
	{"not lost: read in a later epoch, from the publisher's resend", func() *history {
		h := newHistory(1).write(1).fresh()
		h.conn++
		return h.write(1).ack(1).read(1).sentinel()
	}, nil},
	{"not lost: kept session, read on the next connection", func() *history {
		h := newHistory(1).write(1, 2, 3).ack(1, 2, 3).read(1)
		h.sub++
		return h.read(2, 3).sentinel()
	}, nil},
	{"not lost: subscribed before the stream was known", func() *history {
		h := newHistory(1).write(1).ack(1).read(1).sentinel()
		h.Subscribed("s", "late", 1, h.tick())
		h.AddStream(2, "p", "late", 1)
		return h
	}, nil},

	// lost at QoS 0
	{"lost-qos0: counted wherever it is", func() *history {
		return newHistory(0).write(1, 2, 3, 4).read(1, 3).sentinel()
	}, []string{"lost-qos0 s 2", "lost-qos0 s 4"}},
	{"lost-qos0: no legal loss, nothing undetermined", func() *history {
		h := newHistory(0).write(1, 2).read(1).fresh().write(3)
		h.wet, h.away["s"] = true, true
		return h
	}, []string{"lost-qos0 s 2", "lost-qos0 s 3"}},
	{"lost-qos0: published at QoS 1, granted 0", func() *history {
		h := newHistory(1)
		h.Subscribed("s", "t", 0, h.tick())
		return h.write(1, 2, 3).ack(1, 2, 3).read(1, 3).sentinel()
	}, []string{"lost-qos0 s 2"}},
	{"lost: published at QoS 1, granted 0 and then 1", func() *history {
		h := newHistory(1)
		h.Subscribed("s", "t", 0, h.tick())
		h.write(1, 2).ack(1, 2).read(1)
		h.Subscribed("s", "t", 1, h.tick())
		return h.write(3, 4, 5).ack(3, 4, 5).read(3, 5).sentinel()
	}, []string{"lost-qos0 s 2", "lost s 4"}},
	{"lost: overlapping filters owe the highest granted QoS", func() *history {
		h := newHistory(1)
		h.Subscribed("s", "#", 0, h.tick())
		return h.write(1, 2).ack(1, 2).read(2).sentinel()
	}, []string{"lost s 1"}},
	{"not lost-qos0: read", func() *history {
		return newHistory(0).write(1, 2).read(1, 2)
	}, nil},

	// legal loss
	{"legal-loss: the tail of an epoch that ended", func() *history {
		return newHistory(1).write(1, 2, 3).ack(1, 2, 3).read(1).fresh().write(4).ack(4).read(4).sentinel()
	}, []string{"legal-loss s 2", "legal-loss s 3"}},
	{"legal-loss: written between the end and the new SUBACK", func() *history {
		h := newHistory(1).write(1).ack(1).read(1)
		h.write(2).ack(2)
		h.Connected("s", 1, false, h.tick())
		h.write(3).ack(3) // before the SUBACK: expected by nobody
		h.Subscribed("s", "t", 1, h.tick())
		return h.write(4).ack(4).read(4).sentinel()
	}, []string{"legal-loss s 2"}},
	// A publisher that is back sends again what was on its way, and a new
	// message may pass it there.
	{"legal-loss: written again behind what was read, and the session ended", func() *history {
		h := newHistory(1).write(1)
		h.conn++
		return h.write(2).read(2).write(1).ack(2, 1).fresh().sentinel()
	}, []string{"legal-loss s 1"}},
	{"legal-loss: written again after the session ended", func() *history {
		h := newHistory(1).write(1)
		h.conn++
		return h.write(2).read(2).ack(2).fresh().write(1).ack(1).sentinel()
	}, []string{"legal-loss s 1"}},
	{"legal-loss: what was read was written again before it", func() *history {
		h := newHistory(1).write(1, 2)
		h.conn++
		return h.write(2).read(2).write(1).ack(2, 1).fresh().sentinel()
	}, []string{"legal-loss s 1"}},
	{"undetermined: written again behind what was read, and no sentinel", func() *history {
		h := newHistory(1).write(1)
		h.conn++
		return h.write(2).read(2).write(1).ack(2, 1)
	}, []string{"undetermined s 1"}},
	{"legal-loss: its PUBREL written again behind what was read", func() *history {
		h := newHistory(2).write(1).ack(1).release(1)
		h.conn++
		return h.write(2).ack(2).release(2).read(2).release(1).complete(2, 1).fresh().sentinel()
	}, []string{"legal-loss s 1"}},
	{"lost: written again before what was read, in an epoch that ended", func() *history {
		h := newHistory(1).write(1)
		h.conn++
		return h.write(1, 2).read(2).ack(1, 2).fresh().sentinel()
	}, []string{"lost s 1"}},
	{"lost: acknowledged before what was read was written, though written again", func() *history {
		h := newHistory(1).write(1)
		h.conn++
		return h.write(1).ack(1).write(2).read(2).ack(2).fresh().sentinel()
	}, []string{"lost s 1"}},
	{"lost: what was read came from the connection of both, and one was written again", func() *history {
		h := newHistory(1).write(1, 2).read(2)
		h.conn++
		return h.write(1).ack(1).fresh().sentinel()
	}, []string{"lost s 1", "stuck  2"}},
	{"lost: written again behind what was read, and the session goes on", func() *history {
		h := newHistory(1).write(1)
		h.conn++
		return h.write(2).read(2).write(1).ack(2, 1).sentinel()
	}, []string{"lost s 1"}},
	{"lost: its PUBREL written again before that of what was read", func() *history {
		h := newHistory(2).write(1).ack(1).release(1)
		h.conn++
		return h.release(1).write(2).ack(2).release(2).read(2).complete(1, 2).fresh().sentinel()
	}, []string{"lost s 1"}},
	{"legal-loss: written late, so no gap before what has a higher number", func() *history {
		return newHistory(1).write(2, 1).ack(1, 2).read(2).fresh().sentinel()
	}, []string{"legal-loss s 1"}},
	{"not a legal loss: the session was kept", func() *history {
		h := newHistory(1).write(1, 2).ack(1, 2).read(1)
		h.sub++
		return h.sentinel()
	}, []string{"lost s 2"}},

	// undetermined
	{"undetermined: the subscriber is away", func() *history {
		h := newHistory(1).write(1, 2, 3).ack(1, 2, 3).read(1)
		h.away["s"] = true
		return h
	}, []string{"undetermined s 2", "undetermined s 3"}},
	{"undetermined: the run stopped before the drain", func() *history {
		h := newHistory(1).write(1, 2, 3).ack(1, 2, 3).read(1, 3)
		h.wet = true
		return h
	}, []string{"undetermined s 2"}},
	{"undetermined: the sentinel was not read", func() *history {
		return newHistory(1).write(1, 2).ack(1, 2).read(1)
	}, []string{"undetermined s 2"}},
	{"not undetermined: away, and owed nothing", func() *history {
		h := newHistory(1).write(1, 2).ack(1).read(1)
		h.away["s"] = true
		return h
	}, nil},

	// duplicated
	{"duplicated: two further copies", func() *history {
		h := newHistory(1).write(1, 2).ack(1, 2).read(1, 2, 1)
		h.sub++
		return h.copy("s", true, h.sub, 1, 2).sentinel()
	}, []string{"duplicated s 1", "duplicated s 2"}},
	{"duplicated: over two epochs", func() *history {
		return newHistory(1).write(1).ack(1).read(1).fresh().read(1).sentinel()
	}, []string{"duplicated s 1"}},
	{"duplicated: first and third epoch", func() *history {
		return newHistory(1).write(1).ack(1).read(1).fresh().write(2).ack(2).read(2).fresh().read(1).sentinel()
	}, []string{"duplicated s 1"}},
	{"duplicated: at QoS 0", func() *history {
		return newHistory(0).write(1).read(1, 1)
	}, []string{"duplicated s 1"}},
	{"not duplicated: QoS 0, a copy for each matching filter", func() *history {
		h := newHistory(0)
		h.Subscribed("s", "#", 0, h.tick())
		return h.write(1).read(1, 1)
	}, nil},
	{"duplicated: QoS 0, more than a copy for each matching filter", func() *history {
		h := newHistory(0)
		h.Subscribed("s", "#", 0, h.tick())
		return h.write(1).read(1, 1, 1)
	}, []string{"duplicated s 1"}},
	{"not duplicated: granted 0, and the publisher sent twice", func() *history {
		h := newHistory(1)
		h.Subscribed("s", "t", 0, h.tick())
		h.write(1)
		h.conn++
		return h.write(1).ack(1).read(1, 1)
	}, nil},
	{"not duplicated: two subscribers", func() *history {
		h := newHistory(1)
		h.Subscribed("u", "t", 1, h.tick())
		h.write(1).ack(1).read(1).copy("u", false, 1, 1)
		return h.sentinel()
	}, nil},

	// unexpected
	{"unexpected: never attempted", func() *history {
		return newHistory(1).write(1).ack(1).read(1, 2).sentinel()
	}, []string{"unexpected s 2"}},
	{"unexpected: another run's", func() *history {
		h := newHistory(1).write(1).ack(1).read(1).sentinel()
		h.Delivered("s", mqtt.Delivery{Header: mqtt.Header{Run: run + 1, Stream: 1, Seq: 1}, Topic: []byte("t"), QoS: 1, DUP: false, Conn: 1}, h.tick())
		return h
	}, []string{"unexpected s 1"}},
	{"unexpected: unknown stream", func() *history {
		h := newHistory(1).write(1).ack(1).read(1).sentinel()
		h.Delivered("s", mqtt.Delivery{Header: mqtt.Header{Run: run, Stream: 9, Seq: 1}, Topic: []byte("t"), QoS: 1, DUP: false, Conn: 1}, h.tick())
		return h
	}, []string{"unexpected s 1"}},
	{"unexpected: unknown stream, answered and handled: one finding", func() *history {
		h := newHistory(1).write(1).ack(1).read(1).sentinel()
		h.Delivered("s", mqtt.Delivery{Header: mqtt.Header{Run: run, Stream: 9, Seq: 1}, Topic: []byte("t"), QoS: 1, Conn: 1}, h.tick())
		h.Handled("s", 9, 1)
		h.Answered("s", 9, 1, 1, h.tick())
		return h
	}, []string{"unexpected s 1"}},
	{"unexpected: on another topic, so not the message either", func() *history {
		h := newHistory(1).write(1).ack(1)
		h.Delivered("s", mqtt.Delivery{Header: mqtt.Header{Run: run, Stream: 1, Seq: 1}, Topic: []byte("x"), QoS: 1, DUP: false, Conn: 1}, h.tick())
		return h.sentinel()
	}, []string{"lost s 1", "unexpected s 1"}},
	{"unexpected: corrupt", func() *history {
		h := newHistory(1).write(1).ack(1).read(1).sentinel()
		h.Corrupt("s", []byte("t"), h.tick())
		return h
	}, []string{"unexpected s 0"}},
	{"unexpected: the harness itself names an unknown stream", func() *history {
		h := newHistory(1).write(1).ack(1).read(1).sentinel()
		h.Attempted(9, 1, 1, 1, 1)
		h.Acked(9, 1, 1)
		h.Handled("s", 9, 1)
		return h
	}, []string{"unexpected  1", "unexpected  1", "unexpected s 1"}},
	{"not unexpected: never acknowledged, and read", func() *history {
		return newHistory(1).write(1).read(1).sentinel()
	}, []string{"stuck  1"}},
	{"not unexpected: read by a client that does not expect it", func() *history {
		return newHistory(1).write(1).ack(1).read(1).copy("u", false, 1, 1).sentinel()
	}, []string{"misrouted u 1"}},
}

func TestPlanted(t *testing.T) {
	for _, c := range planted {
		t.Run(c.name, func(t *testing.T) {
			a := c.play().close(t)
			wants(t, a, c.want...)
			countsAgree(t, a)
		})
	}
}

// The order of [MQTT-4.6.0-6]: what must read as reordered, and every legal
// order that looks like it.
func TestPlantedOrder(t *testing.T) {
	for _, c := range []struct {
		name string
		play func() *history
		want []string
	}{
		{"reordered: one connection", func() *history {
			return newHistory(1).write(1, 2, 3).ack(1, 2, 3).read(1, 3, 2).sentinel()
		}, []string{"reordered s 2"}},
		{"reordered: QoS 0", func() *history {
			return newHistory(0).write(1, 2).read(2, 1)
		}, []string{"reordered s 1"}},
		{"reordered: each message counts once", func() *history {
			return newHistory(1).write(1, 2, 3).ack(1, 2, 3).read(3, 2, 1).sentinel()
		}, []string{"reordered s 1", "reordered s 2"}},
		{"reordered: behind the last one, whatever came between", func() *history {
			return newHistory(1).write(1, 2, 3).ack(1, 2, 3).read(3, 1, 2).sentinel()
		}, []string{"reordered s 1", "reordered s 2"}},
		{"reordered: acknowledged before the other was written", func() *history {
			h := newHistory(1).write(1).ack(1)
			h.conn++
			return h.write(2).ack(2).read(2, 1).sentinel()
		}, []string{"reordered s 1"}},
		{"reordered: resent in order, read out of it", func() *history {
			h := newHistory(1).write(1, 2, 3)
			h.conn++
			return h.write(1, 2, 3).ack(1, 2, 3).read(1, 3, 2).sentinel()
		}, []string{"reordered s 2"}},
		{"reordered: written on the connection, only the other resent", func() *history {
			h := newHistory(1).write(1, 2).ack(1)
			h.conn++
			return h.write(2).ack(2).read(2, 1).sentinel()
		}, []string{"reordered s 1"}},
		{"reordered: numbers the other way round, as they were written", func() *history {
			return newHistory(1).write(2, 1).ack(1, 2).read(1, 2).sentinel()
		}, []string{"reordered s 2"}},
		{"legal: numbers the other way round, as they were written", func() *history {
			return newHistory(1).write(2, 1).ack(1, 2).read(2, 1).sentinel()
		}, nil},
		{"legal: 1,2,3,2,3", func() *history {
			h := newHistory(1).write(1, 2, 3).ack(1).read(1, 2, 3)
			h.conn++
			return h.write(2, 3).ack(2, 3).read(2, 3).sentinel()
		}, []string{"duplicated s 2", "duplicated s 3"}},
		{"legal: redelivered on the next connection, 1,2,3,2,3,4", func() *history {
			h := newHistory(1).write(1, 2, 3, 4).ack(1, 2, 3, 4).read(1, 2, 3)
			h.sub++
			return h.copy("s", true, h.sub, 2, 3).read(4).sentinel()
		}, []string{"duplicated s 2", "duplicated s 3"}},
		{"legal: the library resent out of order", func() *history {
			h := newHistory(1).write(1, 2)
			h.conn++
			return h.write(2, 1).ack(1, 2).read(2, 1).sentinel()
		}, nil},
		{"legal: a new one written before the resend", func() *history {
			h := newHistory(1).write(1)
			h.conn++
			return h.write(2, 1).ack(1, 2).read(2, 1).sentinel()
		}, nil},
		{"legal: neither connection says which came first", func() *history {
			h := newHistory(0).write(1)
			h.conn++
			return h.write(2).read(2, 1)
		}, nil},
		{"legal: acknowledged only after the other was written", func() *history {
			h := newHistory(1).write(1)
			h.conn++
			return h.write(2).ack(1, 2).read(2, 1).sentinel()
		}, nil},
		{"legal: granted 0, first copy lost while away, the resend read", func() *history {
			h := newHistory(1)
			h.Subscribed("s", "t", 0, h.tick())
			h.write(1, 2).ack(2).read(2)
			h.conn++
			return h.write(1).ack(1).read(1)
		}, nil},
		{"legal: read late on the old connection of a takeover", func() *history {
			h := newHistory(1).write(1, 2).ack(1, 2)
			h.sub = 2
			return h.read(2).copy("s", false, 1, 1).sentinel()
		}, nil},
		{"legal: the other was read in the epoch before", func() *history {
			h := newHistory(1).write(1, 2).ack(2).read(2).fresh()
			h.conn++
			return h.write(1).ack(1).read(1).sentinel()
		}, nil},
		{"legal: a gap, nothing read late", func() *history {
			return newHistory(0).write(1, 2, 3).read(1, 3)
		}, []string{"lost-qos0 s 2"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := c.play().close(t)
			wants(t, a, c.want...)
			countsAgree(t, a)
		})
	}
}

// More resends than are remembered make a message no witness, never a false one.
func TestOrderGivesUpOnManyResends(t *testing.T) {
	h := newHistory(1).write(1, 2)
	for range maxResends + 2 {
		h.conn++
		h.write(2, 1)
	}
	h.conn++
	wants(t, h.write(1, 2).ack(1, 2).read(2, 1).sentinel().close(t))
}

// A subscriber that reads from many of the publisher's connections with a hole
// in each keeps a bounded memory of them.
func TestOrderMemoryIsBounded(t *testing.T) {
	h := newHistory(1)
	for i := uint64(1); i < 100; i += 2 {
		h.conn++
		h.write(i, i+1).ack(i + 1).read(i + 1)
	}
	d := h.clients.get("s").current[1]
	if n := len(d.order.witnesses); n > maxWitnesses {
		t.Errorf("%d witnesses", n)
	}
	h.ack(99).read(99)
	if odd := d.odd(); len(odd.reordered) != 1 || odd.reordered[0].After != 100 {
		t.Errorf("the latest is not seen: %+v", d.odd())
	}
}
