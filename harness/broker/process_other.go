//go:build !linux

package broker

import "syscall"

// dieWithParent can not be had here: after a kill -9 of this process the
// program lives on.
func dieWithParent(a *syscall.SysProcAttr) *syscall.SysProcAttr { return a }

// standsStill can not be seen here: the signal must do.
func standsStill(int) (bool, error) { return true, nil }
