package main

import (
	"github.com/spf13/cobra"

	"github.com/rebound-mqtt/rebound/harness"
)

func reportCommand(io streams) *cobra.Command {
	return &cobra.Command{
		Use:   "report DIR",
		Short: "Judge a run's evidence again and write its reports",
		Long: `Judge the evidence in a run's folder again and write every report file.

The same version of rebound writes the same report.json, byte for byte. Another
version writes beside it (report-<version>.json) and never over it. A folder
whose run was killed reads as incomplete and ends with exit code 3.`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			r, dir, err := harness.Rejudge(args[0], version)
			if err != nil {
				return err
			}
			if err := show(io, dir, r); err != nil {
				return err
			}
			if r.ExitCode != 0 {
				return exit(r.ExitCode)
			}
			return nil
		},
	}
}
