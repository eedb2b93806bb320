package main

import (
	"context"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/rebound-mqtt/rebound/harness"
)

// brokerFlags is the command line of `rebound broker`.
type brokerFlags struct {
	harness.ServeOptions
	tlsPort, wsPort, wssPort int
	verbose                  bool
	// doors are the values of the flags of faults at the door, by flag.
	doors map[string]*string
}

// doorFlags are the faults at the door: each flag with the fault and the
// parameter that it sets. The flag that is named like its fault turns it on.
var doorFlags = []struct{ flag, fault, param, usage string }{
	{"slow-auth", "slow-auth", "delay", "each CONNECT waits for an authentication backend that takes this `TIME`, such as 100ms (default: it takes none)"},
	{"auth-workers", "slow-auth", "workers", "attempts under way at once in it, `N`; 0 = no bound (default 8)"},
	{"auth-queue", "slow-auth", "queue", "attempts that wait for a worker, `N`; those beyond get CONNACK 3 (default 10000)"},
	{"auth-distribution", "slow-auth", "distribution", "of its time: `fixed|uniform|exponential`, with the same mean (default fixed)"},
	{"auth-max", "slow-auth", "max", "no attempt takes longer than this `TIME` (default: no bound)"},
	{"reject-auth", "reject-auth", "share", "refuse the CONNECTs of this `SHARE` of the client ids, such as 30%; always the same ones (default: none)"},
	{"reject-code", "reject-auth", "code", "by this CONNACK code: `4|5` (default 5, not authorized)"},
	{"connect-limit", "connect-limit", "rate", "let in CONNECTs at this `RATE`, such as 500/s (default: no limit)"},
	{"connect-burst", "connect-limit", "burst", "and so many at once, `N` (default: a tenth of a second of the rate)"},
	{"connect-then", "connect-limit", "then", "what becomes of the others: `refuse|hang|close` (default refuse, by CONNACK 3)"},
	{"subscribe-slow", "subscribe-slow", "delay", "each SUBSCRIBE waits this `TIME` (default: none)"},
	{"publish-quota", "publish-quota", "rate", "take PUBLISHes of each connection at this `RATE`, such as 100/s (default: no limit)"},
	{"publish-burst", "publish-quota", "burst", "and so many at once, `N` (default: a tenth of a second of the rate)"},
	{"publish-then", "publish-quota", "then", "beyond it: `delay|close`: read no more for a while, or close the connection (default delay)"},
}

func brokerCommand(io streams) *cobra.Command {
	var o brokerFlags
	c := &cobra.Command{
		Use:   "broker",
		Short: "Run a broker with its CloseConnection endpoint: a test double of a cloud MQTT service",
		Long: `Run mochi-mqtt with a CloseConnection HTTP endpoint, as a test double of a cloud
MQTT service: connect clients, close their connections.

It prints its MQTT addresses, the endpoint, the URL that says whether it is up,
and, if requests need no signature, a curl line that closes the connection of
one client: all that when everything listens. Ctrl-C or SIGTERM ends it with
exit code 0; a second one ends it at once. See docs/broker.md.

Keys come from --keys, or else from the environment: REBOUND_ACCESS_KEY_ID,
REBOUND_ACCESS_KEY_SECRET and, for temporary ones, REBOUND_SECURITY_TOKEN.`,
		Example: `  rebound broker --port 1883 --endpoint 127.0.0.1:8080
  rebound broker --port 1883 --ws-port 8083 --store state --endpoint 127.0.0.1:8080 --keys keys.yaml
  rebound run kick-all --target tcp://127.0.0.1:1883 --close-endpoint http://127.0.0.1:8080`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := o.check(c.Flags().Changed); err != nil {
				return err
			}
			level := slog.LevelWarn
			if o.verbose {
				level = slog.LevelInfo
			}
			o.Out = io.out
			o.Log = slog.New(slog.NewTextHandler(io.err, &slog.HandlerOptions{Level: level}))
			ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			context.AfterFunc(ctx, stop) // a second signal meets the system's default
			return harness.ServeBroker(ctx, o.ServeOptions)
		},
	}
	o.define(c.Flags())
	return c
}

