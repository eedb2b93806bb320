package harness

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/rebound-mqtt/rebound/harness/mqtt"
	"github.com/rebound-mqtt/rebound/harness/target"
	"github.com/rebound-mqtt/rebound/reports"
)

// The planted suite, side of the broker and the network: one fault below the
// taps of a good broker and a client that keeps to the letter, and exactly the
// checks that it breaks turn.

// TestPlantedBrokerMessages: what a broker does to single messages.
func TestPlantedBrokerMessages(t *testing.T) {
	qos2 := []string{pbStorm, "", "qos: 1", "qos: 2"}
	qos0 := []string{pbStorm, "", "qos: 1", "qos: 0"}
	pbAll(t, []pbCase{
		{
			name: "lost at QoS 1", text: []string{pbStorm, ""},
			plant: pbWhen(pbRead("a", 1, 10), func(c *pbConn, _ bool, p *mqtt.Packet, _ []byte) [][]byte {
				c.reply(mqtt.AppendPuback(nil, p.ID))
				return nil
			}),
			turns: map[string]string{"lost": "broker 1"},
		},
		{
			// The debt is never paid: the drain waits in vain, and that tells.
			name: "lost at QoS 1, with a drain that waits for it", text: []string{pbStorm, "", "{quiet: 300ms}, timeout: 20s", "{drained: true}, timeout: 4s"},
			plant: pbWhen(pbRead("a", 1, 10), func(c *pbConn, _ bool, p *mqtt.Packet, _ []byte) [][]byte {
				c.reply(mqtt.AppendPuback(nil, p.ID))
				return nil
			}),
			turns: map[string]string{"lost": "broker 1"},
		},
		{
			name: "lost at QoS 2", text: qos2, plant: pbSwallowExactly,
			turns: map[string]string{"lost": "broker 1"},
		},
		{
			name: "QoS 2 delivered twice, under two packet ids", text: qos2,
			plant: pbWhen(pbRead("a", 1, 10), func(_ *pbConn, _ bool, p *mqtt.Packet, raw []byte) [][]byte {
				return [][]byte{raw, pbUnder(pbFirst, p, raw)}
			}),
			turns: map[string]string{"duplicated": "broker 1"},
		},
		{
			name: "QoS 0 delivered twice", text: qos0,
			plant: pbWhen(pbRead("a", 1, 10), func(_ *pbConn, _ bool, _ *mqtt.Packet, raw []byte) [][]byte { return [][]byte{raw, raw} }),
			turns: map[string]string{"duplicated": "broker 1"},
		},
		{
			name: "two first deliveries swapped", text: []string{pbStorm, ""}, plant: pbSwap,
			turns: map[string]string{"reordered": "broker 1"},
		},
		{
			name: "message of another run", text: []string{pbStorm, ""},
			plant: pbWhen(pbRead("a", 1, 10), pbGhost(func(h *mqtt.Header) { h.Run++ })),
			turns: map[string]string{"unexpected": "broker 1"},
		},
		{
			name: "message that was never attempted", text: []string{pbStorm, ""},
			plant: pbWhen(pbRead("a", 1, 10), pbGhost(func(h *mqtt.Header) { h.Seq += 1e6 })),
			turns: map[string]string{"unexpected": "broker 1"},
		},
		{
			name: "message of a stream that there is not", text: []string{pbStorm, ""},
			plant: pbWhen(pbRead("a", 1, 10), pbGhost(func(h *mqtt.Header) { h.Stream += 1000 })),
			turns: map[string]string{"unexpected": "broker 1"},
		},
		{
			// What was changed on its way is not what was sent: that is missing.
			name: "corrupt payload", text: []string{pbStorm, ""},
			plant: pbWhen(pbRead("a", 1, 10), pbCorrupt),
			turns: map[string]string{"unexpected": "broker 1", "lost": "broker 1"},
		},
		{
			// QoS 0 loss is counted, and no failure.
			name: "corrupt payload at QoS 0", text: qos0,
			plant: pbWhen(pbRead("a", 1, 10), pbCorrupt),
			turns: map[string]string{"unexpected": "broker 1"},
		},
		{
			name: "message on another topic", text: []string{pbStorm, ""},
			plant: pbWhen(pbRead("a", 1, 10), func(_ *pbConn, _ bool, p *mqtt.Packet, raw []byte) [][]byte {
				m := pbPublish(p, raw)
				m.Topic += "x"
				return [][]byte{pbOne(m)}
			}),
			turns: map[string]string{"unexpected": "broker 1", "lost": "broker 1"},
		},
		{
			// The client must take it for a copy of the message that it has
			// [MQTT-4.3.3-2]: it answers, and hands nothing over.
			name: "packet id in use", text: qos2, plant: pbReuse,
			turns: map[string]string{"packet-id": "broker 1", "lost-in-client": "broker 1"},
		},
		{
			// For the client it is a new message then, which it hands over again.
			name: "PUBLISH after PUBREL", text: qos2, plant: pbAfterRelease,
			turns: map[string]string{"publish-after-pubrel": "broker 1", "duplicated": "broker 1"},
		},
		{
			name: "DUP at QoS 0", text: qos0,
			plant: pbWhen(pbRead("a", 1, 10), func(_ *pbConn, _ bool, _ *mqtt.Packet, raw []byte) [][]byte {
				raw[0] |= 8
				return [][]byte{raw}
			}),
			turns: map[string]string{"dup-flag": "broker 1", "unscripted": "broker 1"},
		},
		{
			// Sent again after that end it comes under an id that was not its first.
			name: "packet id 0", text: []string{pbStorm, ""},
			plant: pbWhen(pbRead("a", 1, 10), func(_ *pbConn, _ bool, p *mqtt.Packet, raw []byte) [][]byte {
				return [][]byte{pbUnder(0, p, raw)}
			}),
			turns: map[string]string{"packet-id": "broker 2", "unscripted": "broker 1"},
		},
		{
			name: "PUBREC for a message of QoS 1", text: []string{pbStorm, "", pbToA, `  - {from: b, to: a, topic: "d/{client}", qos: 1, each: 50/s}` + "\n"},
			plant: pbWhen(func(c *pbConn, out bool, p *mqtt.Packet) bool { return !out && c.of("b", 1) && p.Type == mqtt.PUBACK },
				func(_ *pbConn, _ bool, p *mqtt.Packet, _ []byte) [][]byte {
					return [][]byte{mqtt.AppendPubrec(nil, p.ID)}
				}),
			turns: map[string]string{"unknown-ack": "broker 1", "unscripted": "broker 1"},
		},
		{
			name: "message of another client", text: []string{pbStorm, ""}, plant: pbMisroute,
			turns: map[string]string{"misrouted": "broker 1"},
		},
		{
			name: "QoS raised", text: []string{pbStorm, ""},
			plant: pbWhen(pbRead("a", 1, 10), func(c *pbConn, _ bool, p *mqtt.Packet, raw []byte) [][]byte {
				c.reply(mqtt.AppendPuback(nil, p.ID))
				m := pbPublish(p, raw)
				m.QoS, m.ID = 2, pbFirst
				return [][]byte{pbOne(m)}
			}),
			turns: map[string]string{"wrong-qos": "broker 1"},
		},
		{
			name: "QoS lowered", text: []string{pbStorm, ""},
			plant: pbWhen(pbRead("a", 1, 10), func(c *pbConn, _ bool, p *mqtt.Packet, raw []byte) [][]byte {
				c.reply(mqtt.AppendPuback(nil, p.ID))
				m := pbPublish(p, raw)
				m.QoS = 0
				return [][]byte{pbOne(m)}
			}),
			turns: map[string]string{"wrong-qos": "broker 1"},
		},
		{
			name: "PUBACK for nothing", text: []string{pbStorm, ""},
			plant: pbWhen(pbRead("a", 1, 10), func(_ *pbConn, _ bool, _ *mqtt.Packet, raw []byte) [][]byte {
				return [][]byte{raw, mqtt.AppendPuback(nil, pbFirst)}
			}),
			turns: map[string]string{"unknown-ack": "broker 1"},
		},
		{
			name: "PUBACK that never comes", text: []string{pbStorm, "", pbToA, `  - {from: b, to: a, topic: "d/{client}", qos: 1, each: 50/s}` + "\n"},
			plant: pbNoAnswer(mqtt.PUBACK),
			turns: map[string]string{"stuck": "broker 1"},
		},
		{
			name: "PUBCOMP that never comes", text: append([]string{pbToA, `  - {from: b, to: a, topic: "d/{client}", qos: 2, each: 50/s}` + "\n"}, qos2...),
			plant: pbNoAnswer(mqtt.PUBCOMP),
			turns: map[string]string{"stuck": "broker 1"},
		},
	})
}

