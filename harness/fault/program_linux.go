package fault

import "syscall"

// dieWithParent has the kernel kill a program when the thread that started it
// ends, also when we are killed.
func dieWithParent(a *syscall.SysProcAttr) *syscall.SysProcAttr {
	a.Pdeathsig = syscall.SIGKILL
	return a
}
