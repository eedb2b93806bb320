package main

import (
	"github.com/spf13/cobra"

	"github.com/rebound-mqtt/rebound/harness"
	"github.com/rebound-mqtt/rebound/scenarios"
)

// planFlags are the flags that change a plan.
type planFlags struct {
	clients int
	seed    uint64
	target  string
	kick    string
	driver  string
	pace    float64 // of closes, in calls per second; of 'run' only
	given   func(flag string) bool
	file    *scenarios.Target // of --target FILE; nil = it names none
}

// resolve reads the target file that --target names; its name in a plan then
// stands for it.
func (f *planFlags) resolve() error {
	if !harness.IsTargetFile(f.target) {
		return nil
	}
	file, text, err := harness.LoadTarget(f.target)
	if err != nil {
		return withSource(err, text)
	}
	f.file, f.target = file, harness.TargetName(file)
	return nil
}

func (f *planFlags) register(c *cobra.Command) {
	c.Flags().IntVar(&f.clients, "clients", 0, "`N` clients; scales every fleet in proportion (default: the scenario's)")
	c.Flags().Uint64Var(&f.seed, "seed", 0, "seed `S` of every random choice (default: the scenario's)")
	c.Flags().StringVar(&f.target, "target", "embedded", "`WHERE` the broker is: embedded | pipe | child | mosquitto | tcp://HOST:PORT | FILE, a target file")
	c.Flags().StringVar(&f.kick, "kick", "", "`HOW` connections are closed without an endpoint: fin")
	c.Flags().StringVar(&f.driver, "driver", harness.DefaultDriver, "client `LIBRARY`: paho | strict, the control that keeps MQTT 3.1.1 by the letter")
	f.given = c.Flags().Changed
}

// plan resolves the scenario; run n of a set advances the seed by n.
func (f *planFlags) plan(sc *scenarios.Scenario, tables harness.Tables, endpoint string, n int) (*scenarios.Plan, error) {
	if f.given("clients") && f.clients < 1 {
		return nil, usagef("--clients %d: want at least 1", f.clients)
	}
	seed := f.seedOf(sc, n)
	return harness.NewPlan(sc, harness.PlanOptions{
		Tables: tables, Seed: &seed, Clients: f.clients, Target: f.target, Endpoint: endpoint, Kick: f.kick, Driver: f.driver,
		CloseRate: f.pace, TargetFile: f.file,
	})
}

// seedOf is the seed of run n of a set.
func (f *planFlags) seedOf(sc *scenarios.Scenario, n int) uint64 {
	if f.given("seed") {
		return f.seed + uint64(n)
	}
	return sc.Seed + uint64(n)
}

func planCommand(io streams) *cobra.Command {
	var f planFlags
	var victims bool
	c := &cobra.Command{
		Use:   "plan NAME|FILE",
		Short: "Print the resolved, seeded timetable (plan.yaml) without running it",
		Long: `Print the plan of a scenario: defaults filled in, the seed, the hashes, every
wave with its number of victims and their digest. The same scenario and seed
give the same bytes.`,
		Example: `  rebound plan kick-fraction --seed 7
  rebound plan kick-fraction --seed 7 --victims`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if err := f.resolve(); err != nil {
				return err
			}
			tables := harness.DefaultTables()
			sc, text, err := loadScenario(args[0], tables)
			if err != nil {
				return err
			}
			plan, err := f.plan(sc, tables, "", 0)
			if err != nil {
				return withSource(err, text)
			}
			return scenarios.WritePlan(io.out, plan, victims)
		},
	}
	f.register(c)
	c.Flags().BoolVar(&victims, "victims", false, "list every victim with its offset")
	return c
}
