package harness

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/rebound-mqtt/rebound/harness/fault"
	"github.com/rebound-mqtt/rebound/scenarios"
)

// ErrExecNotAllowed says that a plan starts programs and nobody has allowed it;
// nothing was started.
var ErrExecNotAllowed = errors.New("the scenario starts programs of its own (exec), which needs --allow-exec")

// CheckExec says whether a plan may be run: a scenario is a file that came from
// somewhere, and must not start programs unasked.
func CheckExec(plan *scenarios.Plan, allowed bool) error {
	if !allowed && plan.HasFault(func(kind string) bool { return kind == fault.ExecName }) {
		return Usage(ErrExecNotAllowed)
	}
	return nil
}

// maxExecLog bounds exec.log, in bytes; what one program says is bounded, too.
const maxExecLog = 16 << 20

// execs is what programs of the plan are started with; nil = there are none.
func (r *run) execs() *fault.Exec {
	if !r.opts.AllowExec {
		return nil
	}
	info := r.target.Info()
	x := &fault.Exec{Dir: r.opts.Dir, Endpoint: info.Endpoint, Log: r.execLog}
	if len(info.Addresses) > 0 {
		x.Address = info.Addresses[0]
	}
	if dir, err := filepath.Abs(x.Dir); err == nil {
		x.Dir = dir
	}
	return x
}

// execOutput is exec.log, which is made by the first program.
type execOutput struct {
	mu   sync.Mutex
	file *os.File
	out  atMost
}

func (r *run) execLog(text []byte) error {
	o := &r.output
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.file == nil {
		f, err := os.OpenFile(filepath.Join(r.opts.Dir, "exec.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrEvidence, err)
		}
		o.file, o.out = f, atMost{w: f, left: maxExecLog}
	}
	if _, err := o.out.Write(bytes.ToValidUTF8(text, []byte("�"))); err != nil {
		return fmt.Errorf("%w: %w", ErrEvidence, err)
	}
	return nil
}

func (o *execOutput) close() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.file == nil {
		return nil
	}
	return o.file.Close()
}
