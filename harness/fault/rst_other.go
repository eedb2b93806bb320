//go:build !linux

package fault

const rstNote = "an RST by the client is real for the broker and synthetic for the client: this system can not abort a socket"
