package harness

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/rebound-mqtt/rebound/harness/broker"
	"github.com/rebound-mqtt/rebound/harness/closeconn"
	"github.com/rebound-mqtt/rebound/harness/target"
)

// TargetOptions is how StartTarget starts a broker, or finds one.
type TargetOptions struct {
	Broker       broker.Options // Clock, Port, Addresses, WritesPending, Hooks, Log, …
	EndpointAddr string         // where the endpoint of embedded, pipe and child listens; "" = 127.0.0.1, a free port
	Endpoint     string         // URL of the CloseConnection endpoint of an address; "" = none
	Key          *Credentials   // what the endpoint of embedded, pipe and child verifies; nil = unsigned requests are believed
	ChildCommand []string       // program of a child; nil = this one, re-executed
	ChildEnv     []string       // added to a child's environment
}

// StartTarget starts the target of one kind (embedded, pipe, child) with its
// CloseConnection endpoint, or makes one of a broker that already runs
// (tcp://HOST:PORT). ctx bounds the start only; the target's Close ends what
// was started, endpoint included.
func StartTarget(ctx context.Context, kind string, o TargetOptions) (target.Target, error) {
	if o.EndpointAddr == "" {
		o.EndpointAddr = defaultEndpointAddr
	}
	keys, err := keysOf(o.Key)
	if err != nil {
		return nil, err
	}
	switch {
	case kind == broker.KindEmbedded:
		// Not returned as one expression: a nil *Embedded is no nil Target.
		b, err := startEmbedded(ctx, o.Broker, o.EndpointAddr, closeconn.Config{Log: o.Broker.Log, Keys: keys})
		if err != nil {
			return nil, err
		}
		return b, nil
	case kind == broker.KindPipe:
		p, err := broker.StartPipe(ctx, o.Broker)
		if err != nil {
			return nil, err
		}
		if err := mounted(ctx, p.Embedded, o.EndpointAddr, closeconn.Config{Log: o.Broker.Log, Keys: keys}); err != nil {
			return nil, err
		}
		return p, nil
	case kind == broker.KindChild:
		o.Broker.EndpointAddr = o.EndpointAddr
		if o.Key != nil {
			o.Broker.EndpointKey = &broker.EndpointKey{ID: o.Key.KeyID, Secret: o.Key.Secret}
		}
		c, err := broker.StartChild(ctx, o.Broker, o.ChildCommand, o.ChildEnv)
		if err != nil {
			return nil, err
		}
		return c, nil
	case broker.IsCommand(kind):
		c, err := broker.StartCommand(ctx, kind, o.Broker)
		if err != nil {
			return nil, err
		}
		return c, nil
	case strings.Contains(kind, "://"):
		return broker.Address(kind, o.Endpoint)
	}
	return nil, fmt.Errorf("%w %q: want %s, %s, %s, mosquitto or tcp://HOST:PORT", broker.ErrAddress, kind, broker.KindEmbedded, broker.KindPipe, broker.KindChild)
}

const defaultEndpointAddr = "127.0.0.1:0"

// startEmbedded starts mochi in this process with its endpoint.
func startEmbedded(ctx context.Context, o broker.Options, endpointAddr string, endpoint closeconn.Config) (*broker.Embedded, error) {
	b, err := broker.StartEmbedded(ctx, o)
	if err != nil {
		return nil, err
	}
	if err := mounted(ctx, b, endpointAddr, endpoint); err != nil {
		return nil, err
	}
	return b, nil
}

// mounted gives a broker in this process its endpoint, or closes it.
func mounted(ctx context.Context, b *broker.Embedded, addr string, endpoint closeconn.Config) error {
	url, closeEndpoint, err := mountEndpoint(ctx, b, addr, endpoint)
	if err != nil {
		return errors.Join(err, b.Close())
	}
	b.Mount(url, closeEndpoint)
	return nil
}

// keysOf makes the keys of an endpoint that knows one, or none.
func keysOf(key *Credentials) (*closeconn.Keys, error) {
	if key == nil {
		return nil, nil
	}
	return closeconn.NewKeys(closeconn.KeyPair{Credentials: *key})
}

// mountEndpoint serves the CloseConnection API over a broker in this process.
func mountEndpoint(ctx context.Context, b *broker.Embedded, addr string, cfg closeconn.Config) (string, func() error, error) {
	cfg.Sessions, cfg.Clock = b, b.Clock()
	s, err := closeconn.Serve(ctx, addr, cfg)
	if err != nil {
		return "", nil, err
	}
	return s.URL(), func() error { return cutOff(s.Close(), cfg.Log) }, nil
}

// cutOff is the end of an endpoint whose last calls did not: a caller that
// hangs is no failure of ours, and is told of in log (nil = silent).
func cutOff(err error, log *slog.Logger) error {
	if !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	if log != nil {
		log.Warn("calls that did not end were cut off", "error", err)
	}
	return nil
}
