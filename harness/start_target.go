package harness

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/rebound-mqtt/rebound/harness/broker"
	"github.com/rebound-mqtt/rebound/harness/closeconn"
	"github.com/rebound-mqtt/rebound/harness/fleet"
	"github.com/rebound-mqtt/rebound/harness/judge"
	"github.com/rebound-mqtt/rebound/harness/measure"
	"github.com/rebound-mqtt/rebound/harness/netfault"
	"github.com/rebound-mqtt/rebound/harness/target"
	"github.com/rebound-mqtt/rebound/reports"
	"github.com/rebound-mqtt/rebound/scenarios"
)

// startTarget starts the broker, or finds it, makes sure that it speaks MQTT,
// and picks who closes connections.
func (r *run) startTarget(ctx context.Context) error {
	o := r.opts.Broker
	o.Clock, o.Persist = r.clock, keepsState(r.plan)
	if broker.IsCommand(r.plan.Target) {
		// Not one of the evidence's files: the broker writes on while it ends,
		// when those are closed.
		log, err := os.OpenFile(filepath.Join(r.opts.Dir, brokerLog), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrEvidence, err)
		}
		r.later(log.Close)
		o.BrokerLog = &atMost{w: log, left: maxBrokerLog}
	}
	kick := ""
	if r.plan.Closer == CloserFIN {
		kick = CloserFIN
	}
	closing, err := r.opts.Close.For(r.plan.Target, kick, r.opts.Endpoint)
	if err != nil {
		return err
	}
	to := TargetOptions{Broker: o, Endpoint: r.opts.Endpoint}
	if closing.Signed() && ownEndpoint(r.plan.Target) {
		closing.Credentials = randomKey()
		to.Key = &closing.Credentials
	}
	if r.login, err = Login(r.opts.TargetFile); err != nil {
		return err
	}
	var t target.Target
	if r.opts.TargetFile != nil {
		t, err = r.fileTarget(ctx, r.opts.TargetFile, o)
	} else {
		t, err = StartTarget(ctx, r.plan.Target, to)
	}
	if err != nil {
		return err
	}
	r.target = t
	r.later(func() error {
		// A broker that died in mid-run is what the run was to find out: the ends
		// of its clients tell, and it is no failure of ours.
		died := ended(t)
		if err := t.Close(); err != nil && !died {
			return err
		}
		return nil
	})
	if lacks := lacking(t); len(lacks) > 0 {
		return fmt.Errorf("%w: %s", ErrAbility, strings.Join(lacks, ", "))
	}
	info := t.Info()
	preflight := info.Addresses[:1]
	if r.opts.TargetFile != nil { // its own listeners are all there, those of others may not be
		preflight = info.Addresses
	}
	for _, addr := range preflight {
		if err := r.preflight(ctx, addr); err != nil {
			return err
		}
	}
	if err := r.openKernel(ctx); err != nil {
		return err
	}
	if r.plan.Closer == CloserFIN || r.plan.HasFault(r.opts.Tables.isLink) {
		r.links = netfault.NewLinks(r.clock.Now)
		r.later(r.links.Close) // after the fleets, before the broker
	}
	if r.plan.HasFault(isFrame) {
		r.frames = netfault.NewFrames(r.clock.Now)
	}
	if r.plan.Closer == CloserFIN {
		r.closer = r.links
	} else {
		if err := r.startClient(ctx, info, closing); err != nil {
			return err
		}
	}
	if r.opts.WrapClose != nil {
		r.closer = r.opts.WrapClose(r.closer)
	}
	r.tellPID()
	if r.opts.OnTarget != nil {
		f := r.plan.Fleets[0]
		r.opts.OnTarget(info, fleet.ClientID(f.ClientID, r.id, f.Name, 0))
	}
	return nil
}

// preflight makes sure that an MQTT broker answers at an address.
func (r *run) preflight(ctx context.Context, addr string) error {
	if d, ok := r.target.(target.Dialer); ok {
		return broker.PreflightBy(ctx, d, addr, r.login)
	}
	return broker.Preflight(ctx, addr, r.login)
}

// ErrAbility says that a target can not do what its record promises.
var ErrAbility = errors.New("the target lacks what its ability record promises")

// lacking gives the abilities of a target's record that it does not have.
func lacking(t target.Target) (lacks []string) {
	_, kill := t.(target.Killer)
	_, stop := t.(target.Stopper)
	_, restart := t.(target.Starter)
	_, freeze := t.(target.Pauser)
	_, reset := t.(target.Resetter)
	has := map[string]bool{"kill": kill, "stop": stop, "restart": restart, "persist": restart, "freeze": freeze, "reset": reset}
	for _, can := range t.Info().Abilities.Can {
		if has, known := has[can]; known && !has {
			lacks = append(lacks, can)
		}
	}
	return lacks
}

// keepsState reports whether a fault of the plan starts the broker again with
// what the one before it had kept.
func keepsState(p *scenarios.Plan) bool {
	for _, ph := range p.Phases {
		for _, w := range ph.Waves {
			if slices.ContainsFunc(w.Faults, func(f scenarios.PlanFault) bool { return f.Params["persistence"] == "on" }) {
				return true
			}
		}
	}
	return false
}

