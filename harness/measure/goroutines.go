package measure

import (
	"bytes"
	"runtime"
	"strings"

	"github.com/rebound-mqtt/rebound/harness/timeline"
)

const (
	// stackBytes is what the stack of one goroutine takes, written out: most
	// take less.
	stackBytes = 1 << 10
	// maxStacks bounds the memory of one snapshot: about 100,000 goroutines.
	maxStacks = 64 << 20

	// startedByNobody is the creator of the goroutines that no go statement
	// started, such as the main one.
	startedByNobody = "main"
)

// Goroutines counts the goroutines of this process by the function that started
// them, as "package/path.Function". It stops the world while it writes their
// stacks down, so it is for quiet moments. ErrTooManyGoroutines says that they
// do not fit into the memory that it allows itself.
func Goroutines() (map[string]int, error) {
	size := min(max(64<<10, runtime.NumGoroutine()*stackBytes), maxStacks)
	for ; size <= maxStacks; size *= 2 {
		stacks := make([]byte, size)
		if n := runtime.Stack(stacks, true); n < size {
			return parseStacks(stacks[:n]), nil
		}
	}
	return nil, ErrTooManyGoroutines
}

// parseStacks counts goroutines by their creator in what runtime.Stack wrote:
// for each a head, "goroutine 7 [state]:", its frames, and as the last one
// "created by FUNCTION in goroutine 1".
func parseStacks(stacks []byte) map[string]int {
	counts := map[string]int{}
	open, creator := false, startedByNobody
	for line := range bytes.Lines(stacks) {
		line = bytes.TrimSuffix(line, []byte("\n"))
		if isHead(line) {
			if open {
				counts[creator]++
			}
			open, creator = true, startedByNobody
		} else if by, ok := bytes.CutPrefix(line, []byte("created by ")); ok && open {
			name, _, _ := bytes.Cut(by, []byte(" in goroutine "))
			creator = dotted(string(name))
		}
	}
	if open {
		counts[creator]++
	}
	return counts
}

// isHead reports whether a line begins a goroutine.
func isHead(line []byte) bool {
	rest, ok := bytes.CutPrefix(line, []byte("goroutine "))
	return ok && len(rest) > 0 && '0' <= rest[0] && rest[0] <= '9'
}

// dotted undoes the linker's escape of dots in the last element of a package
// path: "eclipse/paho%2emqtt%2egolang.startComms".
func dotted(name string) string { return strings.ReplaceAll(name, "%2e", ".") }

// creatorCharges is the table of the modules whose goroutines can be charged to
// somebody.
var creatorCharges = []struct {
	prefix string
	charge timeline.Charge
}{
	{"github.com/eclipse/paho.", timeline.ChargeClient}, // paho.mqtt.golang and paho.golang
	{"github.com/mochi-mqtt/", timeline.ChargeBroker},
	{"github.com/rebound-mqtt/rebound/", timeline.ChargeHarness},
	{"github.com/rebound-mqtt/rebound.", timeline.ChargeHarness},
	{"main.", timeline.ChargeHarness},
}

// CreatorCharge says whom goroutines charge that do not end, by the function
// that started them: nobody where only the standard library or a module of no
// part of the run did.
func CreatorCharge(creator string) timeline.Charge {
	for _, row := range creatorCharges {
		if strings.HasPrefix(creator, row.prefix) {
			return row.charge
		}
	}
	return timeline.ChargeNobody
}
