package harness

import (
	"context"
	"errors"

	"github.com/rebound-mqtt/rebound/harness/closeconn"
	"github.com/rebound-mqtt/rebound/harness/target"
	"github.com/rebound-mqtt/rebound/reports"
	"github.com/rebound-mqtt/rebound/scenarios"
)

// Exit codes of the command; docs/decisions/0005-exit-codes.md says why these.
const (
	ExitPass        = reports.ExitPass
	ExitFail        = reports.ExitFail        // an expectation failed, or a check is invalid
	ExitUsage       = reports.ExitUsage       // usage or scenario invalid
	ExitUnknown     = reports.ExitUnknown     // some verdict is unknown
	ExitUnreachable = reports.ExitUnreachable // no MQTT broker at the target
	ExitWorse       = reports.ExitWorse       // compare says worse
	ExitPartial     = reports.ExitPartial     // an agent was lost (not in this version)
	ExitFailedRun   = reports.ExitError       // the run could not be done
	ExitInterrupted = reports.ExitInterrupted
)

// ErrUsage marks an error of the user's: exit code 2.
var ErrUsage = errors.New("usage")

// usageError is an error of the user's that prints as its own text only.
type usageError struct{ error }

func (e usageError) Is(target error) bool { return target == ErrUsage }
func (e usageError) Unwrap() error        { return e.error }

// Usage marks err as the user's, without changing its text.
func Usage(err error) error { return usageError{err} }

// ExitCode says with which code an error of this package, of scenarios or of
// the command line ends the program.
func ExitCode(err error) int {
	var invalid scenarios.Errors
	switch {
	case err == nil:
		return ExitPass
	case errors.Is(err, ErrUsage), errors.As(err, &invalid), errors.Is(err, ErrFolderNotEmpty), errors.Is(err, ErrTooManyClients),
		errors.Is(err, closeconn.ErrNotLoopback), errors.Is(err, ErrDenied), errors.Is(err, closeconn.ErrEndpoint):
		return ExitUsage
	case errors.Is(err, target.ErrUnreachable), errors.Is(err, ErrNoEndpoint), errors.Is(err, ErrNoRun):
		return ExitUnreachable
	case errors.Is(err, ErrNotClosed), errors.Is(err, ErrMark):
		return ExitFail
	case errors.Is(err, ErrNoEvidence):
		return ExitUnknown
	case errors.Is(err, context.Canceled):
		return ExitInterrupted
	}
	return ExitFailedRun
}
