package mqtt

import (
	"fmt"
	"sync"
)

// keepCap is the largest buffer, in bytes, that a Framer keeps between
// packets. A fleet has two Framers for each of many thousand connections.
const keepCap = 512

// packets lends a Packet for the time of one Feed, so that an idle Framer need
// not hold one.
var packets = sync.Pool{New: func() any { return new(Packet) }}

// Framer cuts one direction of one connection into packets. The zero value is
// ready. It holds no buffer until a packet comes in pieces, and then only the
// part that is needed for a Packet: a payload streams through its checksum.
// It is not safe for concurrent use.
type Framer struct {
	buf   []byte // start of the body so far, when the body comes in pieces
	err   error  // latched
	first int64  // instant of the packet's first byte
	rem   uint32 // remaining length, section 2.2.3, as far as it is read
	got   uint32 // bytes of the body so far
	want  uint32 // bytes of the body that buf is to hold
	vh    uint32 // PUBLISH: bytes of the variable header, 0 = not known yet
	sum   uint32 // PUBLISH: checksum so far
	b0    byte   // first byte
	fixed byte   // bytes of the fixed header so far
	body  bool   // the fixed header is complete
}

// Feed takes the next chunk of the stream, split anywhere, that was read or is
// to be written at the instant at. It calls emit for each packet that the chunk
// completes. A packet that lies whole in the chunk is not copied. The first
// error, ErrMalformed, is latched: nothing is emitted after it.
func (f *Framer) Feed(chunk []byte, at int64, emit func(*Packet)) error {
	var p *Packet
	for len(chunk) > 0 && f.err == nil {
		if !f.body {
			chunk = f.readFixed(chunk, at)
			if !f.body || f.err != nil {
				continue
			}
		}
		whole := f.got == 0 && uint64(len(chunk)) >= uint64(f.rem)
		var start []byte
		if whole {
			start, chunk = chunk[:f.rem:f.rem], chunk[f.rem:]
		} else {
			chunk = f.collect(chunk)
			if f.got < f.rem || f.err != nil {
				continue
			}
			start = f.buf
		}
		if p == nil {
			p = packets.Get().(*Packet)
		}
		if f.decode(p, start, whole) {
			emit(p)
			f.next()
		}
	}
	if p != nil {
		*p = Packet{} // let go of the caller's bytes
		packets.Put(p)
	}
	return f.err
}

// Partial is the number of bytes of a packet that is not complete yet.
func (f *Framer) Partial() int { return int(f.fixed) + int(f.got) }

// CopyFrom makes f continue where src stands, with a buffer of its own.
func (f *Framer) CopyFrom(src *Framer) {
	buf := append(f.buf[:0], src.buf...)
	*f = *src
	f.buf = buf
}

// next makes ready for the next packet and lets a large buffer go.
func (f *Framer) next() {
	buf := f.buf[:0]
	if cap(buf) > keepCap {
		buf = nil
	}
	*f = Framer{buf: buf}
}

func (f *Framer) fail(format string, args ...any) {
	f.err = fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...))
}

// readFixed reads the fixed header, section 2.2, and gives back the rest of the
// chunk.
func (f *Framer) readFixed(chunk []byte, at int64) []byte {
	if f.fixed == 0 {
		f.b0, f.first, f.fixed = chunk[0], at, 1
		chunk = chunk[1:]
		if t := Type(f.b0 >> 4); t < CONNECT || t > DISCONNECT {
			f.fail("packet type %d is reserved", byte(t))
			return chunk
		}
	}
	for len(chunk) > 0 {
		b := chunk[0]
		chunk = chunk[1:]
		f.rem |= uint32(b&0x7f) << (7 * (f.fixed - 1))
		f.fixed++
		if b < 0x80 {
			f.startBody()
			return chunk
		}
		if f.fixed == 5 { // four bytes of length at most
			f.fail("remaining length does not end")
			return chunk
		}
	}
	return chunk
}

