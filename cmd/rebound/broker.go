package main

import (
	"github.com/spf13/cobra"

	"github.com/rebound-mqtt/rebound/harness"
)

func brokerCommand(io streams) *cobra.Command {
	var o harness.ServeOptions
	c := &cobra.Command{
		Use:   "broker",
		Short: "Run the embedded broker with its CloseConnection endpoint, until Ctrl-C",
		Long: `Run mochi-mqtt with a CloseConnection HTTP endpoint on loopback, as a test
double of a cloud MQTT service: connect clients, close their connections.`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			ctx, stop, done := interrupts(streams{io.out, discard{}})
			defer done()
			ctx, cancel := withStop(ctx, stop)
			defer cancel()
			o.Out = io.out
			return harness.ServeBroker(ctx, o)
		},
	}
	c.Flags().IntVar(&o.Port, "port", 0, "MQTT `PORT` on 127.0.0.1 (default: a free one)")
	c.Flags().StringVar(&o.EndpointAddr, "endpoint", "127.0.0.1:0", "loopback `HOST:PORT` of the CloseConnection endpoint")
	return c
}
