package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/rebound-mqtt/rebound/harness"
)

func validateCommand(io streams) *cobra.Command {
	return &cobra.Command{
		Use:   "validate FILE…",
		Short: "Check scenario and target files; prints every mistake with its place",
		Long: `Check scenario files and target files without running them. Every mistake of
every file is printed as file:line:col: message, with the line and a caret; then
the exit code is 2. A fault that only some targets can do is no mistake here;
'rebound plan' and 'rebound run' know the target.`,
		Example: "  rebound validate scenarios/*.yaml",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			bad := 0
			for _, path := range args {
				if err := validate(path); err != nil {
					printError(io.err, err, false)
					bad++
					continue
				}
				fmt.Fprintf(io.out, "%s: valid\n", path)
			}
			if bad == 0 {
				return nil
			}
			return usagef("%d of %s invalid", bad, plural(len(args), "file"))
		},
	}
}

// validate loads a scenario and plans it: the parameters of a fault belong to
// the fault, which reads them when it is planned. A scenario names no target, so
// any that can do its faults will do; a target is loaded only.
func validate(path string) error {
	if harness.HoldsTarget(path) {
		_, text, err := harness.LoadTarget(path)
		return withSource(err, text)
	}
	tables := harness.DefaultTables()
	sc, text, err := loadScenario(path, tables)
	if err == nil {
		_, err = harness.NewPlan(sc, harness.PlanOptions{Tables: tables, Target: tables.TargetOf(sc)})
	}
	return withSource(err, text)
}
