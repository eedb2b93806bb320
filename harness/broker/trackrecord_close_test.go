package broker

import (
	"bytes"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	mochi "github.com/mochi-mqtt/server/v2"
)

// beDeadlocked makes a re-executed test binary look for the clients of a
// listener while clients leave.
const beDeadlocked = "REBOUND_TEST_CLOSE_DEADLOCK"

// TestTrackRecordMochiCloseDeadlock: Server.Close of mochi v2.7.9 can wait for
// itself for ever.
//
// It looks for the clients of each listener with Clients.GetByListener, which
// takes the read lock of the table and then calls Clients.Len, which takes it
// again. Where a client that leaves asks for the write lock in between, that
// waits for the first read lock, and the second waits for the writer
// (sync.RWMutex: "this prohibits recursive read-locking").
//
// A process of its own does so: it can not be mended from within. Its dump of
// goroutines is the evidence.
func TestTrackRecordMochiCloseDeadlock(t *testing.T) {
	cmd := exec.Command(os.Args[0], "-test.run=^TestCloseDeadlockProcess$", "-test.timeout=60s")
	cmd.Env = append(os.Environ(), beDeadlocked+"=1")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// Without the defect it ends by itself, long before.
	dump := time.AfterFunc(5*time.Second, func() { cmd.Process.Signal(syscall.SIGQUIT) }) //nolint:errcheck // it has ended then
	defer dump.Stop()
	if err := cmd.Wait(); err == nil {
		t.Fatal("it came to its end: has mochi mended it? then the entry may go")
	}
	stuck := func(in, on string) bool {
		for stack := range strings.SplitSeq(out.String(), "\n\n") {
			if strings.Contains(stack, in) && strings.Contains(stack, on) {
				return true
			}
		}
		return false
	}
	for in, on := range map[string]string{
		"(*Clients).GetByListener": "sync.(*RWMutex).RLock",
		"(*Clients).Delete":        "sync.(*RWMutex).Lock",
	} {
		if !stuck(in, on) {
			t.Errorf("no goroutine of %s waits in %s:\n%s", in, on, out.String())
		}
	}
}

// TestCloseDeadlockProcess is the other process of the test above.
func TestCloseDeadlockProcess(t *testing.T) {
	if os.Getenv(beDeadlocked) == "" {
		return // not a test by itself
	}
	clients := mochi.New(nil).Clients
	done := make(chan struct{})
	for i := range 2 {
		go func() {
			for {
				select {
				case <-done:
					return
				default:
					clients.Delete(strconv.Itoa(i))
				}
			}
		}()
	}
	for range 100_000 {
		clients.GetByListener("door")
	}
	close(done)
}
