package harness

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

// Only the wait for callers that hang is no failure.
func TestCutOff(t *testing.T) {
	hung, other := fmt.Errorf("close: %w", context.DeadlineExceeded), errors.New("close: disk")
	for _, c := range []struct{ err, want error }{{nil, nil}, {hung, nil}, {other, other}} {
		var log strings.Builder
		if got := cutOff(c.err, slog.New(slog.NewTextHandler(&log, nil))); got != c.want {
			t.Errorf("%v: %v", c.err, got)
		}
		if warned := strings.Contains(log.String(), "level=WARN"); warned != (c.err == hung) {
			t.Errorf("%v: logged %q", c.err, log.String())
		}
	}
	if err := cutOff(hung, nil); err != nil {
		t.Error(err)
	}
}