// TestPlantedBrokerSessions: what a broker does to a session that a client
// comes back to, and to its subscriptions.
func TestPlantedBrokerSessions(t *testing.T) {
	always := []string{pbFleetA, pbFleetA + "    resubscribe: always\n"}
	pbAll(t, []pbCase{
		{
			name: "session forgotten", plant: pbForget(true),
			turns: map[string]string{"session-forgotten": "broker 1"},
		},
		{
			// The broker says that there is no session, and sends what it kept
			// for it: before the SUBSCRIBE nothing matches that.
			name: "session said to be forgotten", plant: pbForget(false),
			turns: map[string]string{"session-forgotten": "broker 1", "misrouted": "broker"},
		},
		{
			name:  "session invented at a first connection",
			plant: pbConnack("a", 1, func(raw []byte) [][]byte { return [][]byte{mqtt.AppendConnack(nil, true, 0)} }),
			turns: map[string]string{"session-invented": "broker 1"},
		},
		{
			// The client has to close such a connection [MQTT-4.8.0-1]: an end that
			// no fault explains.
			name: "session invented for a clean session", text: []string{"    share: 50%\n", "    share: 50%\n    session: {clean: true}\n"},
			plant: pbConnack("a", 2, func(raw []byte) [][]byte { return [][]byte{mqtt.AppendConnack(nil, true, 0)} }),
			turns: map[string]string{"session-invented": "broker 1", "unscripted": "broker 1"},
		},
		{
			// Nothing of the stream comes any more, the sentinel neither: whether
			// the last messages would still have come, nobody can say.
			name: "subscription lost", text: []string{
				`  - {to: b,`, `  - {to: a, topic: "e/{client}", qos: 1, each: 50/s}` + "\n  - {to: b,",
				pbFleetA + "    reconnect: {policy: fixed, delay: 150ms}\n    " + pbSub,
				pbFleetA + "    reconnect: {policy: fixed, delay: 150ms}\n    " + `subscribe: [{topic: "d/{client}", qos: 1}, {topic: "e/{client}", qos: 1}]`,
			},
			plant: pbSilence("e/"), hits: -1,
			turns: map[string]string{"deaf": "broker 1"}, unknown: []string{"lost"},
		},
		{
			name: "nothing sent after a reconnect", text: []string{"    timeout: 5s\n", "    timeout: 1s\n"},
			plant: pbSilence("d/"), hits: -1,
			turns: map[string]string{"deaf": "broker 2", "never-returned": "broker 1"}, unknown: []string{"lost"},
		},
		{
			name: "SUBSCRIBE refused", text: always, plant: pbSuback(0x80),
			turns: map[string]string{"suback": "broker 1"},
		},
		{
			name: "SUBSCRIBE downgraded", text: []string{"qos: 1", "qos: 2"},
			plant: pbWhen(func(c *pbConn, out bool, p *mqtt.Packet) bool { return out && c.of("a", 1) && p.Type == mqtt.SUBSCRIBE },
				func(_ *pbConn, _ bool, _ *mqtt.Packet, raw []byte) [][]byte {
					raw[len(raw)-1] = 1 // the broker grants what it is asked
					return [][]byte{raw}
				}),
			turns: map[string]string{"suback": "broker 1"},
		},
		{
			name: "SUBSCRIBE never answered", text: append([]string{pbAfter, "  - {name: after, for: 5300ms}\n"}, always...),
			plant: pbWhen(func(c *pbConn, out bool, p *mqtt.Packet) bool { return !out && c.of("a", 2) && p.Type == mqtt.SUBACK },
				func(*pbConn, bool, *mqtt.Packet, []byte) [][]byte { return nil }),
			turns: map[string]string{"suback": "broker 1"},
		},
		{
			name: "second CONNACK", text: []string{pbStorm, ""},
			plant: pbWhen(pbRead("a", 1, 10), func(_ *pbConn, _ bool, _ *mqtt.Packet, raw []byte) [][]byte {
				return [][]byte{raw, mqtt.AppendConnack(nil, true, 0)}
			}),
			turns: map[string]string{"first-packet": "broker 1", "unscripted": "broker 1"},
		},
		{
			name:  "session present beside a refusal",
			plant: pbConnack("a", 2, func(raw []byte) [][]byte { return [][]byte{mqtt.AppendConnack(nil, true, 3)} }),
			turns: map[string]string{"session-invented": "broker 1"},
		},
		{
			name: "PUBLISH before CONNACK", plant: pbBeforeConnack,
			turns: map[string]string{"first-packet": "broker 1"},
		},
		{
			// The client has to close the connection [MQTT-4.8.0-1]: an end that
			// no fault explains.
			name: "DISCONNECT from the broker", text: []string{pbStorm, ""},
			plant: pbWhen(pbRead("a", 1, 10), func(_ *pbConn, _ bool, _ *mqtt.Packet, raw []byte) [][]byte {
				return [][]byte{raw, mqtt.AppendDisconnect(nil)}
			}),
			turns: map[string]string{"server-packet": "broker 1", "unscripted": "broker 1"},
		},
		{
			name: "retained message sent again on a bare resume", text: []string{pbToA, pbRetained},
			plant: pbWhen(pbRead("a", 2, 0), func(_ *pbConn, _ bool, p *mqtt.Packet, raw []byte) [][]byte {
				m := pbPublish(p, raw)
				m.ID, m.Retain, m.Dup = pbFirst, true, false
				return [][]byte{raw, pbOne(m)}
			}),
			turns: map[string]string{"retained-on-resume": "broker 1"},
		},
		{
			name: "RETAIN on a message after a bare resume", text: []string{pbToA, pbRetained},
			plant: pbWhen(func(c *pbConn, out bool, p *mqtt.Packet) bool {
				return pbRead("a", 2, 0)(c, out, p) && !p.Dup() // what is sent again keeps its flag
			}, func(_ *pbConn, _ bool, _ *mqtt.Packet, raw []byte) [][]byte {
				raw[0] |= 1
				return [][]byte{raw}
			}),
			turns: map[string]string{"retained-on-resume": "broker 1"},
		},
		{
			name: "not sent again after a resume", plant: pbNotAgain, bend: pbUnread, hits: -1,
			turns: map[string]string{"not-redelivered": "broker 1"},
		},
		{
			name: "sent again out of order", plant: pbOutOfOrder, bend: pbUnanswered(10, 11),
			turns: map[string]string{"resend-order": "broker 1"},
		},
		{
			name: "PUBREL sent again out of order", text: []string{"qos: 1", "qos: 2"}, plant: pbReleaseOutOfOrder, bend: pbUncompleted(10, 11),
			turns: map[string]string{"resend-order": "broker 1"},
		},
		{
			name: "QoS 2 sent again without DUP", text: []string{"qos: 1", "qos: 2"},
			plant: pbWhen(func(c *pbConn, out bool, p *mqtt.Packet) bool {
				return pbRead("a", 2, 0)(c, out, p) && p.Dup()
			}, func(_ *pbConn, _ bool, p *mqtt.Packet, raw []byte) [][]byte {
				raw[0] &^= 8
				return [][]byte{raw}
			}),
			bend:  pbUnanswered(10),
			turns: map[string]string{"dup-flag": "broker 1"},
		},
		{
			name: "sent again without DUP", plant: pbWhen(func(c *pbConn, out bool, p *mqtt.Packet) bool {
				return pbRead("a", 2, 0)(c, out, p) && p.Dup()
			}, func(_ *pbConn, _ bool, p *mqtt.Packet, raw []byte) [][]byte {
				raw[0] &^= 8
				return [][]byte{raw}
			}),
			bend:  pbUnanswered(10),
			turns: map[string]string{"dup-flag": "broker 1"},
		},
	})
}

