package broker

import "syscall"

// dieWithParent has the kernel kill the program with the thread that starts it.
func dieWithParent(a *syscall.SysProcAttr) *syscall.SysProcAttr {
	a.Pdeathsig = syscall.SIGKILL
	return a
}
