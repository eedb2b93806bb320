package main

import (
	"context"
	"net"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/rebound-mqtt/rebound/harness"
)

func brokerCommand(io streams) *cobra.Command {
	o := harness.ServeOptions{Out: io.out}
	c := &cobra.Command{
		Use:   "broker",
		Short: "Run the embedded broker with its CloseConnection endpoint, until Ctrl-C",
		Long: `Run mochi-mqtt with a CloseConnection HTTP endpoint on loopback, as a test
double of a cloud MQTT service: connect clients, close their connections.

It prints its MQTT addresses, the endpoint, and a curl line that closes the
connection of one client. Ctrl-C ends it, with exit code 0.`,
		Example: `  rebound broker --port 1883 --endpoint 127.0.0.1:8080
  rebound run kick-all --target tcp://127.0.0.1:1883 --close-endpoint http://127.0.0.1:8080`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if o.Port < 0 || o.Port > 65535 {
				return usagef("--port %d: want 1 to 65535, or 0 for a free one", o.Port)
			}
			if _, _, err := net.SplitHostPort(o.EndpointAddr); err != nil {
				return usagef("--endpoint %q: want HOST:PORT, such as 127.0.0.1:8080", o.EndpointAddr)
			}
			ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			return harness.ServeBroker(ctx, o)
		},
	}
	c.Flags().IntVar(&o.Port, "port", 0, "MQTT `PORT` on 127.0.0.1 (default: a free one)")
	c.Flags().StringVar(&o.EndpointAddr, "endpoint", "127.0.0.1:0", "loopback `HOST:PORT` of the CloseConnection endpoint; port 0 = a free one")
	return c
}