// TestPlantedBrokerEnds: what a broker, or a network, does to connections.
func TestPlantedBrokerEnds(t *testing.T) {
	pbAll(t, []pbCase{
		{
			name:  "takeover that leaves the old connection open",
			text:  []string{pbStorm, "  - name: storm\n    faults: [{takeover: {fleet: a, hold: 200ms}}]\n    for: 7s\n"},
			plant: pbConnack("a", 1, func(raw []byte) [][]byte { return passes(raw) }),
			bend: func(w *pbWire, _ *Options) {
				lie := w.lie
				w.lie = func(c *pbConn, out bool, p *mqtt.Packet, raw []byte) [][]byte {
					if c.of("a", 1) {
						c.holdEnd = 6 * time.Second
					}
					return lie(c, out, p, raw)
				}
			},
			turns: map[string]string{"takeover": "broker 1"},
		},
		{
			name: "kick without effect", text: []string{"{close: {fleet: a}}", "{close: {fleet: a}}, {close: {fleet: b}}", "    timeout: 5s\n", "    timeout: 1s\n"},
			bend: func(_ *pbWire, o *Options) {
				o.WrapClose = func(next target.ConnectionCloser) target.ConnectionCloser {
					return closerFunc(func(ctx context.Context, id string) (target.Closed, error) {
						if id[0] == 'a' {
							return target.Closed{}, nil
						}
						return next.CloseConnection(ctx, id)
					})
				}
			},
			turns: map[string]string{"kick-effective": "harness 1"},
			also: func(r *reports.Report) string {
				if w := r.Total; w.NoEffect != 1 || w.Unaffected != 1 || w.Hit != 1 || w.Back != 1 {
					return fmt.Sprintf("want 1 without effect and 1 back: %+v", w)
				}
				return ""
			},
		},
		{
			// The second kick is due while the client is away, and is held up until
			// it is back: it ends the next connection. Nobody is to blame.
			name: "late kick", text: []string{"{close: {fleet: a}}", "{close: {fleet: a, times: 2, every: 20ms}}"},
			bend: pbLateKick,
			also: func(r *reports.Report) string {
				if w := r.Total; w.Victims != 2 || w.Hit != 1 || w.LateHit != 1 || w.Back != 2 {
					return fmt.Sprintf("want a hit and a late hit, both back: %+v", w)
				}
				return ""
			},
		},
		{
			name: "end that nobody scripted", text: []string{pbStorm, ""},
			plant: pbWhen(pbRead("a", 1, 10), pbCut),
			turns: map[string]string{"unscripted": "broker 1"},
		},
		{
			name: "end of a bystander", plant: pbBystander,
			turns: map[string]string{"collateral": "broker 1"},
		},
		{
			name: "first probe lost",
			plant: pbWhen(func(c *pbConn, out bool, p *mqtt.Packet) bool {
				return !out && c.of("a", 2) && pbKind(p, mqtt.KindProbe)
			},
				func(c *pbConn, _ bool, p *mqtt.Packet, _ []byte) [][]byte {
					c.reply(mqtt.AppendPuback(nil, p.ID))
					return nil
				}),
			also: func(r *reports.Report) string {
				if q := r.Total.ProbeNeeded; q.N != 1 || q.Max == nil || *q.Max != 2 {
					return fmt.Sprintf("probes needed: %+v, want 2", q)
				}
				return ""
			},
		},
		{
			// The client sends no PINGREQ, and a broker that thinks the keep alive
			// longer leaves it its connection.
			name: "silent client that is left alone",
			text: []string{
				pbStorm, "", pbFleetA, pbFleetA + "    session: {keep_alive: 1s}\n", pbAfter, "  - {name: after, for: 2500ms}\n",
				pbToA, `  - {to: a, topic: "d/{client}", qos: 0, each: 50/s}` + "\n",
			},
			plant: pbWhen(func(c *pbConn, out bool, p *mqtt.Packet) bool { return out && c.of("a", 1) && p.Type == mqtt.CONNECT },
				func(_ *pbConn, _ bool, p *mqtt.Packet, raw []byte) [][]byte {
					info, err := p.Connect()
					if err != nil {
						panic(err)
					}
					info.KeepAlive = 60
					return [][]byte{mqtt.AppendConnect(nil, info)}
				}),
			bend: func(_ *pbWire, o *Options) {
				o.Drivers = pbLibrary(func(id string) lie {
					return func(out bool, p *mqtt.Packet, raw []byte) [][]byte {
						if id[0] == 'a' && p.Type == mqtt.PINGREQ {
							return nil
						}
						return passes(raw)
					}
				})
			},
			turns: map[string]string{"keep-alive": "broker 1"},
		},
	})
}

