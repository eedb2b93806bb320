package harness

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"slices"
	"strconv"

	"github.com/rebound-mqtt/rebound/harness/fault"
	"github.com/rebound-mqtt/rebound/harness/kernel"
	"github.com/rebound-mqtt/rebound/scenarios"
)

// exemptAddress is where the control fleet dials from in a namespace of our
// own: the kernel's rules leave it alone, so that it can tell who is back.
const exemptAddress = "127.0.0.254"

// NeedsNamespace reports whether a plan has faults of the kernel, which are laid
// down in a network namespace of the run's own only.
func NeedsNamespace(plan *scenarios.Plan, t Tables) bool {
	return plan.HasFault(func(name string) bool {
		kind, err := t.fault(name)
		return err == nil && slices.Contains(kind.Needs, fault.NeedsNamespace)
	})
}

// InNamespace reports whether this process is in a network namespace that
// EnterNamespace made: nothing outside reaches its addresses.
func InNamespace() bool { return kernel.Inside() }

// EnterNamespace runs this program again, with the same arguments, in a network
// namespace of its own, hands the signals on to it and gives its exit code. If
// there can be none it says why, and nothing was run. The program must call
// ChildMain first in main. A program that is in one already is not run again.
func EnterNamespace(ctx context.Context, signals <-chan os.Signal) (code int, entered bool, why string, err error) {
	if kernel.Inside() {
		return 0, false, "", nil
	}
	r := kernel.Probe(ctx)
	if r.Namespace != "" {
		return 0, false, "no network namespace: " + r.Namespace, nil
	}
	code, err = r.Enter(os.Args[1:], signals)
	return code, true, "", err
}

// openKernel finds out what the kernel can do, where the plan needs it.
func (r *run) openKernel(ctx context.Context) error {
	if !NeedsNamespace(r.plan, r.opts.Tables) {
		return nil
	}
	scope := kernel.Scope{Exempt: exemptAddress}
	for _, addr := range r.target.Info().Addresses {
		u, err := url.Parse(addr)
		if err != nil {
			return fmt.Errorf("target address: %w", err)
		}
		port, err := strconv.Atoi(u.Port())
		if err != nil {
			return fmt.Errorf("target address %s: %w", addr, err)
		}
		if !slices.Contains(scope.Ports, port) {
			scope.Ports = append(scope.Ports, port)
		}
	}
	r.kernel = kernel.Open(ctx, scope, r.opts.NoNamespace)
	r.later(func() error { return r.kernel.Close(context.WithoutCancel(ctx)) })
	return nil
}

// source is the address that a client dials from; nil = any.
func (r *run) source(clientID string) net.Addr {
	if r.kernel == nil || !kernel.Inside() {
		return nil
	}
	if _, device := r.where[clientID]; device {
		return nil
	}
	return &net.TCPAddr{IP: net.ParseIP(exemptAddress)}
}
