package main

import (
	"github.com/spf13/cobra"

	"github.com/rebound-mqtt/rebound/harness"
	"github.com/rebound-mqtt/rebound/reports"
	"github.com/rebound-mqtt/rebound/scenarios"
)

func schemaCommand(io streams) *cobra.Command {
	return &cobra.Command{
		Use:   "schema [scenario|target|report]",
		Short: "Print the JSON Schema of scenario or target files, or of report.json",
		Long: `Print the JSON Schema (draft 2020-12) of scenario files or of target files, for
an editor that completes and checks YAML by a schema, or that of the report.json
that this version writes.`,
		Example: `  rebound schema > scenario.schema.json
  rebound schema report > report.schema.json`,
		Args:      cobra.MaximumNArgs(1),
		ValidArgs: []cobra.Completion{"scenario", "target", "report"},
		RunE: func(_ *cobra.Command, args []string) error {
			text, err := schemaOf(append(args, "scenario")[0])
			if err != nil {
				return err
			}
			_, err = io.out.Write(text)
			return err
		},
	}
}

func schemaOf(what string) ([]byte, error) {
	switch what {
	case "scenario":
		return harness.ScenarioSchema(harness.DefaultTables())
	case "target":
		return scenarios.TargetSchemaJSON()
	case "report":
		return reports.Schema(), nil
	}
	return nil, usagef("no schema of %q: want scenario, target or report", what)
}