// TestPlantedBrokerWills: what a broker does to the Will of a client that it
// lost.
func TestPlantedBrokerWills(t *testing.T) {
	will := []string{pbFleetA, pbFleetA + "    will: {topic: \"w/{client}\", qos: 1}\n"}
	change := func(f func(*mqtt.Publish)) func(*pbWire) pbLie {
		return pbWhen(pbIsWill, func(c *pbConn, _ bool, p *mqtt.Packet, raw []byte) [][]byte {
			m := pbPublish(p, raw)
			f(&m)
			if m.QoS == 0 {
				c.reply(mqtt.AppendPuback(nil, p.ID))
			}
			return [][]byte{pbOne(m)}
		})
	}
	never := pbWhen(pbIsWill, func(c *pbConn, _ bool, p *mqtt.Packet, _ []byte) [][]byte {
		if p.QoS() > 0 {
			c.reply(mqtt.AppendPuback(nil, p.ID))
		}
		return nil
	})
	watched := append([]string{pbAfter, "  - {name: after, for: 5300ms}\n"}, will...)
	one := map[string]string{"will": "broker 1"}
	pbAll(t, []pbCase{
		{name: "as given", text: watched},
		{name: "payload", text: will, plant: change(func(m *mqtt.Publish) { m.Payload[20] ^= 1 }), turns: one},
		{name: "longer payload", text: will, plant: change(func(m *mqtt.Publish) { m.Payload = append(m.Payload, 0) }), turns: one},
		{name: "topic", text: will, plant: change(func(m *mqtt.Publish) { m.Topic += "x" }), turns: one},
		{name: "QoS", text: will, plant: change(func(m *mqtt.Publish) { m.QoS = 0 }), turns: one},
		{name: "RETAIN", text: will, plant: change(func(m *mqtt.Publish) { m.Retain = true }), turns: one},
		{name: "twice", text: will, plant: pbWhen(pbIsWill, func(_ *pbConn, _ bool, p *mqtt.Packet, raw []byte) [][]byte {
			return [][]byte{raw, pbUnder(pbFirst, p, raw)}
		}), turns: one},
		{name: "never", text: watched, plant: never, turns: one},
		{name: "never at QoS 0", text: append([]string{"qos: 1}\n    reconnect", "qos: 0}\n    reconnect"}, append([]string{pbFleetA, pbFleetA + "    will: {topic: \"w/{client}\", qos: 0}\n"}, watched[:2]...)...),
			plant: never, also: func(r *reports.Report) string {
				for _, c := range r.Checks {
					if c.Name == "will" && c.Warnings != 1 {
						return fmt.Sprintf("%d warnings, want 1: %+v", c.Warnings, c)
					}
				}
				return ""
			}},
	})
}
