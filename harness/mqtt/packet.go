package mqtt

import (
	"errors"
	"fmt"
)

// MaxBody is the most bytes of variable header and payload that a Packet other
// than PUBLISH carries in Body; what goes beyond is counted in Size and skipped.
const MaxBody = 64 << 10

var (
	// ErrMalformed says that bytes are no MQTT 3.1.1 control packet.
	ErrMalformed = errors.New("malformed MQTT packet")
	// ErrTruncated says that a packet is longer than MaxBody, so that what was
	// asked for lies beyond the bytes that were kept.
	ErrTruncated = errors.New("packet body longer than what is kept")
	// ErrLevel says that a CONNECT speaks another protocol level than 3 or 4.
	ErrLevel = errors.New("protocol level not known")
	// ErrType says that a packet was asked for what only another type has.
	ErrType = errors.New("wrong packet type")
	// ErrNoHeader says that a payload does not begin with our header.
	ErrNoHeader = errors.New("payload without our header")
	// ErrChecksum says that a payload begins with our header and was changed on
	// its way.
	ErrChecksum = errors.New("payload checksum differs")
)

// Type is the type of a control packet, MQTT 3.1.1 section 2.2.1.
type Type byte

// The types of control packets.
const (
	CONNECT Type = 1 + iota
	CONNACK
	PUBLISH
	PUBACK
	PUBREC
	PUBREL
	PUBCOMP
	SUBSCRIBE
	SUBACK
	UNSUBSCRIBE
	UNSUBACK
	PINGREQ
	PINGRESP
	DISCONNECT
)

var typeNames = [...]string{
	CONNECT: "CONNECT", CONNACK: "CONNACK", PUBLISH: "PUBLISH", PUBACK: "PUBACK",
	PUBREC: "PUBREC", PUBREL: "PUBREL", PUBCOMP: "PUBCOMP", SUBSCRIBE: "SUBSCRIBE",
	SUBACK: "SUBACK", UNSUBSCRIBE: "UNSUBSCRIBE", UNSUBACK: "UNSUBACK",
	PINGREQ: "PINGREQ", PINGRESP: "PINGRESP", DISCONNECT: "DISCONNECT",
}

// String gives the name as the standard writes it, such as PUBLISH.
func (t Type) String() string {
	if t < CONNECT || t > DISCONNECT {
		return fmt.Sprintf("RESERVED(%d)", byte(t))
	}
	return typeNames[t]
}

// hasID reports whether the variable header of every packet of this type
// begins with a packet identifier (PUBLISH has its own place for it).
func (t Type) hasID() bool {
	switch t {
	case PUBACK, PUBREC, PUBREL, PUBCOMP, SUBSCRIBE, SUBACK, UNSUBSCRIBE, UNSUBACK:
		return true
	}
	return false
}

// Packet is one whole control packet. It and its slices are valid only during
// the callback that hands it over.
type Packet struct {
	Type  Type
	Flags byte   // low four bits of the first byte
	ID    uint16 // where the packet has one, else 0
	Size  int    // bytes of the whole packet, fixed header included

	Topic     []byte // PUBLISH
	Payload   int    // PUBLISH: bytes of the payload
	Header    Header // PUBLISH: our payload header, set when HeaderErr is nil or ErrChecksum
	HeaderErr error  // PUBLISH: nil, ErrNoHeader or ErrChecksum

	Body  []byte // variable header and payload of all types but PUBLISH, at most MaxBody
	First int64  // instant of the chunk that carried the first byte

	cut bool // Body was cut at MaxBody
}

// QoS is the quality of service of a PUBLISH.
func (p *Packet) QoS() byte { return p.Flags >> 1 & 3 }

// Dup reports whether a PUBLISH carries the DUP flag.
func (p *Packet) Dup() bool { return p.Flags&8 != 0 }

// Retain reports whether a PUBLISH carries the RETAIN flag.
func (p *Packet) Retain() bool { return p.Flags&1 != 0 }

// Connack reads a CONNACK: session present and return code, section 3.2.2.
func (p *Packet) Connack() (sessionPresent bool, code byte, err error) {
	r, err := p.open(CONNACK)
	if err != nil {
		return false, 0, err
	}
	flags, code := r.u8(), r.u8()
	return flags&1 != 0, code, p.close(&r)
}

// ConnectInfo is what a CONNECT asks for, section 3.1.
type ConnectInfo struct {
	Level     byte // protocol level; writing 0 means 4, which is MQTT 3.1.1
	ClientID  string
	Clean     bool
	KeepAlive int // seconds, 0 = off

	WillTopic   string // "" = no Will
	WillPayload []byte
	WillQoS     byte
	WillRetain  bool

	Username string
	Password []byte `json:"-"` // never into evidence
}

