package timeline

import (
	"bufio"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
)

// What reading an evidence file can end with, besides errors of the reader.
var (
	// ErrTruncated says that a file stops in the middle: its writer was killed.
	// Everything before the break was returned.
	ErrTruncated = errors.New("evidence is truncated")
	// ErrCorrupt says that a file holds something that its writer never writes.
	ErrCorrupt = errors.New("evidence is corrupt")
)

// Lines calls line for each whole line of r, without its newline; the bytes are
// valid only during the call. Lines are numbered from 1. A line longer than
// limit bytes is ErrCorrupt. A last line without a newline is not whole: it is
// withheld and the result is ErrTruncated, as it is when r is a gzip stream
// that was cut short.
func Lines(r io.Reader, limit int, line func(n int, text []byte) error) error {
	in := bufio.NewReaderSize(r, 64<<10)
	var long []byte // a line that is longer than the reader's buffer
	for n := 1; ; n++ {
		long = long[:0]
		text, err := in.ReadSlice('\n')
		for errors.Is(err, bufio.ErrBufferFull) && len(long)+len(text) <= limit {
			long = append(long, text...)
			text, err = in.ReadSlice('\n')
		}
		if len(long) > 0 {
			long = append(long, text...)
			text = long
		}
		switch {
		case len(text) > limit+1 || errors.Is(err, bufio.ErrBufferFull):
			return fmt.Errorf("%w: line %d is longer than %d bytes", ErrCorrupt, n, limit)
		case err == io.EOF && len(text) == 0:
			return nil
		case err == io.EOF, errors.Is(err, io.ErrUnexpectedEOF):
			return fmt.Errorf("%w in line %d", ErrTruncated, n)
		case err != nil:
			return unreadable(err)
		}
		if err := line(n, text[:len(text)-1]); err != nil {
			return err
		}
	}
}

// WriteMember appends one gzip member to w and has fill write its content.
func WriteMember(w io.Writer, fill func(io.Writer) error) error {
	zip := gzip.NewWriter(w)
	if err := fill(zip); err != nil {
		return err
	}
	if err := zip.Close(); err != nil {
		return fmt.Errorf("end gzip member: %w", err)
	}
	return nil
}

// ReadMembers calls member with the content of each gzip member of r, in order.
// Only when member has read its content to the end without an error is the
// member known to be whole (its checksum was compared). No bytes are no
// members.
func ReadMembers(r io.Reader, member func(io.Reader) error) error {
	in := bufio.NewReaderSize(r, 64<<10) // a ByteReader, so that gzip reads no further than its member
	var zip *gzip.Reader
	for {
		if _, err := in.Peek(1); err == io.EOF {
			return nil
		} else if err != nil {
			return fmt.Errorf("read evidence: %w", err)
		}
		var err error
		if zip == nil {
			zip, err = gzip.NewReader(in)
		} else {
			err = zip.Reset(in)
		}
		if err != nil {
			return unreadable(err)
		}
		zip.Multistream(false)
		if err := member(zip); err != nil {
			return unreadable(err)
		}
		if _, err := io.Copy(io.Discard, zip); err != nil { // what member left unread
			return unreadable(err)
		}
	}
}

// unreadable puts an error of the decompressor into this package's words.
func unreadable(err error) error {
	switch {
	case errors.Is(err, ErrTruncated), errors.Is(err, ErrCorrupt):
		return err
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return fmt.Errorf("%w: %w", ErrTruncated, err)
	case errors.Is(err, gzip.ErrHeader), errors.Is(err, gzip.ErrChecksum), isFlate(err):
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return fmt.Errorf("read evidence: %w", err)
}
