//go:build !linux

package netfault

import "net"

func abort(c net.Conn) (synthetic bool, err error) { return abortByClose(c) }
