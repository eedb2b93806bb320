package netfault

import (
	"fmt"
	"net"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// tcpClose is TCP_CLOSE of the kernel's enum of states.
const tcpClose = 7

// inClose reports whether a socket has ended both ways.
func inClose(fd uintptr) bool {
	info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
	return err == nil && info.State == tcpClose
}

// hasClosed is inClose of a connection.
func hasClosed(c net.Conn) (is bool) {
	s, ok := c.(*net.TCPConn)
	if !ok {
		return false
	}
	raw, err := s.SyscallConn()
	return err == nil && raw.Control(func(fd uintptr) { is = inClose(fd) }) == nil && is
}

// abort resets a TCP socket in the kernel: connect(2) to AF_UNSPEC dissolves the
// association. The peer gets an RST, and whoever waits at this end ECONNRESET;
// the descriptor stays. It costs 15–65 µs.
func abort(c net.Conn) (synthetic bool, err error) {
	s, ok := c.(*net.TCPConn)
	if !ok {
		return false, fmt.Errorf("%w: %T", ErrNoReset, c)
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return false, err
	}
	var errno syscall.Errno
	err = raw.Control(func(fd uintptr) {
		if inClose(fd) {
			errno = syscall.ENOTCONN // it has ended; connect(2) would not say so
			return
		}
		unspec := unix.RawSockaddr{Family: unix.AF_UNSPEC}
		_, _, errno = unix.RawSyscall(unix.SYS_CONNECT, fd, uintptr(unsafe.Pointer(&unspec)), unsafe.Sizeof(unspec))
	})
	switch {
	case err != nil:
		return false, err
	case errno != 0:
		return false, fmt.Errorf("connect to AF_UNSPEC: %w", errno)
	}
	return false, nil
}