// startClient makes the closer that calls the CloseConnection API.
func (r *run) startClient(ctx context.Context, info target.Info, o CloseOptions) error {
	cfg := o.client(info.Endpoint)
	cfg.Clock, cfg.SameClock, cfg.StillDue = r.clock, info.SameClock, r.stillDue
	cfg.Concurrency = mostCloses(r.plan)
	client, err := closeconn.NewClient(cfg)
	if err != nil {
		return err
	}
	r.closer, r.pace, r.closePool, r.closing = client, client.Pace, client.Close, o
	r.later(client.Close)
	if ownEndpoint(r.plan.Target) && !o.Signed() {
		return nil
	}
	cfg.Retries = -1 // what is not there is known at once
	once, err := closeconn.NewClient(cfg)
	if err != nil {
		return err
	}
	return errors.Join(r.checkEndpoint(ctx, once, info.Endpoint), once.Close())
}

// stillDue reports whether the connection that a call was to close, the last
// one that was closed on purpose, is live: another call then closes no other.
func (r *run) stillDue(clientID string) bool {
	at, found := r.where[clientID]
	if !found {
		return false
	}
	n := at.fleet.LiveN(at.index)
	return n != 0 && r.victims.acted(clientID, n)
}

// brokerLog is the file of what a foreign broker prints; maxBrokerLog bounds it,
// in bytes.
const (
	brokerLog    = "broker.log"
	maxBrokerLog = 64 << 20
)

// atMost lets the first bytes through and drops the rest: a broker that floods
// its log must not fill the disk.
type atMost struct {
	w    io.Writer
	left int
}

func (a *atMost) Write(b []byte) (int, error) {
	n := min(len(b), a.left)
	a.left -= n
	if _, err := a.w.Write(b[:n]); err != nil {
		return 0, err
	}
	return len(b), nil
}

// describe writes what the run knows of itself before it begins.
func (r *run) describe() error {
	info := r.target.Info()
	transport, _, _ := strings.Cut(info.Addresses[0], "://")
	env := judge.EnvFile{
		SchemaVersion: judge.EnvVersion, Rebound: r.opts.Version, RunID: r.id, Strict: r.opts.Strict,
		Driver: r.driver.Info(), Environment: measure.Fingerprint(),
		Target: reports.Target{
			Kind: info.Kind, Broker: info.Broker, Version: info.Version, Closer: r.plan.Closer,
			Transport: transport, Settings: r.settings(info.Settings), Abilities: info.Abilities,
		},
	}
	if r.opts.Scenario != nil {
		if err := r.ev.whole("scenario.yaml", writeBytes(r.opts.Scenario)); err != nil {
			return err
		}
	}
	if err := r.ev.whole("target.yaml", func(w io.Writer) error { return writeTarget(w, env.Target) }); err != nil {
		return err
	}
	if err := r.ev.whole("plan.yaml", func(w io.Writer) error { return scenarios.WritePlan(w, r.plan, false) }); err != nil {
		return err
	}
	return r.ev.whole("env.json", func(w io.Writer) error { return judge.WriteEnv(w, env) })
}

// settings adds how connections are closed to what was tuned at the broker.
func (r *run) settings(tuned map[string]string) map[string]string {
	all := r.closing.settings()
	maps.Copy(all, tuned)
	return all
}

// checkEndpoint calls the CloseConnection endpoint once for a client of each
// fleet that is to be closed, none of which is connected yet, so that a wrong URL, key, instance or
// permission is known now and not in the storm. Any other answer will do:
// what the API says of a client that is offline is its own affair.
func (r *run) checkEndpoint(ctx context.Context, c *closeconn.Client, url string) error {
	for _, f := range closedFleets(r.plan) {
		if err := c.Pace(ctx); err != nil {
			return err
		}
		_, err := c.CloseConnection(ctx, fleet.ClientID(f.ClientID, r.id, f.Name, 0))
		var answer *closeconn.APIError
		switch {
		case err == nil:
		case !errors.As(err, &answer) || answer.Code == "":
			return fmt.Errorf("%w: no CloseConnection endpoint at %s: %w", target.ErrUnreachable, url, err)
		case answer.Denied():
			return fmt.Errorf("%w: %s: %w", ErrDenied, url, err)
		}
	}
	return nil
}

// ended reports whether a target with a process of its own has lost it.
func ended(t target.Target) bool {
	p, ok := t.(interface{ Done() <-chan struct{} })
	if !ok {
		return false
	}
	select {
	case <-p.Done():
		return true
	default:
		return false
	}
}

// tellPID tells the caller of the broker's process.
func (r *run) tellPID() {
	if pid := r.brokerPID(); pid != 0 && r.opts.OnPID != nil {
		r.opts.OnPID(pid)
	}
}

// brokerPID is the broker's own process, where it has one.
func (r *run) brokerPID() int {
	if c, ok := r.target.(interface{ PID() int }); ok {
		return c.PID()
	}
	return 0
}
