package closeconn

import (
	"context"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/rebound-mqtt/rebound/harness/timeline"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait of these tests; none depends on its length.
const patience = 30 * time.Second

func testContext(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// fakeSessions is a broker's sessions: a set of clients that are online.
type fakeSessions struct {
	clock *timeline.Clock
	err   error
	wait  chan struct{} // if set, a close takes effect when it is closed

	mu     sync.Mutex
	online map[string]bool
	asked  []string
}

func (f *fakeSessions) CloseClient(ctx context.Context, id string) (bool, timeline.Instant, error) {
	if f.wait != nil {
		select {
		case <-f.wait:
		case <-ctx.Done():
			return false, 0, ctx.Err()
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, id)
	if f.err != nil || !f.online[id] {
		return false, 0, f.err
	}
	delete(f.online, id)
	return true, f.clock.Now(), nil
}

func newFake(online ...string) *fakeSessions {
	f := &fakeSessions{clock: timeline.NewClock(), online: map[string]bool{}}
	for _, id := range online {
		f.online[id] = true
	}
	return f
}

func startTest(t testing.TB, cfg Config) *Server {
	t.Helper()
	s, err := Serve(testContext(t), "127.0.0.1:0", cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}