// Connect reads a CONNECT.
func (p *Packet) Connect() (ConnectInfo, error) {
	r, err := p.open(CONNECT)
	if err != nil {
		return ConnectInfo{}, err
	}
	r.bytes() // protocol name: the level says it all
	level, flags := r.u8(), r.u8()
	c := ConnectInfo{Level: level, Clean: flags&2 != 0, KeepAlive: int(r.u16())}
	// A bridge marks itself with the top bit of the level.
	if v := level & 0x7f; !r.short && v != 3 && v != 4 {
		return c, fmt.Errorf("%w: %d", ErrLevel, level)
	}
	if !r.short && flags&1 != 0 { // [MQTT-3.1.2-3]
		return c, fmt.Errorf("%w: reserved flag of CONNECT set", ErrMalformed)
	}
	c.ClientID = string(r.bytes())
	if flags&4 != 0 {
		c.WillTopic = string(r.bytes())
		c.WillPayload = append([]byte(nil), r.bytes()...)
		c.WillQoS, c.WillRetain = flags>>3&3, flags&0x20 != 0
		if !r.short && (c.WillTopic == "" || c.WillQoS == 3) { // [MQTT-3.1.2-14]
			return c, fmt.Errorf("%w: impossible Will in CONNECT", ErrMalformed)
		}
	}
	if flags&0x80 != 0 {
		c.Username = string(r.bytes())
	}
	if flags&0x40 != 0 {
		c.Password = append([]byte{}, r.bytes()...)
	}
	return c, p.close(&r)
}

// Filter is one topic filter of a SUBSCRIBE with the QoS that is asked for.
type Filter struct {
	Topic string
	QoS   byte
}

// Subscribe reads the filters of a SUBSCRIBE; there is at least one
// [MQTT-3.8.3-3].
func (p *Packet) Subscribe() ([]Filter, error) {
	r, err := p.open(SUBSCRIBE)
	if err != nil {
		return nil, err
	}
	var filters []Filter
	for r.u16(); len(r.b) > 0; {
		f := Filter{Topic: string(r.bytes()), QoS: r.u8()}
		if r.short {
			break
		}
		filters = append(filters, f)
	}
	return filters, p.list(&r, len(filters))
}

// Unsubscribe reads the filters of an UNSUBSCRIBE; there is at least one
// [MQTT-3.10.3-2].
func (p *Packet) Unsubscribe() ([]string, error) {
	r, err := p.open(UNSUBSCRIBE)
	if err != nil {
		return nil, err
	}
	var filters []string
	for r.u16(); len(r.b) > 0; {
		f := r.bytes()
		if r.short {
			break
		}
		filters = append(filters, string(f))
	}
	return filters, p.list(&r, len(filters))
}

// Suback gives the return codes of a SUBACK in the order of the filters of its
// SUBSCRIBE [MQTT-3.9.3-1]: the granted QoS, or 0x80 for a refusal. The slice
// is valid during the callback.
func (p *Packet) Suback() ([]byte, error) {
	r, err := p.open(SUBACK)
	if err != nil {
		return nil, err
	}
	r.u16()
	codes := r.b
	r.b = nil
	return codes, p.list(&r, len(codes))
}

func (p *Packet) open(want Type) (reader, error) {
	if p.Type != want {
		return reader{}, fmt.Errorf("%w: %v is no %v", ErrType, p.Type, want)
	}
	return reader{b: p.Body}, nil
}

// close says what reading a body came to: all of it must have been used up.
func (p *Packet) close(r *reader) error {
	switch {
	case r.short && p.cut:
		return fmt.Errorf("%v: %w", p.Type, ErrTruncated)
	case r.short:
		return fmt.Errorf("%w: %v ends inside a field", ErrMalformed, p.Type)
	case len(r.b) > 0:
		return fmt.Errorf("%w: %v has bytes after its last field", ErrMalformed, p.Type)
	}
	return nil
}

// list closes a body that is a list of n entries.
func (p *Packet) list(r *reader, n int) error {
	if err := p.close(r); err != nil {
		return err
	}
	if p.cut {
		return fmt.Errorf("%v: %w", p.Type, ErrTruncated)
	}
	if n == 0 {
		return fmt.Errorf("%w: %v without an entry", ErrMalformed, p.Type)
	}
	return nil
}

// reader takes fields off a body; short says that one was missing.
type reader struct {
	b     []byte
	short bool
}

func (r *reader) take(n int) []byte {
	if len(r.b) < n {
		r.b, r.short = nil, true
		return nil
	}
	b := r.b[:n:n]
	r.b = r.b[n:]
	return b
}

func (r *reader) u8() byte {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) u16() uint16 {
	if b := r.take(2); b != nil {
		return uint16(b[0])<<8 | uint16(b[1])
	}
	return 0
}

// bytes takes a field with a two-byte length, section 1.5.3.
func (r *reader) bytes() []byte { return r.take(int(r.u16())) }