// lengths are the remaining lengths that a type can have.
var lengths = [...]struct{ least, most uint32 }{
	CONNECT: {12, maxRemaining}, CONNACK: {2, 2}, PUBLISH: {2, maxRemaining},
	PUBACK: {2, 2}, PUBREC: {2, 2}, PUBREL: {2, 2}, PUBCOMP: {2, 2},
	SUBSCRIBE: {2, maxRemaining}, SUBACK: {2, maxRemaining},
	UNSUBSCRIBE: {2, maxRemaining}, UNSUBACK: {2, 2},
	PINGREQ: {0, 0}, PINGRESP: {0, 0}, DISCONNECT: {0, 0},
}

// startBody checks what the fixed header alone can show. The flags of other
// types than PUBLISH are left to whoever judges [MQTT-2.2.2-2]: they do not
// break the framing, client libraries let them pass, and an error here would
// make the tap blind for the rest of the connection.
func (f *Framer) startBody() {
	t := Type(f.b0 >> 4)
	f.body, f.want = true, min(f.rem, MaxBody)
	length := lengths[t]
	if t == PUBLISH {
		f.want = 2 // the topic's length says how much more
		length.least += f.idSize()
		if f.b0&6 == 6 { // [MQTT-3.3.1-4]
			f.fail("PUBLISH with both QoS bits set")
			return
		}
	}
	if f.rem < length.least || f.rem > length.most {
		f.fail("%v with a remaining length of %d", t, f.rem)
	}
}

// idSize is the size of a PUBLISH's packet identifier [MQTT-2.3.1-5].
func (f *Framer) idSize() uint32 {
	if f.b0&6 != 0 {
		return 2
	}
	return 0
}

// publishHead gives the size of a PUBLISH's variable header, from its first two
// bytes.
func (f *Framer) publishHead(start []byte) uint32 {
	vh := 2 + uint32(start[0])<<8 + uint32(start[1]) + f.idSize()
	if vh > f.rem {
		f.fail("the topic of a PUBLISH goes beyond its end")
	}
	return vh
}

// collect takes bytes of a body that comes in pieces and gives back the rest of
// the chunk.
func (f *Framer) collect(chunk []byte) []byte {
	publish := Type(f.b0>>4) == PUBLISH
	for len(chunk) > 0 && f.got < f.rem {
		if missing := f.want - uint32(len(f.buf)); missing > 0 {
			n := min(int(missing), len(chunk))
			f.buf = append(f.buf, chunk[:n]...)
			f.got += uint32(n)
			chunk = chunk[n:]
			if !publish || uint32(len(f.buf)) < f.want {
				continue
			}
			if f.vh == 0 {
				if f.vh = f.publishHead(f.buf); f.err != nil {
					return chunk
				}
				f.want = f.vh + min(f.rem-f.vh, HeaderSize)
			} else if f.want-f.vh == HeaderSize {
				f.sum = sumHeader(f.buf[f.vh:])
			}
			continue
		}
		n := min(int(f.rem-f.got), len(chunk))
		if publish {
			f.sum = sumMore(f.sum, chunk[:n])
		}
		f.got += uint32(n)
		chunk = chunk[n:]
	}
	return chunk
}

// decode fills p from the start of the body, or from all of it when whole.
func (f *Framer) decode(p *Packet, start []byte, whole bool) bool {
	*p = Packet{
		Type: Type(f.b0 >> 4), Flags: f.b0 & 15,
		Size: int(f.fixed) + int(f.rem), First: f.first,
	}
	if p.Type != PUBLISH {
		p.cut = f.rem > MaxBody
		n := min(len(start), MaxBody)
		p.Body = start[:n:n]
		if p.Type.hasID() {
			p.ID = uint16(start[0])<<8 | uint16(start[1])
		}
		return true
	}
	vh := f.publishHead(start)
	if f.err != nil {
		return false
	}
	topicEnd := vh - f.idSize()
	p.Topic = start[2:topicEnd:topicEnd]
	if topicEnd < vh {
		p.ID = uint16(start[topicEnd])<<8 | uint16(start[topicEnd+1])
	}
	p.Payload = int(f.rem - vh)
	if whole {
		p.Header, p.HeaderErr = ParsePayload(start[vh:])
		return true
	}
	var sum uint32
	p.Header, sum, p.HeaderErr = readHeader(start[vh:])
	if p.HeaderErr == nil && sum != f.sum {
		p.HeaderErr = ErrChecksum
	}
	return true
}
