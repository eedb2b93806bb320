package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/rebound-mqtt/rebound/harness"
)

func validateCommand(io streams) *cobra.Command {
	return &cobra.Command{
		Use:   "validate FILE…",
		Short: "Check scenario files; prints every mistake with its place",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			tables := harness.DefaultTables()
			var all error
			for _, path := range args {
				sc, _, err := harness.LoadScenario(path, tables)
				if err == nil {
					_, err = harness.NewPlan(sc, harness.PlanOptions{Tables: tables, Target: "embedded"})
				}
				if err != nil {
					all = errors.Join(all, err)
					continue
				}
				fmt.Fprintf(io.out, "%s: valid\n", path)
			}
			return all
		},
	}
}
