package kernel

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// The errors of this package.
var (
	// ErrOutside says that this process is in no network namespace of its own:
	// rules would meet the traffic of others.
	ErrOutside = errors.New("this process is not in a network namespace of its own")
	// ErrMissing says that this machine lacks what a rule needs.
	ErrMissing = errors.New("not on this machine")
)

const (
	loopback = "lo"
	// patience bounds one call of nft or tc, which take milliseconds.
	patience = 10 * time.Second
)

// Report is what this machine can do.
type Report struct {
	// User says that the network namespace comes with a user namespace: we may
	// not make it without.
	User      bool
	Namespace string            // why there can be no network namespace; "" = there can
	Missing   map[string]string // by kind of rule: why it can not be laid down in it; "" = it can
}

// Why says why a kind of rule can not be had here; "" = it can.
func (r Report) Why(kind string) string {
	if r.Namespace != "" {
		return r.Namespace
	}
	return r.Missing[kind]
}

// Kernel lays rules down in the network namespace of this process.
type Kernel struct {
	missing map[string]string // by kind of rule

	mu   sync.Mutex
	laid map[string]string // kind of the rule, by its name
}

// Open probes what can be done here. Outside a namespace that Enter
// made nothing can, and nothing is tried.
func Open(ctx context.Context) *Kernel {
	k := &Kernel{missing: map[string]string{}, laid: map[string]string{}}
	for _, kind := range Kinds() {
		if !Inside() {
			k.missing[kind] = ErrOutside.Error()
		} else if err := probe(ctx, kind); err != nil {
			k.missing[kind] = err.Error()
		}
	}
	return k
}

// Missing says why a kind of rule can not be laid down; "" = it can.
func (k *Kernel) Missing(kind string) string { return k.missing[kind] }

// Lay puts a rule in place under a name of the caller's ([a-z0-9_]).
func (k *Kernel) Lay(ctx context.Context, name string, r Rule) error {
	if why := k.missing[r.Kind]; why != "" {
		return fmt.Errorf("%s: %w: %s", r.Kind, ErrMissing, why)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.laid[name] = r.Kind // before: a call that was cut short may have had its effect
	return lay(ctx, name, r)
}

// Remove takes a rule away; it may be called twice, or without Lay.
func (k *Kernel) Remove(ctx context.Context, name string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	kind, found := k.laid[name]
	if !found {
		return nil
	}
	if err := remove(ctx, name, kind); err != nil {
		return err
	}
	delete(k.laid, name)
	return nil
}

// Close takes away every rule that is left.
func (k *Kernel) Close(ctx context.Context) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	var err error
	for name, kind := range k.laid {
		err = errors.Join(err, remove(ctx, name, kind))
	}
	clear(k.laid)
	return err
}

func lay(ctx context.Context, name string, r Rule) error {
	if !Inside() {
		return ErrOutside
	}
	if r.Kind == Netem {
		return call(ctx, "tc", "", r.tc()...)
	}
	return call(ctx, "nft", r.nft(table(name)), "-f", "-")
}

func remove(ctx context.Context, name, kind string) error {
	if !Inside() {
		return ErrOutside
	}
	if kind == Netem {
		return call(ctx, "tc", "", "qdisc", "del", "dev", loopback, "root")
	}
	// In one transaction: a table that is not there is first made.
	t := table(name)
	return call(ctx, "nft", fmt.Sprintf("table inet %s {}\ndelete table inet %s\n", t, t), "-f", "-")
}

func table(name string) string { return "rebound_" + name }

// probe lays a rule that meets no packet, and takes it away again.
func probe(ctx context.Context, kind string) error {
	r := Rule{Kind: kind, Ports: []int{1}, Rate: 1, Burst: 1, Delay: time.Microsecond}
	if err := lay(ctx, "probe", r); err != nil {
		return err
	}
	return remove(ctx, "probe", kind)
}

// call runs a program of the system with its input; its error is what the
// program said in its first line.
func call(ctx context.Context, program, input string, args ...string) error {
	path, err := look(program)
	if err != nil {
		return fmt.Errorf("%s is not installed (%s)", program, packages[program])
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C"}
	cmd.Stdin = strings.NewReader(input)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("%s: %w", program, context.Cause(ctx))
		}
		first, _, _ := strings.Cut(strings.TrimSpace(said.String()), "\n")
		return fmt.Errorf("%s: %w: %s", program, err, strings.TrimSpace(first))
	}
	return nil
}

// packages says where the programs come from.
var packages = map[string]string{"nft": "Debian: nftables", "tc": "Debian: iproute2"}

// look also looks where a user's PATH does not.
func look(program string) (string, error) {
	path, err := exec.LookPath(program)
	if err == nil {
		return path, nil
	}
	for _, dir := range []string{"/usr/sbin", "/sbin"} {
		if path, err := exec.LookPath(filepath.Join(dir, program)); err == nil {
			return path, nil
		}
	}
	return "", err
}
