package measure

import (
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"github.com/google/go-cmp/cmp"
	"github.com/rebound-mqtt/rebound/harness/timeline"
)

// started starts n goroutines that wait, each as deep in calls as depth.
func started(n, depth int) (stop func()) {
	var running, ended sync.WaitGroup
	over := make(chan struct{})
	var deep func(int)
	deep = func(d int) {
		if d > 0 {
			deep(d - 1)
			return
		}
		running.Done()
		<-over
	}
	for range n {
		running.Add(1)
		ended.Add(1)
		go func() {
			defer ended.Done()
			deep(depth)
		}()
	}
	running.Wait()
	return func() {
		close(over)
		ended.Wait()
	}
}

// TestGoroutines counts real goroutines, more than fit into the first guess of
// their memory and deeper than a stack is written out.
func TestGoroutines(t *testing.T) {
	const mine = "github.com/rebound-mqtt/rebound/harness/measure.started"
	before, err := Goroutines()
	if err != nil || before[mine] != 0 || before[startedByNobody] == 0 {
		t.Fatalf("before: %v, %v", before, err)
	}
	stop := started(300, 150)
	during, err := Goroutines()
	stop()
	if err != nil || during[mine] != 300 {
		t.Errorf("%d of 300, %v", during[mine], err)
	}
	if after, err := Goroutines(); err != nil || after[mine] != 0 {
		t.Errorf("after: %v, %v", after, err)
	}
	if got := CreatorCharge(mine); got != timeline.ChargeHarness {
		t.Errorf("charged to %q", got)
	}
}

// TestGoroutinesOfPaho: the names that the runtime writes are those of the
// table, dots in a package path included.
func TestGoroutinesOfPaho(t *testing.T) {
	// An attempt to connect that nothing answers: paho starts a goroutine for it.
	dialling, over := make(chan struct{}), make(chan struct{})
	opts := mqtt.NewClientOptions().AddBroker("tcp://127.0.0.1:1").SetProtocolVersion(4)
	opts.SetCustomOpenConnectionFn(func(*url.URL, mqtt.ClientOptions) (net.Conn, error) {
		close(dialling)
		<-over
		return nil, net.ErrClosed
	})
	token := mqtt.NewClient(opts).Connect()
	<-dialling
	counts, err := Goroutines()
	close(over)
	token.Wait()
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for creator := range counts {
		if CreatorCharge(creator) == timeline.ChargeClient && strings.HasPrefix(creator, "github.com/eclipse/paho.mqtt.golang.") {
			n++
		}
	}
	if n == 0 {
		t.Errorf("no goroutine of paho in %v", counts)
	}
}

func TestParseStacks(t *testing.T) {
	for what, c := range map[string]struct {
		text string
		want map[string]int
	}{
		"nothing":      {"", map[string]int{}},
		"no goroutine": {"created by a.B in goroutine 1\n", map[string]int{}},
		"main":         {"goroutine 1 [running]:\nmain.main()\n\t/x.go:1\n", map[string]int{"main": 1}},
		"two and a head without end": {
			"goroutine 1 [running]:\nmain.main()\n\ngoroutine 7 [select]:\nx.y()\ncreated by a/b%2ec.(*T).D in goroutine 1\n\t/y.go:2 +0x1\n\ngoroutine 8",
			map[string]int{"main": 2, "a/b.c.(*T).D": 1},
		},
		"the same twice, an old runtime": {
			"goroutine 7 [select]:\ncreated by a.B\n\ngoroutine 8 [select, 3 minutes]:\ncreated by a.B in goroutine 7\n",
			map[string]int{"a.B": 2},
		},
		"a name that looks like a head": {"goroutine 7 [select]:\ngoroutine x\ngoroutine \ncreated by a.B\n", map[string]int{"a.B": 1}},
	} {
		if diff := cmp.Diff(c.want, parseStacks([]byte(c.text))); diff != "" {
			t.Errorf("%s:\n%s", what, diff)
		}
	}
}

// FuzzParseStacks: whatever is written, each head counts once.
func FuzzParseStacks(f *testing.F) {
	f.Add("goroutine 1 [running]:\nmain.main()\n\ngoroutine 7 [select]:\ncreated by a%2eb.C in goroutine 1\n\t/y.go:2 +0x1\n")
	f.Add("goroutine 1\ngoroutine 2\r\ncreated by \ngoroutine 3")
	f.Fuzz(func(t *testing.T, text string) {
		heads, sum := 0, 0
		for line := range strings.Lines(text) {
			if isHead([]byte(line)) {
				heads++
			}
		}
		for creator, n := range parseStacks([]byte(text)) {
			if n < 1 || strings.Contains(creator, "\n") {
				t.Errorf("%q: %d", creator, n)
			}
			sum += n
		}
		if sum != heads {
			t.Errorf("%d heads, %d counted", heads, sum)
		}
	})
}

func TestCreatorCharge(t *testing.T) {
	for creator, want := range map[string]timeline.Charge{
		"github.com/eclipse/paho.mqtt.golang.startComms":                   timeline.ChargeClient,
		"github.com/eclipse/paho.golang/paho.(*Client).Connect":            timeline.ChargeClient,
		"github.com/eclipse/pahoo.X":                                       timeline.ChargeNobody,
		"github.com/mochi-mqtt/server/v2.(*Server).Serve":                  timeline.ChargeBroker,
		"github.com/rebound-mqtt/rebound/harness/fleet.(*Fleet).connect":   timeline.ChargeHarness,
		"github.com/rebound-mqtt/rebound.X":                                timeline.ChargeHarness,
		"main.main":                                                        timeline.ChargeHarness,
		startedByNobody:                                                    timeline.ChargeNobody,
		"net/http.(*Server).Serve":                                         timeline.ChargeNobody,
		"context.propagateCancel":                                          timeline.ChargeNobody,
		"example.com/github.com/mochi-mqtt/server/v2.(*Server).Serve.func": timeline.ChargeNobody,
	} {
		if got := CreatorCharge(creator); got != want {
			t.Errorf("%s: %q, want %q", creator, got, want)
		}
	}
}
