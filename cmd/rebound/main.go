// Command rebound tests how MQTT clients and brokers come back when
// connections drop. See `rebound --help`.
package main

import (
	"fmt"
	"os"

	"github.com/rebound-mqtt/rebound/harness"
)

func main() {
	harness.ChildMain() // a broker child process is this binary again
	os.Exit(run())
}

func run() (code int) {
	defer func() {
		if p := recover(); p != nil {
			fmt.Fprintln(os.Stderr, "rebound: internal error:", p)
			code = harness.ExitFailedRun
		}
	}()
	return execute(os.Args[1:], os.Stdout, os.Stderr)
}
