package main

import (
	"github.com/spf13/cobra"

	"github.com/rebound-mqtt/rebound/harness"
)

func schemaCommand(io streams) *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of scenario files",
		Long: `Print the JSON Schema of scenario files, for an editor that completes and
checks YAML by a schema.`,
		Example: "  rebound schema > scenario.schema.json",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			text, err := harness.ScenarioSchema(harness.DefaultTables())
			if err != nil {
				return err
			}
			_, err = io.out.Write(text)
			return err
		},
	}
}
