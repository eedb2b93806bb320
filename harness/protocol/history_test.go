package protocol

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/rebound-mqtt/rebound/harness/mqtt"
	"github.com/rebound-mqtt/rebound/harness/timeline"
)

// A history is a few lines, one packet each:
//
//	[CONNECTION:] out|in|unsent PACKET [ID] [words] [=> seen] [! rule charge, …]
//	[CONNECTION:] end
//	level 5
//
// A CONNECT begins the next connection if its line names none. Of a PUBLISH
// the words are q0 to q3, dup, retain, t=TOPIC, and the message: m3 is message
// 3 of stream 1, given at instant 3, long before the history begins; young
// gives it in the instant of its line, the first of which is 1001, and at=N at
// instant N; raw is a payload that is not ours.
// CONNECT knows clean; CONNACK sp=1 and code=5; SUBSCRIBE filter:qos; SUBACK
// codes. What "=>" wants is Seen, as step, message and again. "!" wants exactly
// these breaches; a rule with "?" is a warning. A line without "!" breaks none.
type player struct {
	Session
	t       testing.TB
	conn    int
	at      timeline.Instant
	breachs []Breach
	given   map[string]timeline.Instant
}

func newPlayer(t testing.TB) *player {
	return &player{t: t, at: 1000, given: map[string]timeline.Instant{}}
}

func (h *player) play(history string) {
	h.t.Helper()
	for i, line := range strings.Split(history, "\n") {
		if line = strings.TrimSpace(line); line != "" {
			h.line(fmt.Sprintf("line %d: %s", i+1, line), line)
		}
	}
}

func (h *player) line(where, line string) {
	h.t.Helper()
	line, wantBreach, _ := strings.Cut(line, "!")
	line, wantSeen, checkSeen := strings.Cut(line, "=>")
	words := strings.Fields(line)
	if n, err := strconv.Atoi(strings.TrimSuffix(words[0], ":")); err == nil {
		h.conn, words = n, words[1:]
	} else if words[0] == "out" && words[1] == "CONNECT" {
		h.conn++
	}
	h.at++
	h.breachs = h.breachs[:0]
	report := func(b Breach) { h.breachs = append(h.breachs, b) }
	var seen Seen
	switch words[0] {
	case "level":
		h.Level = 5
	case "end":
		h.End(h.conn, h.at)
	case "settle":
		h.Settle(report)
	case "unsent":
		h.Unsent(h.conn, h.packet(words[1:]))
	case "out", "in":
		seen = h.Packet(h.conn, words[0] == "out", h.packet(words[1:]), h.at, report)
	default:
		h.t.Fatalf("%s: what is %q?", where, words[0])
	}
	if got := tell(h.breachs); got != normal(wantBreach) {
		h.t.Errorf("%s\n got breaches %q", where, got)
		for _, b := range h.breachs {
			h.t.Logf("%+v", b)
		}
	}
	if got := tellSeen(seen); checkSeen && got != normal(wantSeen) {
		h.t.Errorf("%s\n got seen %q", where, got)
	}
}

func normal(s string) string { return strings.Join(strings.Fields(s), " ") }

func tell(bs []Breach) string {
	var all []string
	for _, b := range bs {
		s := b.Rule
		if b.Warn {
			s += "?"
		}
		charge, _, _ := strings.Cut(string(b.Charge), "-")
		all = append(all, s+" "+charge)
	}
	return strings.Join(all, ", ")
}

func tellSeen(s Seen) string {
	out := s.Step.String()
	if s.Message.Kind != 0 {
		out += fmt.Sprintf(" m%d", s.Message.Seq)
	}
	if s.Again {
		out += " again"
	}
	if s.Moved {
		out += " moved"
	}
	if s.Displaced.Kind != 0 {
		out += fmt.Sprintf(" for m%d", s.Displaced.Seq)
	}
	return out
}

var typeOf = func() map[string]mqtt.Type {
	m := map[string]mqtt.Type{"AUTH": 15}
	for t := mqtt.CONNECT; t <= mqtt.DISCONNECT; t++ {
		m[t.String()] = t
	}
	return m
}()

// packet makes the packet that the words name.
func (h *player) packet(words []string) *mqtt.Packet {
	typ, ok := typeOf[words[0]]
	if !ok {
		h.t.Fatalf("no packet %q", words[0])
	}
	p := &mqtt.Packet{Type: typ}
	words = words[1:]
	if len(words) > 0 {
		if id, err := strconv.Atoi(words[0]); err == nil {
			p.ID, words = uint16(id), words[1:]
		}
	}
	switch typ {
	case mqtt.PUBLISH:
		h.publish(p, words)
	case mqtt.CONNECT:
		p.Body = body(mqtt.AppendConnect(nil, mqtt.ConnectInfo{ClientID: "c", Clean: has(words, "clean")}))
	case mqtt.CONNACK:
		var code byte
		if has(words, "code=5") {
			code = 5
		}
		p.Body = body(mqtt.AppendConnack(nil, has(words, "sp=1"), code))
	case mqtt.SUBSCRIBE:
		var fs []mqtt.Filter
		for _, w := range words {
			topic, q, _ := strings.Cut(w, ":")
			fs = append(fs, mqtt.Filter{Topic: topic, QoS: q[0] - '0'})
		}
		p.Body = body(mqtt.AppendSubscribe(nil, p.ID, fs...))
	case mqtt.SUBACK:
		var codes []byte
		for _, w := range words {
			code, err := strconv.Atoi(w)
			if err != nil {
				h.t.Fatal(err)
			}
			codes = append(codes, byte(code))
		}
		p.Body = body(mqtt.AppendSuback(nil, p.ID, codes...))
	}
	return p
}

func (h *player) publish(p *mqtt.Packet, words []string) {
	p.Topic, p.Payload = []byte("t"), 64
	p.Header = mqtt.Header{Kind: mqtt.KindData, Run: 1, Stream: 1}
	for _, w := range words {
		switch {
		case w == "dup":
			p.Flags |= 8
		case w == "retain":
			p.Flags |= 1
		case w == "young":
			p.Header.Sent = int64(h.at)
		case w == "raw":
			p.HeaderErr, p.Header = mqtt.ErrNoHeader, mqtt.Header{}
		case strings.HasPrefix(w, "len="):
			p.Payload, _ = strconv.Atoi(w[4:])
		case strings.HasPrefix(w, "at="):
			p.Header.Sent, _ = strconv.ParseInt(w[3:], 10, 64)
		case strings.HasPrefix(w, "t="):
			p.Topic = []byte(w[2:])
		case w[0] == 'q':
			p.Flags |= (w[1] - '0') << 1
		case w[0] == 'm':
			seq, err := strconv.Atoi(w[1:])
			if err != nil {
				h.t.Fatal(err)
			}
			p.Header.Seq = uint64(seq)
			p.Header.Sent = int64(seq)
			if g, ok := h.given[w]; ok {
				p.Header.Sent = int64(g)
			}
			if has(words, "young") {
				h.given[w] = h.at
			}
		default:
			h.t.Fatalf("no word %q of PUBLISH", w)
		}
	}
}

func has(words []string, w string) bool {
	for _, x := range words {
		if x == w {
			return true
		}
	}
	return false
}

// body strips the fixed header of a short packet.
func body(b []byte) []byte { return b[2:] }
