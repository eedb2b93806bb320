package closeconn

import (
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestNonceIsRememberedAsLongAsItCouldBeReplayed(t *testing.T) {
	for _, skew := range []time.Duration{-window, -time.Minute, 0, 59 * time.Second, window} {
		s := newNonceSet(10)
		at := noon.Add(skew)
		if fail := s.use("n", at, noon); fail != nil {
			t.Fatal(fail)
		}
		last := at.Add(window) // the last instant at which the same request is fresh
		if least := noon.Add(window); last.Before(least) {
			last = least // a nonce is kept for 15 minutes at least
		}
		for now := noon; !now.After(last); now = now.Add(30 * time.Second) {
			if fail := s.use("n", at, now); fail == nil || fail.Code != "SignatureNonceUsed" {
				t.Errorf("skew %v: a replay %v after the request: %v", skew, now.Sub(noon), fail)
			}
		}
		if fail := s.use("n", at, last); fail == nil {
			t.Errorf("skew %v: a replay at the last instant", skew)
		}
		if fail := s.use("n", last.Add(2*time.Minute), last.Add(2*time.Minute)); fail != nil {
			t.Errorf("skew %v: still remembered two minutes later: %v", skew, fail)
		}
		if s.count != 1 || len(s.ends) != 1 {
			t.Errorf("skew %v: %d nonces in %d minutes are kept, want 1", skew, s.count, len(s.ends))
		}
	}
}

// A replay that came in the last instant of its window, and is looked at after a
// later request has begun the next minute, is a replay still.
func TestReplayThatIsOvertaken(t *testing.T) {
	s := newNonceSet(10)
	at := noon.Add(time.Minute - time.Millisecond)
	last := at.Add(window)
	for _, use := range []struct {
		nonce   string
		at, now time.Time
	}{{"n", at, at}, {"later", last.Add(time.Second), last.Add(time.Second)}} {
		if fail := s.use(use.nonce, use.at, use.now); fail != nil {
			t.Fatal(fail)
		}
	}
	if fail := s.use("n", at, last); fail == nil || fail.Code != "SignatureNonceUsed" {
		t.Errorf("the replay: %v", fail)
	}
}

// A full set refuses what is new; it forgets nothing within its time.
func TestFullNonceSetRefuses(t *testing.T) {
	const limit = 100
	s := newNonceSet(limit)
	for i := range limit {
		if fail := s.use(strconv.Itoa(i), noon, noon.Add(time.Duration(i)*time.Second)); fail != nil {
			t.Fatal(i, fail)
		}
	}
	now := noon.Add(limit * time.Second)
	if fail := s.use("more", now, now); fail == nil || fail.Code != "Throttling.User" {
		t.Errorf("one more: %v", fail)
	}
	for i := range limit {
		if fail := s.use(strconv.Itoa(i), noon, now); fail == nil || fail.Code != "SignatureNonceUsed" {
			t.Errorf("replay of %d: %v", i, fail)
		}
	}
	now = noon.Add(window + 2*time.Minute)
	if fail := s.use("more", now, now); fail != nil {
		t.Errorf("with the first minute gone: %v", fail)
	}
	kept := 0
	for _, hashes := range s.ends {
		kept += len(hashes)
	}
	if kept != s.count || kept > limit {
		t.Errorf("%d nonces are kept and %d counted, at most %d", kept, s.count, limit)
	}
}

// Of the same request sent many times at once, one gets in.
func TestReplaysAtOnce(t *testing.T) {
	s := newNonceSet(10)
	var accepted atomic.Int64
	var senders sync.WaitGroup
	for range 100 {
		senders.Go(func() {
			if s.use("n", noon, noon) == nil {
				accepted.Add(1)
			}
		})
	}
	senders.Wait()
	if accepted.Load() != 1 {
		t.Errorf("%d of 100 were accepted", accepted.Load())
	}
}

func BenchmarkNonceSet(b *testing.B) {
	s := newNonceSet(maxNonces)
	b.ReportAllocs()
	var buf [20]byte
	now := noon
	for i := 0; b.Loop(); i++ {
		if i%1000 == 0 {
			now = now.Add(time.Second)
		}
		if fail := s.use(string(strconv.AppendInt(buf[:0], int64(i), 16)), now, now); fail != nil {
			b.Fatal(fail)
		}
	}
}
