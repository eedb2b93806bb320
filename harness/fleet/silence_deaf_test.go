package fleet

import (
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// TestVoiceOfADeafBroker: a broker that does not read any more keeps nobody from
// lifting a silence; the connection ends, since half a packet may be out.
func TestVoiceOfADeafBroker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		below, peer := net.Pipe()
		defer peer.Close() //nolint:errcheck // the test's own
		v := &voice{Conn: below, n: 1}
		resume := v.silence()
		if _, err := v.Write([]byte("kept")); err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		resume()
		if took := time.Since(begin); took != catchUpWithin {
			t.Errorf("it took %v", took)
		}
		if _, err := v.Write([]byte("later")); err == nil {
			t.Errorf("a write on what ended gives %v", err)
		}
	})
}
