package closeconn

import (
	"fmt"
	"testing"
	"time"
)

func TestThrottle(t *testing.T) {
	h := handlerAt(noon, Config{Sessions: newFake(), Throttle: 3})
	now := noon
	h.gate.now = func() time.Time { return now }
	call := func(from string) string {
		r := signed{}.request()
		r.RemoteAddr = from
		code, _ := ask(t, h, r)
		return code
	}
	for i := range 3 {
		if code := call("192.0.2.1:1000"); code != "" {
			t.Errorf("call %d: %s", i, code)
		}
	}
	if code := call("192.0.2.1:1001"); code != "Throttling.User" {
		t.Errorf("the fourth in a second, of another port: %q", code)
	}
	if code := call("192.0.2.2:1000"); code != "" {
		t.Errorf("another address: %s", code)
	}
	now = now.Add(time.Second/3 + time.Millisecond)
	if code := call("192.0.2.1:1000"); code != "" {
		t.Errorf("a third of a second later: %s", code)
	}
	if code := call("192.0.2.1:1000"); code != "Throttling.User" {
		t.Errorf("and one more: %q", code)
	}
	off := handlerAt(noon, Config{Sessions: newFake()})
	for range 1000 {
		if code, _ := ask(t, off, signed{}.request()); code != "" {
			t.Fatal(code)
		}
	}
}

func TestThrottleIsBounded(t *testing.T) {
	th := newThrottle(1)
	th.max = 10
	for i := range 100 {
		th.allow(fmt.Sprintf("10.0.0.%d:1", i), noon)
	}
	if len(th.sources) != 10 {
		t.Errorf("%d addresses are kept, want 10", len(th.sources))
	}
	if th.allow("10.0.0.1:1", noon) {
		t.Error("a busy address was forgotten")
	}
	if th.allow("10.0.1.1:1", noon) {
		t.Error("the rest shares one bucket, which is empty")
	}
	later := noon.Add(2 * time.Second)
	if !th.allow("10.0.1.1:1", later) || len(th.sources) != 1 {
		t.Errorf("%d addresses are kept when all are idle, want the new one", len(th.sources))
	}
}

func TestSource(t *testing.T) {
	for a, b := range map[string]string{
		"192.0.2.1:1": "[::ffff:192.0.2.1]:2", "[2001:db8::1]:1": "[2001:db8::ffff:2]:1", "[fe80::1%eth0]:1": "[fe80::2%eth1]:1", "@": "pipe",
	} {
		if source(a) != source(b) {
			t.Errorf("%s and %s are told apart", a, b)
		}
	}
	if source("127.0.0.1:1") == source("127.0.0.2:1") || source("[2001:db8::1]:1") == source("[2001:db8:0:1::1]:1") {
		t.Error("two addresses are one")
	}
}
