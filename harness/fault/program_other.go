//go:build !linux

package fault

import "syscall"

// dieWithParent has no equal outside Linux.
func dieWithParent(a *syscall.SysProcAttr) *syscall.SysProcAttr { return a }
