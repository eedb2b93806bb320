package protocol

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rebound-mqtt/rebound/harness/mqtt"
	"github.com/rebound-mqtt/rebound/harness/timeline"
)

func TestRulesAreTold(t *testing.T) {
	planted := ""
	for _, h := range histories {
		for _, line := range strings.Split(h.text, "\n") {
			_, want, _ := strings.Cut(line, "!")
			planted += want + "\n"
		}
	}
	seen := map[string]bool{}
	for _, r := range Rules() {
		if r.Name == "" || seen[r.Name] || !strings.HasSuffix(r.Doc, ".") || !strings.HasPrefix(r.Statement, "[MQTT-") && r.Name != "resend-timing" {
			t.Errorf("rule %+v", r)
		}
		seen[r.Name] = true
		if !strings.Contains(planted, " "+r.Name+" ") {
			t.Errorf("no history breaks %s", r.Name)
		}
	}
}

func TestBreachTellsWhichMessage(t *testing.T) {
	h := newPlayer(t)
	h.play(connect + `
		out PUBLISH 7 q1 m1
		out PUBLISH 7 q1 m1  ! dup-flag publisher`)
	want := []Breach{{Rule: "dup-flag", Charge: timeline.ChargePublisher, PacketID: 7, Stream: 1, Seq: 1, Detail: "DUP=0 on a resend of PUBLISH 7"}}
	if d := cmp.Diff(want, h.breachs); d != "" {
		t.Error(d)
	}
	h.play(`out PUBLISH 7 q1 m2 ! packet-id publisher`)
	if b := h.breachs[0]; b.Seq != 2 {
		t.Errorf("%+v", b)
	}
	h.play(`in PUBCOMP 7 ! unknown-ack broker`)
	if b := h.breachs[0]; b.PacketID != 7 || b.Stream != 1 || b.Seq != 2 {
		t.Errorf("%+v", b)
	}
	h.play(`in PUBCOMP 8 ! unknown-ack broker`)
	if b := h.breachs[0]; b.PacketID != 8 || b.Stream != 0 || b.Seq != 0 {
		t.Errorf("%+v", b)
	}
}

func TestSeenTellsTheLatestTransmission(t *testing.T) {
	h := newPlayer(t)
	h.play(connect + `
		out PUBLISH 7 q1 m1` + resume + `
		out PUBLISH 7 q1 m1 dup`)
	resent := h.at
	got := h.Packet(2, false, &mqtt.Packet{Type: mqtt.PUBACK, ID: 7}, 9999, nil)
	if d := cmp.Diff(Seen{Step: Acked, Message: Message{mqtt.KindData, 1, 1, resent}}, got); d != "" {
		t.Error(d)
	}
}

// A message with RETAIN=1 that no SUBSCRIBE can have asked for is no retained
// copy; where one can, it may be.
func TestUnasked(t *testing.T) {
	const subscribed = connect + `
		out SUBSCRIBE 1 t:1
		in  SUBACK 1 1`
	for _, c := range []struct {
		name, before string
		flags        byte
		want         bool
	}{
		{"on a resume", subscribed + `
			in  PUBLISH q0 m1 young` + resume, 1, true},
		{"without RETAIN", subscribed + `
			in  PUBLISH q0 m1 young` + resume, 0, false},
		{"on the connection of the SUBSCRIBE", subscribed, 1, false},
		{"on a resume, the SUBSCRIBE perhaps not answered in full", subscribed + resume, 1, false},
	} {
		h := newPlayer(t)
		h.play(c.before)
		p := mqtt.Packet{Type: mqtt.PUBLISH, Flags: c.flags, Topic: []byte("t"), Header: mqtt.Header{Kind: mqtt.KindData, Stream: 1, Seq: 5}}
		if got := h.Packet(h.conn, false, &p, 9999, func(Breach) {}); got.Unasked != c.want {
			t.Errorf("%s: unasked %v, want %v", c.name, got.Unasked, c.want)
		}
	}
}

// A connection that began in the instant in which the first copy was read may
// have begun before it: the broker may have sent its own copy first.
func TestCopyInTheInstantOfTheConnect(t *testing.T) {
	h := newPlayer(t)
	h.play(connect + `
		in  PUBLISH 7 q1 m1`)
	h.at-- // the next line is of the same instant
	h.play(`
		3: out CONNECT
		2: out CONNECT
		2: in  CONNACK sp=1
		2: in  PUBLISH 7 q1 m1 dup
		3: in  CONNACK sp=1
		3: in  PUBLISH 7 q1 m1     => delivered m1`)
}

