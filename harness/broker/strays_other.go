//go:build !linux

package broker

// sweep finds processes that have left the program's group on Linux only.
func sweep(string) error { return nil }
