package mqtt

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// Kind says what a message of ours is for.
type Kind byte

// The kinds of messages.
const (
	KindData     Kind = 1 + iota // traffic of the scenario, accounted for
	KindProbe                    // shows that a client is useful again
	KindSentinel                 // closes a stream in the drain
	KindWill                     // a client's Will: Stream is the number of its fleet in the plan, Seq its own there, both from 1
)

// String gives the kind's name.
func (k Kind) String() string {
	switch k {
	case KindData:
		return "data"
	case KindProbe:
		return "probe"
	case KindSentinel:
		return "sentinel"
	case KindWill:
		return "will"
	}
	return fmt.Sprintf("kind(%d)", byte(k))
}

// Header is what the harness writes at the start of each payload of its own.
type Header struct {
	Kind     Kind
	Run      uint64 // run id, so that another run's message is told apart
	Stream   uint32
	Seq      uint64
	Intended int64 // instant that the timetable wanted, ns on the run's clock
	Sent     int64 // instant just before the message was given to the library, ns
}

// HeaderSize is the size of Header in a payload, in bytes, and so the smallest
// payload of ours.
//
//	0 magic "RBND"      8 run        32 sent
//	4 version           16 seq       40 stream
//	5 kind              24 intended  44 CRC-32C of all other bytes of the payload
//	6 zero, two bytes
const HeaderSize = 48

const (
	magic   = "RBND"
	version = 1
	sumAt   = 44
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// PutPayload fills dst with the header, padding that follows from the header
// alone, and the checksum over both. It panics if len(dst) < HeaderSize.
func PutPayload(dst []byte, h Header) {
	_ = dst[HeaderSize-1]
	copy(dst, magic)
	dst[4], dst[5], dst[6], dst[7] = version, byte(h.Kind), 0, 0
	be := binary.BigEndian
	be.PutUint64(dst[8:], h.Run)
	be.PutUint64(dst[16:], h.Seq)
	be.PutUint64(dst[24:], uint64(h.Intended))
	be.PutUint64(dst[32:], uint64(h.Sent))
	be.PutUint32(dst[40:], h.Stream)
	pad(dst[HeaderSize:], h.Run^h.Seq<<32^uint64(h.Stream))
	be.PutUint32(dst[sumAt:], checksum(dst))
}

// ParsePayload reads the header back. The error is ErrNoHeader when the payload
// is not ours, and ErrChecksum when it is ours and was changed; in that case
// the header is given as it reads.
func ParsePayload(b []byte) (Header, error) {
	h, sum, err := readHeader(b)
	if err == nil && sum != checksum(b) {
		err = ErrChecksum
	}
	return h, err
}

// readHeader reads the header and the checksum that it states.
func readHeader(b []byte) (Header, uint32, error) {
	if len(b) < HeaderSize || string(b[:4]) != magic || b[4] != version || b[6]|b[7] != 0 {
		return Header{}, 0, ErrNoHeader
	}
	be := binary.BigEndian
	return Header{
		Kind:     Kind(b[5]),
		Run:      be.Uint64(b[8:]),
		Seq:      be.Uint64(b[16:]),
		Intended: int64(be.Uint64(b[24:])),
		Sent:     int64(be.Uint64(b[32:])),
		Stream:   be.Uint32(b[40:]),
	}, be.Uint32(b[sumAt:]), nil
}

// checksum covers a whole payload but the checksum's own four bytes.
func checksum(b []byte) uint32 { return sumMore(sumHeader(b), b[HeaderSize:]) }

// sumHeader begins a checksum with the header, sumMore goes on with padding:
// a payload that comes in many chunks is checked without keeping it.
func sumHeader(b []byte) uint32           { return crc32.Update(0, castagnoli, b[:sumAt]) }
func sumMore(sum uint32, b []byte) uint32 { return crc32.Update(sum, castagnoli, b) }

// pad fills b with a pseudo-random sequence (a Weyl sequence, mixed), so that a
// shifted or swapped part shows in the checksum as constant padding would not.
func pad(b []byte, x uint64) {
	var w [8]byte
	for len(b) > 0 {
		x += 0x9e3779b97f4a7c15
		z := x
		z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
		z = (z ^ z>>27) * 0x94d049bb133111eb
		binary.BigEndian.PutUint64(w[:], z^z>>31)
		b = b[copy(b, w[:]):]
	}
}
