//go:build !linux

package netfault

import "net"

func abort(c net.Conn) (synthetic bool, err error) { return abortByClose(c) }

// hasClosed: this system does not say how a socket has ended.
func hasClosed(net.Conn) bool { return false }
