package broker

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
)

func TestParseMessage(t *testing.T) {
	for _, tc := range []struct{ line, want string }{
		{`{"v":1,"type":"stats"}`, ""},
		{`{"v":1,"type":"ready","ready":{"addresses":["tcp://127.0.0.1:1"],"pid":2},"later":"ignored"}`, ""},
		{`{"v":2,"type":"stats"}`, "protocol version 2"},
		{`{"type":"stats"}`, "protocol version 0"},
		{`{"v":1,"type":"start"}`, "unknown or incomplete"},
		{`{"v":1,"type":"ready","ready":{}}`, "unknown or incomplete"},
		{`{"v":1,"type":"failed"}`, "unknown or incomplete"},
		{`{"v":1,"type":"gate"}`, "unknown or incomplete"},
		{`{"v":1,"type":"gate","gate":{"name":"a"}}`, ""},
		{`{"v":1,"type":"gate","gate":{"name":"a","slow_auth":{"delay_ns":"1s"}}}`, "is no message"},
		{`{"v":1,"type":"tally"}`, "unknown or incomplete"},
		{`{"v":1,"type":"reset"}`, "unknown or incomplete"},
		{`{"v":1,"type":"reset","reset":{"client_ids":["a"]}}`, ""},
		{`{"v":1,"type":"closed"}`, "unknown or incomplete"},
		{`{"v":1,"type":"kick"}`, "unknown or incomplete"},
		{`{"v":1,"type":"stats"} {}`, "is no message"},
		{`PASS`, "is no message"},
		{``, "is no message"},
		{strings.Repeat(" ", maxControlLine+1), "the limit is"},
	} {
		_, err := parseMessage([]byte(tc.line))
		if tc.want == "" && err != nil || tc.want != "" && (!errors.Is(err, ErrControl) || !strings.Contains(err.Error(), tc.want)) {
			t.Errorf("%.60q: %v, want %q", tc.line, err, tc.want)
		}
	}
}

func TestControlReceive(t *testing.T) {
	for _, tc := range []struct {
		in   string
		want error
	}{
		{"", io.EOF},
		{`{"v":1,"type":"stats"}`, io.ErrUnexpectedEOF}, // cut off
		{strings.Repeat("x", 2*maxControlLine), ErrControl},
	} {
		if _, err := newControl(strings.NewReader(tc.in), nil).receive(); !errors.Is(err, tc.want) {
			t.Errorf("%.30q: %v, want %v", tc.in, err, tc.want)
		}
	}
}

func FuzzParseMessage(f *testing.F) {
	f.Add([]byte(`{"v":1,"type":"start","start":{"monotonic_ns":5,"addresses":4,"writes_pending":64,"endpoint_addr":"127.0.0.1:0"}}`))
	f.Add([]byte(`{"v":1,"type":"ready","ready":{"addresses":["tcp://127.0.0.1:1"],"endpoint":"http://127.0.0.1:2","pid":3,"at":4}}`))
	f.Add([]byte(`{"v":1,"type":"failed","failed":"why"}`))
	f.Add([]byte(`{"v":1,"type":"stats","stats":{"at":1,"clients":2,"dropped":3}}`))
	f.Add([]byte(`{"v":1,"type":"gate","gate":{"name":"storm/1/slow-auth","clients":"dev-([0-9]+)","seed":7,"slow_auth":{"delay_ns":100000000,"distribution":"exponential","max_ns":1000000000,"workers":8,"queue":100}}}`))
	f.Add([]byte(`{"v":1,"type":"gate","gate":{"name":"a","reject_auth":{"share":0.3,"code":5}}}`))
	f.Add([]byte(`{"v":1,"type":"gate","gate":{"name":"a","connect_limit":{"rate":500,"burst":50,"then":"hang"}}}`))
	f.Add([]byte(`{"v":1,"type":"gate","gate":{"name":"a","subscribe_slow":{"delay_ns":5}}}`))
	f.Add([]byte(`{"v":1,"type":"gate","gate":{"name":"a","publish_quota":{"rate":0.5,"burst":1,"then":"delay"}}}`))
	f.Add([]byte(`{"v":1,"type":"tally","tally":{"seen":5,"passed":1,"refused":1,"closed":1,"gone":1,"held":1,"delayed":2}}`))
	f.Add([]byte(`{"v":1,"type":"reset","reset":{"client_ids":["dev-1","dev-2"]}}`))
	f.Add([]byte(`{"v":1,"type":"closed","closed":{"resets":[{"found":true,"at":7},{},{"err":"why"}]}}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		m, err := parseMessage(line)
		if err != nil {
			return
		}
		// What was understood is written and read back the same.
		var wire bytes.Buffer
		if err := newControl(nil, &wire).send(m); errors.Is(err, ErrControl) {
			return // escapes made it longer than a line may be
		} else if err != nil {
			t.Fatal(err)
		}
		again, err := newControl(&wire, nil).receive()
		if err != nil || !reflect.DeepEqual(m, again) {
			t.Fatalf("%+v\n%+v\n%v", m, again, err)
		}
	})
}
