package timeline

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func findings() []Finding {
	return []Finding{
		{Rule: "dup-flag", Charge: ChargeBroker, Fleet: "devices", Client: 3, ClientID: "d-3", N: 2, At: 7, Detail: "x", PacketID: 9, Stream: 1, Seq: 4},
		{Rule: RuleEnd, ClientID: "d-3", Kind: EndEOF, Last: []Packet{{At: 1, Out: true, Type: "CONNECT", Bytes: 20}}},
		{Rule: "dup-flag", Warn: true, Count: 12},
	}
}

func TestFindingsRoundTrip(t *testing.T) {
	var b bytes.Buffer
	for _, f := range findings() { // a member each, as the flushes of a run write them
		if err := WriteMember(&b, func(w io.Writer) error { return WriteFindings(w, []Finding{f}) }); err != nil {
			t.Fatal(err)
		}
	}
	whole := b.Bytes()
	got, err := ReadFindings(bytes.NewReader(whole))
	if err != nil || cmp.Diff(findings(), got) != "" {
		t.Errorf("%v\n%s", err, cmp.Diff(findings(), got))
	}
	got, err = ReadFindings(bytes.NewReader(whole[:len(whole)-8]))
	if !errors.Is(err, ErrTruncated) || len(got) < 2 {
		t.Errorf("cut: %d findings, %v", len(got), err)
	}
}

func TestFindingsCorrupt(t *testing.T) {
	var b bytes.Buffer
	if err := WriteMember(&b, func(w io.Writer) error { _, err := io.WriteString(w, "{\"rule\": 1}\n"); return err }); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadFindings(&b); !errors.Is(err, ErrCorrupt) {
		t.Errorf("got %v", err)
	}
}

func FuzzReadFindings(f *testing.F) {
	var b bytes.Buffer
	if err := WriteMember(&b, func(w io.Writer) error { return WriteFindings(w, findings()) }); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Fuzz(func(t *testing.T, data []byte) {
		list, err := ReadFindings(bytes.NewReader(data))
		if err != nil {
			return
		}
		var again bytes.Buffer
		if err := WriteMember(&again, func(w io.Writer) error { return WriteFindings(w, list) }); err != nil {
			t.Fatal(err)
		}
		back, err := ReadFindings(&again)
		if err != nil || cmp.Diff(list, back) != "" {
			t.Errorf("%v\n%s", err, cmp.Diff(list, back))
		}
	})
}
