package broker

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// sweepPatience bounds the wait for the end of what is swept away.
const sweepPatience = 5 * time.Second

// sweep kills the processes that a program has left behind, also those that
// have left its process group: all with its mark in their environment.
func sweep(mark string) error {
	for deadline := time.Now().Add(sweepPatience); ; time.Sleep(time.Millisecond) {
		left, err := strays(mark)
		if err != nil || len(left) == 0 {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%d processes that it started live on", len(left))
		}
		for _, p := range left {
			if killed := p.Kill(); !errors.Is(killed, os.ErrProcessDone) {
				err = errors.Join(err, killed)
			}
			_ = p.Release() // it is no child of ours to wait for
		}
		if err != nil {
			return err
		}
	}
}

// strays finds the processes with a mark. A handle is taken before a process is
// looked at, so that its number can not be another one's by then.
func strays(mark string) (found []*os.Process, err error) {
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, err
	}
	for _, dir := range dirs {
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil {
			continue
		}
		p, err := os.FindProcess(pid)
		if err != nil {
			continue
		}
		// One that has ended has none, and that of another user is no child of ours.
		env, err := os.ReadFile(filepath.Join(dir, "environ"))
		if err == nil && hasVariable(env, mark) {
			found = append(found, p)
			continue
		}
		_ = p.Release() // nothing is done with it
	}
	return found, nil
}

func hasVariable(env []byte, mark string) bool {
	for v := range bytes.SplitSeq(env, []byte{0}) {
		if string(v) == mark {
			return true
		}
	}
	return false
}