func TestDetails(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"suback", `
			out SUBSCRIBE 1 a:1 b:2 c:0 d:1
			in  SUBACK 1 128 1 1 3 ! suback broker, suback broker, suback broker, suback broker`,
			`refused: "a" with code 0x80; downgraded: "b" from QoS 2 to 1; raised: "c" from QoS 0 to 1; reserved: "d" with code 0x03`},
		{"suback of QoS 2", `
			out SUBSCRIBE 1 a:1
			in  SUBACK 1 2 ! suback broker`, `raised: "a" from QoS 1 to 2`},
		{"suback with a code of MQTT 5.0", `
			out SUBSCRIBE 1 a:1
			in  SUBACK 1 135 ! suback broker`, `reserved: "a" with code 0x87`},
		{"suback of MQTT 5.0", `
			level 5
			out SUBSCRIBE 1 a:1
			in  SUBACK 1 135 ! suback broker`, `refused: "a" with code 0x87`},
		{"suback count", `
			out SUBSCRIBE 1 a:1 b:2
			in  SUBACK 1 1 ! suback broker`, "count: 1 codes for 2 filters"},
		{"suback unasked", `
			in  SUBACK 1 1 ! suback broker`, "unasked: SUBACK 1 for no SUBSCRIBE"},
		{"first DUP, given before", `
			out PUBLISH 1 q1 m1 dup ! dup-flag publisher`, "DUP=1 on the first transmission of PUBLISH 1, given before this connection"},
		{"first DUP, given on it", `
			out PUBLISH 1 q1 m1 dup young ! dup-flag publisher`, "DUP=1 on the first transmission of PUBLISH 1, given on this connection"},
		{"first DUP, given with the CONNACK", `
			out PUBLISH 1 q1 m1 dup at=1002 ! dup-flag publisher`, "DUP=1 on the first transmission of PUBLISH 1, given on this connection"},
		{"acknowledgement of nothing", `
			out PUBACK 1 ! unknown-ack subscriber`, "PUBACK 1 written and nothing read that it answers"},
		{"acknowledgement of another step", `
			in  PUBLISH 1 q1 m1
			out PUBREC 1 ! unknown-ack subscriber`, "PUBREC 1 written and nothing read that it answers"},
		{"acknowledgement once more", `
			in  PUBLISH 1 q1 m1
			out PUBACK 1
			out PUBACK 1 ! unknown-ack subscriber`, "PUBACK 1 written again"},
	} {
		h := newPlayer(t)
		h.play(connect + c.text)
		var got []string
		for _, b := range h.breachs {
			got = append(got, b.Detail)
		}
		if got := strings.Join(got, "; "); got != c.want {
			t.Errorf("%s: %s", c.name, got)
		}
	}
}

func TestOutstanding(t *testing.T) {
	h := newPlayer(t)
	h.play(connect + `
		out PUBLISH 1 q1 m1
		out PUBLISH 9 q2 m2
		in  PUBREC 9
		out PUBLISH 3 q2 m3
		in  PUBREC 3
		out PUBREL 3
		out PUBLISH 4 q1 m4
		in  PUBACK 4
		in  PUBLISH 1 q1 m11
		in  PUBLISH 2 q2 m12
		out PUBREC 2
		in  PUBLISH 3 q2 m13
		out PUBREC 3
		in  PUBREL 3
		in  PUBLISH 4 q2 raw
		in  PUBLISH 5 q1 m14
		out PUBACK 5` + resume + `
		out PUBREL 9`)
	msg := func(seq uint64, sent timeline.Instant) Message { return Message{mqtt.KindData, 1, seq, sent} }
	want := []Open{
		{Out: true, ID: 1, QoS: 1, Message: msg(1, 1003), Step: Published, Conn: 1},
		{Out: true, ID: 9, QoS: 2, Message: msg(2, 1004), Step: Released, Conn: 2},
		{Out: true, ID: 3, QoS: 2, Message: msg(3, 1006), Step: Released, Conn: 1},
		{ID: 1, QoS: 1, Message: msg(11, 1011), Step: Delivered, Conn: 1},
		{ID: 2, QoS: 2, Message: msg(12, 1012), Step: Answered, Conn: 1},
		{ID: 3, QoS: 2, Message: msg(13, 1014), Step: Discharged, Conn: 1},
		{ID: 4, QoS: 2, Step: Delivered, Conn: 1},
	}
	if d := cmp.Diff(want, h.Outstanding()); d != "" {
		t.Error(d)
	}

	// The broker loses the session: its half is gone, the client's is not.
	h.play(connect)
	for i := range want {
		want[i].Lapsed = true
	}
	if d := cmp.Diff(want[:3], h.Outstanding()); d != "" {
		t.Error(d)
	}
	h.play(`out PUBREL 9`)
	want[1].Lapsed, want[1].Conn = false, 3
	if d := cmp.Diff(want[:3], h.Outstanding()); d != "" {
		t.Error(d)
	}

	// A clean session has nothing to bring to an end.
	h.play(cleanStart)
	if got := h.Outstanding(); len(got) != 0 {
		t.Errorf("%+v", got)
	}
}

// What was under way in a clean session went with it, and is nothing that the
// broker of the next one has forgotten.
func TestOutstandingOfCleanSession(t *testing.T) {
	h := newPlayer(t)
	h.play(cleanStart + `
		out PUBLISH 1 q1 m1`)
	if got := h.Outstanding(); len(got) != 1 || got[0].Lapsed {
		t.Errorf("while it lasts: %+v", got)
	}
	h.play(connect)
	if got := h.Outstanding(); len(got) != 0 {
		t.Errorf("in the next session: %+v", got)
	}
}

func TestRoomForConnections(t *testing.T) {
	h := newPlayer(t)
	for range 100 {
		h.play(resume + "end")
	}
	if n := len(h.conns); n > 3 {
		t.Errorf("%d connections are kept", n)
	}
}

func TestStepNames(t *testing.T) {
	for s := None; s <= Ended; s++ {
		if s.String() == "" {
			t.Errorf("step %d has no name", s)
		}
	}
}
