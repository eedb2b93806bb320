package measure

import (
	"bytes"
	"compress/zlib"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/rebound-mqtt/rebound/reports"
)

// maxEncoded bounds the text of one histogram: all buckets of either unit,
// full and incompressible, stay below it.
const maxEncoded = 512 << 10

// Encode gives the HdrHistogram V2 compressed form in base64, as an interval
// log holds it. It does not hold Overflow.
func (h *Hist) Encode() string {
	b, err := h.hdr.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
	if err != nil {
		panic("measure: encoding into memory: " + err.Error()) // no input leads here
	}
	return string(b)
}

// DecodeHist reads what Encode wrote. It refuses other ranges and precisions
// than those of the unit, with ErrHistogram; Overflow is 0 (see AddOverflow).
func DecodeHist(u Unit, s string) (*Hist, error) {
	if len(s) > maxEncoded {
		return nil, fmt.Errorf("%w: %d characters, more than %d", ErrHistogram, len(s), maxEncoded)
	}
	// The library makes room for any range that a header asks for, up to
	// hundreds of megabytes, so the header is checked before it reads.
	if err := checkGeometry(u, s); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrHistogram, err)
	}
	d, err := hdrhistogram.Decode([]byte(s))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrHistogram, err)
	}
	low, high := u.span()
	return &Hist{unit: u, lowest: low, highest: high, hdr: d, rough: true}, nil
}

// header is the head of an inflated V2 histogram, big-endian.
type header struct {
	Cookie, Payload, Offset, Digits int32
	Lowest, Highest                 int64
	Ratio                           float64
}

func checkGeometry(u Unit, s string) error {
	raw := base64.NewDecoder(base64.StdEncoding, bytes.NewReader([]byte(s)))
	if _, err := io.CopyN(io.Discard, raw, 8); err != nil { // cookie and length of the compressed part
		return fmt.Errorf("head: %w", err)
	}
	z, err := zlib.NewReader(raw)
	if err != nil {
		return fmt.Errorf("compressed part: %w", err)
	}
	defer func() { _ = z.Close() }() // reading from memory: nothing to lose
	var h header
	if err := binary.Read(z, binary.BigEndian, &h); err != nil {
		return fmt.Errorf("inflated head: %w", err)
	}
	low, high := u.span()
	if h.Lowest != low || h.Highest != high || h.Digits != digits {
		return fmt.Errorf("range %d to %d with %d digits, want %d to %d with %d", h.Lowest, h.Highest, h.Digits, low, high, digits)
	}
	return nil
}

// To fills the value fields of r (Unit, N, Overflow, V2) from the histogram;
// the caller has named fleet, phase, metric and time.
func (h *Hist) To(r reports.Histogram) reports.Histogram {
	r.Unit, r.N, r.Overflow, r.V2 = string(h.unit), h.N(), h.overflow, h.Encode()
	return r
}

// HistOf reads the histogram of a report back, with its overflow.
func HistOf(r reports.Histogram) (*Hist, error) {
	if u := Unit(r.Unit); u != Nanoseconds && u != Count {
		return nil, fmt.Errorf("%w: unit %q", ErrHistogram, r.Unit)
	}
	h, err := DecodeHist(Unit(r.Unit), r.V2)
	if err != nil {
		return nil, err
	}
	h.AddOverflow(r.Overflow)
	return h, nil
}
