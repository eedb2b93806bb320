package judge

import (
	"testing"

	"github.com/rebound-mqtt/rebound/harness/timeline"
)

// Of two takeovers the one that was issued first may write its CONNECT last: it
// ended the later connection, not the one that was gone by then.
func TestATakeoverEndsNothingBeforeItsConnect(t *testing.T) {
	const ms = timeline.Instant(1_000_000)
	conn := func(n int, connect, connack, end timeline.Instant) *timeline.Conn {
		return &timeline.Conn{ClientID: "a", N: n, Dial: connect - ms, Dialed: connect, Connect: connect, Connack: connack, End: end, EndKind: timeline.EndReset}
	}
	rival := func(n int, dial, connect, connack timeline.Instant) *timeline.Conn {
		return &timeline.Conn{ClientID: "a", N: n, Rival: true, Dial: dial, Connect: connect, Connack: connack}
	}
	take := func(issued, answered timeline.Instant) *timeline.Action {
		return &timeline.Action{Fault: "takeover", ClientID: "a", Intended: issued, Issued: issued, Answered: answered, OK: true}
	}
	first, second := conn(86, 45*ms, 63*ms, 107*ms), conn(89, 116*ms, 120*ms, 125*ms)
	early, late := take(64*ms, 126*ms), take(79*ms, 110*ms)
	rivals := []*timeline.Conn{rival(87, 64*ms, 117*ms, 126*ms), rival(88, 79*ms, 94*ms, 110*ms)}
	_, causes := explain([]*timeline.Conn{first, second}, rivals, []*timeline.Action{early, late})
	if causes[first] != late || causes[second] != early {
		t.Errorf("the first end by %+v, the second by %+v", causes[first], causes[second])
	}
}
