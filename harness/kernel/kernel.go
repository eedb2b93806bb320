package kernel

import (
	"bytes"
	"cmp"
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
	// ErrTaken says that there can be only one such rule at a time.
	ErrTaken = errors.New("there is one already, and a device takes one")
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
	scope   Scope
	missing map[string]string // by kind of rule

	mu   sync.Mutex
	last int            // number of the rule laid down last
	laid map[int]string // kinds of the rules that are there, by number
}

// Open probes what can be done here. Outside a namespace that Enter made
// nothing can, and nothing is tried; outside is why this process is there, if
// the caller knows.
func Open(ctx context.Context, s Scope, outside string) *Kernel {
	k := &Kernel{scope: s, missing: map[string]string{}, laid: map[int]string{}}
	for _, kind := range Kinds() {
		if !Inside() {
			k.missing[kind] = cmp.Or(outside, ErrOutside.Error())
		} else if err := probe(ctx, kind); err != nil {
			k.missing[kind] = err.Error()
		}
	}
	return k
}

// Missing says why a kind of rule can not be laid down; "" = it can.
func (k *Kernel) Missing(kind string) string { return k.missing[kind] }

// Lay puts a rule in place and numbers it. With an error there is no rule.
func (k *Kernel) Lay(ctx context.Context, r Rule) (number int, err error) {
	if why := k.missing[r.Kind]; why != "" {
		return 0, fmt.Errorf("%s: %w: %s", r.Kind, ErrMissing, why)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, kind := range k.laid {
		if r.Kind == Netem && kind == Netem {
			return 0, fmt.Errorf("%s: %w", r.Kind, ErrTaken)
		}
	}
	k.last++
	if err := lay(ctx, k.last, r, k.scope); err != nil {
		// A call that was cut short may have had its effect.
		return 0, errors.Join(err, remove(context.WithoutCancel(ctx), k.last, r.Kind))
	}
	k.laid[k.last] = r.Kind
	return k.last, nil
}

// Remove takes a rule away; it may be called twice.
func (k *Kernel) Remove(ctx context.Context, number int) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	kind, found := k.laid[number]
	if !found {
		return nil
	}
	if err := remove(ctx, number, kind); err != nil {
		return err
	}
	delete(k.laid, number)
	return nil
}

// Close takes away every rule that is left.
func (k *Kernel) Close(ctx context.Context) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	var err error
	for number, kind := range k.laid {
		err = errors.Join(err, remove(ctx, number, kind))
	}
	clear(k.laid)
	return err
}

func lay(ctx context.Context, number int, r Rule, s Scope) error {
	if !Inside() {
		return ErrOutside
	}
	if r.Kind == Netem {
		return call(ctx, "tc", "", r.tc()...)
	}
	return call(ctx, "nft", r.nft(table(number), s), "-f", "-")
}

// remove takes a rule away, whether it is there or not.
func remove(ctx context.Context, number int, kind string) error {
	if !Inside() {
		return ErrOutside
	}
	if kind == Netem {
		return call(ctx, "tc", "", "qdisc", "replace", "dev", loopback, "root", "noqueue")
	}
	// In one transaction: a table that is not there is first made.
	t := table(number)
	return call(ctx, "nft", fmt.Sprintf("table inet %s {}\ndelete table inet %s\n", t, t), "-f", "-")
}

func table(number int) string { return fmt.Sprintf("rebound_%d", number) }

// probe lays a rule that meets no packet, and takes it away again.
func probe(ctx context.Context, kind string) error {
	err := lay(ctx, 0, Rule{Kind: kind, Rate: 1, Burst: 1, Delay: time.Microsecond}, Scope{Ports: []int{1}})
	if err != nil {
		return err
	}
	return remove(ctx, 0, kind)
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
