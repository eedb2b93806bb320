package fleet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/rebound-mqtt/rebound/scenarios"
)

func TestClientID(t *testing.T) {
	for _, tt := range []struct{ template, want string }{
		{"dev-{run}-{index:06}", "dev-r1-000042"},
		{"{fleet}.{index}", "cars.42"},
		{"{index:1}{index:0}", "4242"},
		{"{index:}", "{index:}"},
		{"plain", "plain"},
	} {
		if got := ClientID(tt.template, "r1", "cars", 42); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.template, got, tt.want)
		}
	}
}

func TestPlainErrorsNameNoAddress(t *testing.T) {
	tcp := &net.TCPAddr{IP: net.IPv4(10, 1, 2, 3), Port: 1883}
	for _, tt := range []struct {
		err  error
		want string
	}{
		{&net.OpError{Op: "dial", Net: "tcp", Addr: tcp, Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}, "connection refused"},
		{&net.OpError{Op: "dial", Net: "tcp", Addr: tcp, Err: os.ErrDeadlineExceeded}, "i/o timeout"},
		{&net.DNSError{Err: "no such host", Name: "broker.secret", Server: "10.0.0.1:53"}, "lookup: no such host"},
		{fmt.Errorf("dial tcp 10.1.2.3:1883: %w", io.EOF), "dial tcp address: EOF"},
		{fmt.Errorf("write 10.1.2.3:99->[::1]:88: broken"), "write address: broken"},
		{context.DeadlineExceeded, "context deadline exceeded"},
	} {
		if got := plain(tt.err); got != tt.want {
			t.Errorf("%v: got %q, want %q", tt.err, got, tt.want)
		}
	}
}

// Whatever text an error has, its plain form holds no host:port.
func FuzzPlain(f *testing.F) {
	f.Add("dial tcp 10.1.2.3:1883: refused")
	f.Add("a:1->b:2 ::1:5")
	f.Fuzz(func(t *testing.T, text string) {
		for word := range strings.FieldsSeq(plain(errors.New(text))) {
			if address.MatchString(word) {
				t.Errorf("%q leaves %q", text, word)
			}
		}
	})
}

func plan(clients int, traffic ...scenarios.Traffic) *scenarios.Plan {
	return &scenarios.Plan{
		Fleets:  []scenarios.PlanFleet{{Clients: clients, Fleet: devices(false)}},
		Traffic: traffic,
	}
}

func cmds(each float64, qos byte) scenarios.Traffic {
	return scenarios.Traffic{From: "control", To: "devices", Topic: "rb/{client}/cmd", QoS: qos, Each: each, Payload: 64}
}

func TestStreams(t *testing.T) {
	p := plan(3, cmds(2, 1),
		scenarios.Traffic{From: "control", To: "devices", Topic: "news/{run}", Each: 5, Payload: 64},
		scenarios.Traffic{From: "control", To: "devices", Topic: "x/{client}", Total: 6, Payload: 64})
	streams, err := Streams(p, testRun, 2)
	if err != nil {
		t.Fatal(err)
	}
	want := []Stream{
		{ID: 1, Item: 0, From: "control", Publisher: "rb-control-t1-0", Topic: "rb/dev-t1-0000/cmd", QoS: 1, To: 0, Client: "dev-t1-0000", Rate: 2},
		{ID: 2, Item: 0, From: "control", Index: 1, Publisher: "rb-control-t1-1", Topic: "rb/dev-t1-0001/cmd", QoS: 1, To: 1, Client: "dev-t1-0001", Rate: 2},
		{ID: 3, Item: 0, From: "control", Publisher: "rb-control-t1-0", Topic: "rb/dev-t1-0002/cmd", QoS: 1, To: 2, Client: "dev-t1-0002", Rate: 2},
		{ID: 4, Item: 1, From: "control", Publisher: "rb-control-t1-0", Topic: "news/t1", To: -1, Rate: 5},
		{ID: 5, Item: 2, From: "control", Publisher: "rb-control-t1-0", Topic: "x/dev-t1-0000", To: 0, Client: "dev-t1-0000", Rate: 2},
		{ID: 6, Item: 2, From: "control", Index: 1, Publisher: "rb-control-t1-1", Topic: "x/dev-t1-0001", To: 1, Client: "dev-t1-0001", Rate: 2},
		{ID: 7, Item: 2, From: "control", Publisher: "rb-control-t1-0", Topic: "x/dev-t1-0002", To: 2, Client: "dev-t1-0002", Rate: 2},
	}
	if len(streams) != len(want) {
		t.Fatalf("%d streams, want %d", len(streams), len(want))
	}
	for i := range want {
		if streams[i] != want[i] {
			t.Errorf("stream %d:\n got %+v\nwant %+v", i, streams[i], want[i])
		}
	}
	for name, bad := range map[string]scenarios.Traffic{
		"from": {From: "nobody", To: "devices", Topic: "x", Each: 1},
		"to":   {From: "control", To: "nobody", Topic: "x", Each: 1},
	} {
		if _, err := Streams(plan(1, bad), testRun, 0); !errors.Is(err, ErrConfig) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}