func (o *brokerFlags) define(f *pflag.FlagSet) {
	f.SortFlags = false
	f.StringVar(&o.Host, "host", "", "MQTT `ADDR` to listen on; off loopback, whoever reaches it can use the broker (default 127.0.0.1 to 127.0.0.4)")
	f.IntVar(&o.Port, "port", 0, "MQTT `PORT` (default: a free one)")
	f.IntVar(&o.tlsPort, "tls-port", 0, "`PORT` of MQTT over TLS; 0 = a free one (default: not served)")
	f.IntVar(&o.wsPort, "ws-port", 0, "`PORT` of MQTT over WebSocket, path /mqtt; 0 = a free one (default: not served)")
	f.IntVar(&o.wssPort, "wss-port", 0, "`PORT` of MQTT over WebSocket over TLS, path /mqtt; 0 = a free one (default: not served)")
	f.StringVar(&o.TLSCert, "tls-cert", "", "PEM `FILE` of the certificate and its chain")
	f.StringVar(&o.TLSKey, "tls-key", "", "PEM `FILE` of its key")
	f.StringVar(&o.Store, "store", "", "keep sessions, subscriptions and messages in this `DIR` (default: they end with the broker)")
	f.StringVar(&o.EndpointAddr, "endpoint", "127.0.0.1:0", "`HOST:PORT` of the CloseConnection endpoint; port 0 = a free one; off loopback it needs keys")
	f.BoolVar(&o.EndpointTLS, "endpoint-tls", false, "serve the endpoint by HTTPS, with the same certificate")
	f.StringVar(&o.KeysFile, "keys", "", "YAML `FILE` of access keys")
	f.StringVar(&o.Auth, "auth", "", "signatures of requests: `verify|off`; off only on loopback (default verify if there are keys, else off)")
	f.StringSliceVar(&o.Instances, "instances", nil, "`ID[,ID]` of the instances that exist (default: any)")
	f.Float64Var(&o.Throttle, "throttle", 0, "calls per second `N` of one source address before Throttling.User (default: no limit)")
	f.StringVar(&o.RulesFile, "inject", "", "YAML `FILE` of faults to inject into answers")
	f.BoolVar(&o.OfflineError, "offline-error", false, "answer the close of an offline client with an error instead of success")
	o.doors = map[string]*string{}
	for _, d := range doorFlags {
		o.doors[d.flag] = f.String(d.flag, "", d.usage)
	}
	f.StringVar(&o.DoorClients, "door-clients", "", "`REGEXP` of the whole client ids that these are for (default: all)")
	f.BoolVar(&o.verbose, "verbose", false, "log each connect and each end of a connection to standard error")
}

// check finds what is wrong before anything is opened, and serves the ports of
// the flags that are there.
func (o *brokerFlags) check(given func(flag string) bool) error {
	// `--keys "$FILE"` without a FILE would serve whoever comes.
	for _, f := range []struct{ flag, value string }{
		{"host", o.Host}, {"tls-cert", o.TLSCert}, {"tls-key", o.TLSKey}, {"store", o.Store}, {"keys", o.KeysFile},
		{"auth", o.Auth}, {"inject", o.RulesFile}, {"door-clients", o.DoorClients},
	} {
		if given(f.flag) && f.value == "" {
			return usagef("--%s is empty: give it a value, or leave it out", f.flag)
		}
	}
	if given("instances") && (len(o.Instances) == 0 || slices.Contains(o.Instances, "")) {
		return usagef("--instances: an id is empty: give it a value, or leave it out")
	}
	if err := o.checkDoors(given); err != nil {
		return err
	}
	taken := map[int]string{}
	for _, p := range []struct {
		flag  string
		value *int
		serve **int // where it goes if the flag is there
	}{
		{"port", &o.Port, nil}, {"tls-port", &o.tlsPort, &o.TLSPort},
		{"ws-port", &o.wsPort, &o.WSPort}, {"wss-port", &o.wssPort, &o.WSSPort},
	} {
		if *p.value < 0 || *p.value > 65535 {
			return usagef("--%s %d: want 1 to 65535, or 0 for a free one", p.flag, *p.value)
		}
		if other := taken[*p.value]; other != "" && *p.value != 0 {
			return usagef("--%s %d: --%s has that port", p.flag, *p.value, other)
		}
		taken[*p.value] = p.flag
		if p.serve != nil && given(p.flag) {
			*p.serve = p.value
		}
	}
	_, port, err := net.SplitHostPort(o.EndpointAddr)
	if err != nil {
		return usagef("--endpoint %q: want HOST:PORT, such as 127.0.0.1:8080", o.EndpointAddr)
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		return usagef("--endpoint %q: want a port of 1 to 65535, or 0 for a free one", o.EndpointAddr)
	}
	if strings.ContainsAny(o.Host, "[]") || strings.Count(o.Host, ":") == 1 {
		return usagef("--host %q: want an address or name alone, such as 0.0.0.0 or ::1; the port is --port", o.Host)
	}
	if o.Auth != "" && o.Auth != harness.AuthVerify && o.Auth != harness.AuthOff {
		return usagef("--auth %q: want verify or off", o.Auth)
	}
	if notRate(o.Throttle) {
		return usagef("--throttle %g: want calls per second, at most %d, or 0 for no limit", o.Throttle, maxPerSecond)
	}
	return nil
}

// checkDoors gathers the faults at the door.
func (o *brokerFlags) checkDoors(given func(flag string) bool) error {
	params := map[string]map[string]string{}
	for _, d := range doorFlags {
		switch {
		case !given(d.flag):
			continue
		case *o.doors[d.flag] == "":
			return usagef("--%s is empty: give it a value, or leave it out", d.flag)
		case !given(d.fault):
			return usagef("--%s is of no use without --%s", d.flag, d.fault)
		case params[d.fault] == nil:
			params[d.fault] = map[string]string{}
			o.Doors = append(o.Doors, harness.Door{Kind: d.fault, Params: params[d.fault]})
		}
		params[d.fault][d.param] = *o.doors[d.flag]
	}
	if given("door-clients") && len(o.Doors) == 0 {
		return usagef("--door-clients is of no use without a fault at the door, such as --slow-auth")
	}
	return nil
}
