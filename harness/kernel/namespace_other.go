//go:build !linux

package kernel

import (
	"context"
	"errors"
	"os"
	"os/exec"
)

const onlyLinux = "only Linux has network namespaces"

// Inside is false: there are no network namespaces.
func Inside() bool { return false }

// Child does nothing.
func Child() {}

// Enter fails.
func (r Report) Enter([]string, <-chan os.Signal) (int, error) { return 0, errors.New(onlyLinux) }

// Command is the program, in no namespace.
func (r Report) Command(ctx context.Context, path string, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, path, args...)
}

// Probe says that there is nothing.
func Probe(context.Context) Report { return Report{Namespace: onlyLinux} }
