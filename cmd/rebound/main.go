// Command rebound tests how MQTT clients and brokers come back when
// connections drop. See `rebound --help`.
package main

import (
	"fmt"
	"io"
	"os"

	"github.com/rebound-mqtt/rebound/harness"
)

func main() {
	harness.ChildMain() // a broker child process is this binary again
	os.Exit(guard(os.Stderr, func() int { return execute(os.Args[1:], os.Stdout, os.Stderr) }))
}

// guard turns a panic into exit code 7 and one line: a trace helps no user.
func guard(errw io.Writer, f func() int) (code int) {
	defer func() {
		if p := recover(); p != nil {
			fmt.Fprintln(errw, "rebound: internal error, please report it:", p)
			code = harness.ExitFailedRun
		}
	}()
	return f()
}
