package ledger

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/rebound-mqtt/rebound/harness/mqtt"
	"github.com/rebound-mqtt/rebound/harness/timeline"
)

func roundTrip(t testing.TB, records []Record) []Record {
	t.Helper()
	var text bytes.Buffer
	if err := WriteAccounts(&text, slices.Values(records)); err != nil {
		t.Fatal(err)
	}
	written := text.String()
	back, err := ReadAccounts(&text)
	if err != nil {
		t.Fatal(err)
	}
	var again bytes.Buffer
	if err := WriteAccounts(&again, slices.Values(back)); err != nil {
		t.Fatal(err)
	}
	if again.String() != written {
		t.Fatalf("%s reads back as %s", written, again.String())
	}
	return back
}

// rich has a record of each kind with every field set.
func rich() *history {
	h := newHistory(1)
	h.Slots(1, 7, 1, 0)
	h.Queued(1, 1)
	h.write(1, 2, 4, 3).ack(1, 2).read(2, 1, 1)
	h.conn++
	h.write(3, 4).fresh().write(5).read(5).Handled("s", 1, 5)
	h.sentinel()
	h.Corrupt("s", []byte("t"), h.tick())
	return h
}

func TestAccountsFile(t *testing.T) {
	records := slices.Collect(rich().Accounts())
	if back := roundTrip(t, records); !reflect.DeepEqual(back, records) {
		t.Errorf("%+v reads back as %+v", records, back)
	}
	if len(records) != 4 {
		t.Fatalf("%d records", len(records))
	}

	var file bytes.Buffer
	if err := timeline.WriteMember(&file, func(w io.Writer) error { return WriteAccounts(w, slices.Values(records)) }); err != nil {
		t.Fatal(err)
	}
	zip, err := gzip.NewReader(bytes.NewReader(file.Bytes()[:file.Len()-9]))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ReadAccounts(zip); !errors.Is(err, timeline.ErrTruncated) {
		t.Errorf("a gzip member without its end: %v", err)
	}
}

func TestReadAccountsRefuses(t *testing.T) {
	var text bytes.Buffer
	if err := WriteAccounts(&text, rich().Accounts()); err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(text.String(), "\n")
	for name, c := range map[string]struct {
		tail string
		want error
	}{
		"no newline":       {strings.TrimSuffix(lines[2], "\n"), timeline.ErrTruncated},
		"half a line":      {lines[2][:10], timeline.ErrTruncated},
		"no record":        {"{}\n", timeline.ErrCorrupt},
		"two records":      {`{"stray":{},"stream":{}}` + "\n", timeline.ErrCorrupt},
		"no JSON":          {"x\n", timeline.ErrCorrupt},
		"empty line":       {"\n", timeline.ErrCorrupt},
		"bad set":          {`{"stream":{"attempted":"2,1"}}` + "\n", timeline.ErrCorrupt},
		"negative":         {`{"stream":{"missed":-1}}` + "\n", timeline.ErrCorrupt},
		"one copy is none": {`{"delivery":{"extra":[{"seq":1,"copies":1}]}}` + "\n", timeline.ErrCorrupt},
	} {
		records, err := ReadAccounts(strings.NewReader(lines[0] + lines[1] + c.tail))
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
		if len(records) != 2 {
			t.Errorf("%s: %d records before it, want 2", name, len(records))
		}
	}
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errors.New("disk full") }

func TestWriteAccountsFails(t *testing.T) {
	if err := WriteAccounts(failing{}, rich().Accounts()); err == nil || !strings.Contains(err.Error(), "disk full") {
		t.Error(err)
	}
}

func TestAccountsStopsWhenTold(t *testing.T) {
	h := rich()
	for want := 1; want <= 4; want++ {
		n := 0
		for range h.Accounts() {
			if n++; n == want {
				break
			}
		}
		if n != want {
			t.Errorf("%d records after a break at %d", n, want)
		}
	}
}

func TestStraysAreBounded(t *testing.T) {
	h := newHistory(1).write(1).ack(1).read(1).sentinel()
	for range maxStrays + 5 {
		h.Corrupt("s", []byte("t"), 1)
	}
	h.Delivered("s", mqtt.Delivery{Header: mqtt.Header{Run: run + 1}, Topic: []byte("x"), QoS: 0, DUP: false, Conn: 1}, 1)
	a := h.close(t)
	if a.QoS[1].Unexpected != maxStrays+5 || a.QoS[0].Unexpected != 1 || len(a.Exceptions) != maxStrays || a.Unlisted[Unexpected] != 6 {
		t.Errorf("%d and %d unexpected, %d listed, %d not", a.QoS[1].Unexpected, a.QoS[0].Unexpected, len(a.Exceptions), a.Unlisted[Unexpected])
	}
	if got := h.Totals().Unexpected; got != maxStrays+6 {
		t.Errorf("%d in the totals", got)
	}
}

func FuzzReadAccounts(f *testing.F) {
	var text bytes.Buffer
	if err := WriteAccounts(&text, rich().Accounts()); err != nil {
		f.Fatal(err)
	}
	f.Add(text.Bytes())
	f.Add([]byte(`{"stream":{"id":1,"qos":1,"attempted":"1-9","acked":"1-9"}}` + "\n" + `{"delivery":{"stream":1,"client":"s","epoch":1,"granted":1,"from":1,"to":9,"delivered":"1-3","extra":[{"seq":1,"copies":3}]}}` + "\n"))
	f.Add([]byte(`{"stream":{"id":1,"qos":2,"attempted":"1-9","acked":"1-8","released":"1-7","completed":"1-6","abandoned":"8","conn":2,"exchanges":true,"sentinel_acked":5,"open":[{"seq":9,"conn":2}]}}` + "\n" + `{"delivery":{"stream":1,"client":"s","group":"$share/g/t","epoch":1,"granted":2,"delivered":"1-3","answered":"1-2","pending":[{"conn":1,"seqs":"3"}],"handled":"1","calls":[{"seq":1,"n":2}],"exchanges":true}}` + "\n" + `{"closing":{"records":2}}` + "\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		records, err := ReadAccounts(bytes.NewReader(text))
		if err == nil {
			roundTrip(t, records)
		}
		for _, r := range records {
			if !small(r) {
				return // MaxListed bounds it, but not to the time of a fuzz run
			}
		}
		Close(records, Situation{Drained: true})
	})
}

// small says that no set of a record is large.
func small(r Record) bool {
	var sets []Set
	if s := r.Stream; s != nil {
		sets = append(sets, s.Attempted, s.Acked, s.Completed)
	}
	if d := r.Delivery; d != nil {
		sets = append(sets, d.Delivered, d.Answered, d.Handled, d.Misrouted, d.WrongQoS, d.Below)
		for _, p := range d.Pending {
			sets = append(sets, p.Seqs)
		}
	}
	return !slices.ContainsFunc(sets, func(s Set) bool { return s.Len() >= 1000 })
}
