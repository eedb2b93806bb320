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
	seedSet func() bool
	target  string
	kick    string
}

func (f *planFlags) register(c *cobra.Command) {
	c.Flags().IntVar(&f.clients, "clients", 0, "number of clients; scales every fleet in proportion (default: the scenario's)")
	c.Flags().Uint64Var(&f.seed, "seed", 0, "seed of every random choice (default: the scenario's)")
	f.seedSet = func() bool { return c.Flags().Changed("seed") }
	c.Flags().StringVar(&f.target, "target", "embedded", "embedded | child | tcp://HOST:PORT")
	c.Flags().StringVar(&f.kick, "kick", "", "how connections are closed when there is no endpoint: fin")
}

// plan resolves the scenario; run n of a set advances the seed by n.
func (f *planFlags) plan(sc *scenarios.Scenario, tables harness.Tables, endpoint string, n int) (*scenarios.Plan, error) {
	seed := sc.Seed
	if f.seedSet() {
		seed = f.seed
	}
	seed += uint64(n)
	return harness.NewPlan(sc, harness.PlanOptions{
		Tables: tables, Seed: &seed, Clients: f.clients, Target: f.target, Endpoint: endpoint, Kick: f.kick,
	})
}

func planCommand(io streams) *cobra.Command {
	var f planFlags
	var victims bool
	c := &cobra.Command{
		Use:   "plan NAME|FILE",
		Short: "Print the resolved, seeded timetable (plan.yaml) without running it",
		Example: `  rebound plan kick-fraction --seed 7
  rebound plan kick-fraction --seed 7 --victims`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			tables := harness.DefaultTables()
			sc, _, err := harness.LoadScenario(args[0], tables)
			if err != nil {
				return err
			}
			plan, err := f.plan(sc, tables, "", 0)
			if err != nil {
				return err
			}
			return scenarios.WritePlan(io.out, plan, victims)
		},
	}
	f.register(c)
	c.Flags().BoolVar(&victims, "victims", false, "list every victim with its offset")
	return c
}
