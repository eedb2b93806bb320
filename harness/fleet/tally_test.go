package fleet

import (
	"encoding/json"
	"math/rand/v2"
	"testing"

	"github.com/rebound-mqtt/rebound/harness/timeline"
)

func render(c timeline.Conn) string {
	b, err := json.Marshal(c)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// The tally counts each message once, in whatever order and how often it is
// written; only QoS 0 is counted as it comes, because it is never resent.
func TestTallyCountsDistinct(t *testing.T) {
	for _, tt := range []struct {
		name string
		qos  byte
		seqs []uint64
		want int64
	}{
		{"in order", 1, []uint64{1, 2, 3}, 3},
		{"resent", 1, []uint64{1, 2, 1, 2, 3, 3}, 3},
		{"overtaken after a reconnect", 1, []uint64{1, 5, 2, 3, 4, 2, 5}, 5},
		{"a gap stays open", 1, []uint64{1, 3}, 2},
		{"QoS 0", 0, []uint64{1, 5, 9}, 3},
	} {
		c := count{qos: tt.qos}
		for _, s := range tt.seqs {
			c.see(s)
		}
		if got := c.seal(); got != tt.want {
			t.Errorf("%s: got %d, want %d", tt.name, got, tt.want)
		}
	}
	var c count
	c.qos = 1
	distinct := map[uint64]bool{}
	for range 5000 {
		s := rand.Uint64N(300) + 1
		distinct[s] = true
		c.see(s)
	}
	if got := c.seal(); got != int64(len(distinct)) {
		t.Errorf("at random: got %d, want %d", got, len(distinct))
	}
}

func TestTallyIgnoresStrangers(t *testing.T) {
	book := newTestBook()
	y := newTally([]Stream{{ID: 1}}, book.accounts())
	for _, id := range []uint32{0, 2} {
		y.Attempted(id, 1, 1, 0, 1)
		y.Sentinel(id, 1, 2)
	}
	y.Sentinel(1, 1, 0)
	if y.home.Load() != 0 {
		t.Error("a sentinel without PUBACK came home")
	}
	y.Sentinel(1, 1, 2)
	y.Sentinel(1, 1, 3)
	if y.home.Load() != 1 {
		t.Errorf("%d sentinels home, want 1", y.home.Load())
	}
	if len(book.attempted) != 2 {
		t.Error("the account is told all the same")
	}
}

// What is written after the books were closed is booked by neither side: a
// closed library may come to its next write as late as it likes.
func TestTallySeals(t *testing.T) {
	book := newTestBook()
	y := newTally([]Stream{{ID: 1, QoS: 1}}, book.accounts())
	y.Attempted(1, 1, 1, 0, 1)
	if n := y.stream(1).seal(); n != 1 {
		t.Errorf("%d messages were seen", n)
	}
	y.Attempted(1, 2, 1, 0, 2)
	if got := book.totals(); got.attempted != 1 {
		t.Errorf("%d messages were booked after the seal, want 1 in all", got.attempted)
	}
}
