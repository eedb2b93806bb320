package harness

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/rebound-mqtt/rebound/harness/broker"
	"github.com/rebound-mqtt/rebound/harness/closeconn"
	"github.com/rebound-mqtt/rebound/harness/fault"
	"github.com/rebound-mqtt/rebound/harness/target"
	"github.com/rebound-mqtt/rebound/scenarios"
)

// How ServeBroker treats the signatures of requests.
const (
	AuthVerify = "verify" // a request needs the signature of a known key
	AuthOff    = "off"    // unsigned requests are believed, on loopback only
)

// connectTimeout is the reasonable time for a CONNECT of MQTT 3.1.1 section 3.1.4.
const connectTimeout = 30 * time.Second

// ServeOptions is what `rebound broker` serves, and where it says so.
type ServeOptions struct {
	Out io.Writer    // addresses, endpoint and a curl line
	Log *slog.Logger // warnings, and from Info on each connect and end; nil = silent

	Host                     string // of MQTT; "" = 127.0.0.1 and its neighbours
	Port                     int    // of MQTT; 0 = a free one
	Addresses                int    // 127.0.0.x addresses without Host; 0 = the default
	TLSPort, WSPort, WSSPort *int   // of the other transports, on Host; 0 = a free one, nil = not served
	TLSCert, TLSKey          string // PEM files, for TLS, WebSocket over TLS and the endpoint
	Store                    string // folder that keeps sessions and messages; "" = none

	EndpointAddr string   // HOST:PORT of the endpoint; "" = 127.0.0.1, a free port
	EndpointTLS  bool     // serve it by HTTPS
	KeysFile     string   // access keys; "" = the pair of the environment, if there is one
	Auth         string   // AuthVerify, AuthOff; "" = AuthVerify when there are keys
	Instances    []string // that exist; none = any
	Throttle     float64  // calls per second and source address; 0 = no limit
	RulesFile    string   // injected faults; "" = none

	Doors        []Door // faults at the door, from the start on
	DoorClients  string // regular expression of the whole client ids that they are for; "" = all
	OfflineError bool   // an offline client is an error
}

// Door is a fault at the door with its parameters, as a scenario has them.
type Door struct {
	Kind   string // slow-auth, reject-auth, connect-limit, subscribe-slow or publish-quota
	Params map[string]string
}

// gates are the doors as the broker knows them.
func (o ServeOptions) gates() (gates []target.Gate, err error) {
	if r, err := regexp.Compile(o.DoorClients); err != nil {
		return nil, fmt.Errorf("--door-clients: %w", err)
	} else if r.NumSubexp() > 0 { // what they catch would decide for a share
		return nil, errors.New("--door-clients: write a group as (?:…)")
	}
	for _, d := range o.Doors {
		g, err := fault.Gate(d.Kind, d.Params)
		g.Clients = o.DoorClients
		if err == nil {
			err = g.Check()
		}
		if wrong, is := errors.AsType[scenarios.Errors](err); is {
			err = errors.New(wrong[0].Msg)
		}
		if err != nil {
			return nil, fmt.Errorf("--%s: %w", d.Kind, err)
		}
		gates = append(gates, g)
	}
	return gates, nil
}

// ServeBroker serves the embedded broker with its CloseConnection endpoint
// until ctx ends, which is no error. Options that contradict each other and
// files that can not be used are ErrUsage.
func ServeBroker(ctx context.Context, o ServeOptions) error {
	if o.EndpointAddr == "" {
		o.EndpointAddr = defaultEndpointAddr
	}
	mqtt, err := o.broker()
	if err != nil {
		return Usage(err)
	}
	endpoint, err := o.endpoint(mqtt)
	if err != nil {
		return Usage(err)
	}
	endpoint.Ending = ctx.Done()
	b, err := startEmbedded(ctx, mqtt, o.EndpointAddr, endpoint)
	if err != nil {
		return err
	}
	if _, err := io.WriteString(o.Out, o.describe(b.Info(), endpoint.Keys == nil)); err != nil {
		return errors.Join(fmt.Errorf("print the addresses: %w", err), b.Close())
	}
	if !isLoopback(o.Host) {
		o.log().Warn("MQTT asks for no credentials: whoever reaches this address can use the broker", "host", o.Host)
	}
	<-ctx.Done()
	return b.Close()
}

// broker is the part of MQTT.
func (o ServeOptions) broker() (broker.Options, error) {
	out := broker.Options{
		Host: o.Host, Port: o.Port, Addresses: o.Addresses, Store: o.Store, Log: o.Log, ConnectTimeout: connectTimeout,
	}
	var err error
	if out.Gates, err = o.gates(); err != nil {
		return out, err
	}
	for _, t := range []struct {
		scheme string
		port   *int
	}{{broker.TransportTLS, o.TLSPort}, {broker.TransportWS, o.WSPort}, {broker.TransportWSS, o.WSSPort}} {
		if t.port != nil {
			out.Also = append(out.Also, broker.Transport{Scheme: t.scheme, Port: *t.port})
		}
	}
	used := o.TLSPort != nil || o.WSSPort != nil || o.EndpointTLS
	switch given := o.TLSCert != "" || o.TLSKey != ""; {
	case !given && !used:
		return out, nil
	case o.TLSCert == "" || o.TLSKey == "":
		return out, errors.New("--tls-port, --wss-port and --endpoint-tls need --tls-cert FILE and --tls-key FILE")
	case !used:
		return out, errors.New("--tls-cert and --tls-key serve nothing: add --tls-port, --wss-port or --endpoint-tls")
	}
	out.TLS, err = broker.LoadTLS(o.TLSCert, o.TLSKey)
	return out, err
}

// describe says where everything is, a line each: a word and its value.
func (o ServeOptions) describe(info target.Info, unsigned bool) string {
	var text strings.Builder
	line := func(word, value string) { fmt.Fprintf(&text, "%-10s %s\n", word, value) }
	line("broker", info.Broker+" "+info.Version)
	line("mqtt", strings.Join(info.Addresses, " "))
	line("endpoint", info.Endpoint)
	line("health", info.Endpoint+closeconn.HealthPath)
	if unsigned {
		curl := closeconn.CurlLine(info.Endpoint)
		if len(o.Instances) > 0 {
			curl = strings.Replace(curl, closeconn.DefaultInstance, url.QueryEscape(o.Instances[0]), 1)
		}
		if o.EndpointTLS {
			curl = strings.Replace(curl, "curl ", fmt.Sprintf("curl --cacert '%s' ", o.TLSCert), 1)
		}
		line("close", curl)
	}
	return text.String()
}

func (o ServeOptions) log() *slog.Logger {
	if o.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return o.Log
}

// isLoopback reports whether a host to listen on is of this machine only.
func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "" || host == "localhost" || ip != nil && ip.IsLoopback()
}
