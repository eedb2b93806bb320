package kernel

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	// marker in the environment names the network namespace that this process
	// was taken out of.
	marker = "REBOUND_NETNS"
	// probeMarker has a re-executed program say what it can do, and end.
	probeMarker = "REBOUND_NETNS_PROBE"
)

// outerFile is the inherited file that is the outer network namespace.
const outerFile = 3

// Inside reports whether this process is in a network namespace that Rebound
// made for it. A mark in an environment, which leaks and is copied, is not
// believed: who made the namespace has handed over the one that it made it from.
// It holds for the process that was started so, and not for its children.
func Inside() bool { return inside() }

var inside = sync.OnceValue(func() bool {
	outer, own := os.Getenv(marker), namespace()
	handed, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", outerFile))
	if outer == "" || own == "" || outer == own || err != nil || handed != outer {
		return false
	}
	unix.CloseOnExec(outerFile)
	return true
})

// outerNamespace is our network namespace, as a file, for those that are taken
// out of it.
var outerNamespace = sync.OnceValues(func() (*os.File, error) { return os.Open("/proc/self/ns/net") })

// namespace is the identity of our network namespace, such as net:[4026531840].
func namespace() string {
	name, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		return ""
	}
	return name
}

// loopbackUp brings the loopback up, which a new namespace has down.
func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("bring the loopback up: %w", err)
	}
	defer unix.Close(fd) //nolint:errcheck // nothing was written
	ifr, err := unix.NewIfreq(loopback)
	if err != nil {
		return fmt.Errorf("bring the loopback up: %w", err)
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFFLAGS, ifr); err != nil {
		return fmt.Errorf("bring the loopback up: %w", err)
	}
	if ifr.Uint16()&unix.IFF_UP != 0 {
		return nil
	}
	ifr.SetUint16(ifr.Uint16() | unix.IFF_UP)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, ifr); err != nil {
		return fmt.Errorf("bring the loopback up: %w", err)
	}
	return nil
}

// Command is a program in a new network namespace: of this user namespace, or
// of a new one in which the user stays the same and has CAP_NET_ADMIN. It is in
// a process group of its own, and is killed when the thread that started it
// ends.
func (r Report) Command(ctx context.Context, path string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = append(os.Environ(), marker+"="+namespace())
	if outer, err := outerNamespace(); err == nil { // else it finds itself outside
		cmd.ExtraFiles = []*os.File{outer} // outerFile
	}
	attr := &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL, Cloneflags: syscall.CLONE_NEWNET}
	if r.User {
		uid, gid := os.Geteuid(), os.Getegid()
		attr.Cloneflags |= syscall.CLONE_NEWUSER
		attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: uid, HostID: uid, Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: gid, HostID: gid, Size: 1}}
		attr.AmbientCaps = []uintptr{unix.CAP_NET_ADMIN}
	}
	cmd.SysProcAttr = attr
	return cmd
}

// Enter runs this program again with other arguments in a new network
// namespace, as r has found that there can be one, hands the signals on to it,
// and gives its exit code. The program must call Begin first.
func (r Report) Enter(args []string, signals <-chan os.Signal) (code int, err error) {
	runtime.LockOSThread() // the kernel ends the program with this thread
	defer runtime.UnlockOSThread()
	cmd := r.Command(context.Background(), self, args...)
	cmd.Args[0] = os.Args[0] // of the name that the user gave
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := cmd.Start(); err != nil {
		return 0, fmt.Errorf("network namespace: %w", err)
	}
	done, handed := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(handed)
		for {
			select {
			case s := <-signals:
				_ = cmd.Process.Signal(s) // it may have ended
			case <-done:
				return
			}
		}
	}()
	err = cmd.Wait()
	close(done)
	<-handed
	if code := cmd.ProcessState.ExitCode(); code >= 0 {
		return code, nil
	}
	return 0, fmt.Errorf("the run in the network namespace: %w", err)
}

const self = "/proc/self/exe" // also when the file was replaced meanwhile

// Probe runs this program again in a new network namespace to find out what
// can be done there. The program must call Child first.
func Probe(ctx context.Context) Report {
	r := Report{User: os.Geteuid() != 0} // root may do without
	var err error
	if r.Missing, err = r.probeChild(ctx); err != nil && !r.User {
		r.User = true
		r.Missing, err = r.probeChild(ctx)
	}
	if err != nil {
		r.Namespace = err.Error()
	}
	return r
}

func (r Report) probeChild(ctx context.Context) (missing map[string]string, err error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd := r.Command(ctx, self)
	cmd.Env = append(cmd.Env, probeMarker+"=1")
	out, err := cmd.Output()
	var ended *exec.ExitError
	switch {
	case errors.As(err, &ended) && len(ended.Stderr) > 0:
		return nil, errors.New(strings.TrimSpace(string(ended.Stderr)))
	case err != nil:
		return nil, fmt.Errorf("network namespace: %w", err)
	}
	err = json.Unmarshal(out, &missing)
	return missing, err
}

// Child is the first step of main: it brings the loopback up in a namespace
// that Rebound made, and answers Probe, whose process ends here. In any other
// process it does nothing.
func Child() {
	if !Inside() {
		if os.Getenv(probeMarker) != "" {
			fmt.Fprintln(os.Stderr, ErrOutside)
			os.Exit(failed)
		}
		return
	}
	if err := loopbackUp(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(failed)
	}
	if os.Getenv(probeMarker) == "" {
		return
	}
	if err := json.NewEncoder(os.Stdout).Encode(Open(context.Background(), Scope{}, "").missing); err != nil {
		os.Exit(failed)
	}
	os.Exit(0)
}

const failed = 7 // as every run that can not be done
