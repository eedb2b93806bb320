// Command soundness shows that the checks raise no false alarm: it runs the
// shipped scenarios against a broker that keeps the rules, seed by seed and
// with each client library, and demands that no verdict is invalid but those
// that charge a library under test, with evidence.
//
// It stops on Ctrl-C and goes on where it stopped: a run whose report was made
// by the same binary from the same scenario is not done again.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/rebound-mqtt/rebound/harness"
	"github.com/rebound-mqtt/rebound/scenarios"
)

// The exit codes, which are those of `rebound` where it has one for it.
const (
	exitSound       = 0
	exitUnsound     = 1
	exitUsage       = 2
	exitError       = 7
	exitInterrupted = 130
)

// options are the flags.
type options struct {
	seeds     int
	scenarios []string // empty = all shipped
	drivers   []string
	target    string
	clients   int // at most so many
	jobs      int
	out       string
	binary    string
}

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, out, errs io.Writer) int {
	o, err := parse(args, errs)
	if errors.Is(err, flag.ErrHelp) {
		return exitSound
	}
	if err != nil {
		fmt.Fprintln(errs, "soundness:", err)
		return exitUsage
	}
	plan, err := matrix(o)
	if err != nil {
		fmt.Fprintln(errs, "soundness:", err)
		return exitUsage
	}
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)
	outcomes, stopped, err := runAll(plan, o, out, signals)
	if err != nil {
		fmt.Fprintln(errs, "soundness:", err)
		return exitError
	}
	sum := summarize(outcomes, len(plan))
	text := sum.text(stopped)
	fmt.Fprint(out, "\n"+text)
	if err := os.WriteFile(filepath.Join(o.out, "summary.txt"), []byte(text), 0o644); err != nil {
		fmt.Fprintln(errs, "soundness:", err)
		return exitError
	}
	switch {
	case !sum.sound():
		return exitUnsound
	case stopped:
		return exitInterrupted
	}
	return exitSound
}

func parse(args []string, errs io.Writer) (options, error) {
	var o options
	var names, drivers string
	f := flag.NewFlagSet("soundness", flag.ContinueOnError)
	f.SetOutput(errs)
	f.IntVar(&o.seeds, "seeds", 10, "run each scenario with seeds 1 to `N`")
	f.StringVar(&names, "scenarios", "", "comma-separated `NAMES` (default: all shipped ones)")
	f.StringVar(&drivers, "drivers", "paho,strict", "comma-separated client `LIBRARIES`")
	f.StringVar(&o.target, "target", "mosquitto", "the broker that keeps the rules: `WHERE`, as for rebound run; a scenario that it can not do is run on the first target that can")
	f.IntVar(&o.clients, "clients", fewClients, "at most `N` clients in a run")
	f.IntVar(&o.jobs, "jobs", 1, "`N` runs at the same time; more than one starve each other on few cores")
	f.StringVar(&o.out, "out", "soundness-out", "`DIR` of the runs and of summary.txt")
	f.StringVar(&o.binary, "rebound", "bin/rebound", "`PATH` of the command")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	o.scenarios, o.drivers = list(names), list(drivers)
	switch {
	case f.NArg() > 0:
		return o, fmt.Errorf("unexpected argument %q", f.Arg(0))
	case o.seeds < 1 || o.jobs < 1 || o.clients < 1:
		return o, errors.New("--seeds, --clients and --jobs: want at least 1")
	case len(o.drivers) == 0:
		return o, errors.New("--drivers: want at least one")
	}
	return o, nil
}

func list(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' })
}

// fewClients bounds a fleet: soundness needs many short runs, not big ones.
const fewClients = 100

// matrix lists the runs, seeds outermost, so that a run that is cut short has
// seen every scenario.
func matrix(o options) ([]job, error) {
	var shipped []scenarios.Shipped
	for _, name := range o.scenarios {
		s, err := scenarios.Lookup(name)
		if err != nil {
			return nil, err
		}
		shipped = append(shipped, s)
	}
	if len(shipped) == 0 {
		shipped = scenarios.Library()
	}
	var jobs []job
	for seed := range o.seeds {
		for _, s := range shipped {
			clients, target, err := fit(s.Name, o)
			if err != nil {
				return nil, err
			}
			for _, driver := range o.drivers {
				jobs = append(jobs, job{scenario: s.Name, text: s.Data, driver: driver, seed: seed + 1, target: target, clients: clients})
			}
		}
	}
	return jobs, nil
}

// fit gives the number of clients to ask for, 0 = the scenario's own, and a
// target that can do what the scenario's faults need.
func fit(name string, o options) (clients int, target string, err error) {
	sc, _, err := harness.LoadScenario(name, harness.DefaultTables())
	if err != nil {
		return 0, "", err
	}
	if sc.Clients > o.clients {
		clients = max(o.clients, len(sc.Fleets))
	}
	target = o.target
	if can := harness.DefaultTables().TargetsFor(sc); len(can) > 0 && !slices.Contains(can, target) && !strings.Contains(target, "://") {
		target = can[0]
	}
	return clients, target, nil
}
