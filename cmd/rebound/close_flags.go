package main

import (
	"github.com/spf13/cobra"

	"github.com/rebound-mqtt/rebound/harness"
)

// closeFlags say how the CloseConnection API is called. The access key has no
// flag: a command line can be read by others.
type closeFlags struct {
	scheme   string
	instance string
	rate     float64
	given    func(flag string) bool
}

func (f *closeFlags) register(c *cobra.Command) {
	c.Flags().StringVar(&f.scheme, "close-scheme", "", "`SIGNATURE` of CloseConnection calls: none | rpc | acs3 (default acs3 where the environment has a key and the target is an address, else none)")
	c.Flags().StringVar(&f.instance, "close-instance", "", "InstanceId `ID` of CloseConnection calls (default mqtt-rebound)")
	c.Flags().Float64Var(&f.rate, "close-rate", 0, "at most `N` CloseConnection calls a second, 0 = as fast as they come (default 50 at an endpoint off loopback, else 0)")
	f.given = c.Flags().Changed
}

// options are the flags and the environment; defaults are not filled in.
func (f *closeFlags) options() harness.CloseOptions {
	o := harness.CloseOptions{Scheme: f.scheme, Instance: f.instance, Rate: f.rate, Credentials: harness.CredentialsFromEnv()}
	if f.given("close-rate") && f.rate == 0 {
		o.Rate = -1 // no pace by choice; 0 is the default of the target
	}
	return o
}

// maxPerSecond of a rate is far above what any endpoint answers.
const maxPerSecond = 1_000_000

// notRate reports whether a flag's value is no number of calls per second; the
// flags take NaN and Inf for numbers.
func notRate(perSecond float64) bool { return !(perSecond >= 0 && perSecond <= maxPerSecond) }
