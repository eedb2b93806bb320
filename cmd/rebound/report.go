package main

import (
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/rebound-mqtt/rebound/harness"
)

func reportCommand(io streams) *cobra.Command {
	return &cobra.Command{
		Use:   "report DIR",
		Short: "Judge a run's evidence again and write its reports",
		Long: `Judge the evidence in a run's folder again and write every report file.

The same version of rebound writes the same report.json, byte for byte. Another
version writes into DIR/judged-by-<version> and never over the old reports. A
folder whose run was killed reads as incomplete and ends with exit code 3.`,
		Example: "  rebound report reports/runs/latest",
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if runs := runsOf(args[0]); len(runs) > 0 {
				return usagef("%s holds a set of %s: name one of them, such as %s", args[0], plural(len(runs), "run"), runs[0])
			}
			r, dir, err := harness.Rejudge(args[0], version)
			if err != nil {
				return err
			}
			if err := show(io, dir, r); err != nil {
				return err
			}
			return exitWith(r.ExitCode)
		},
	}
}

// runsOf lists the runs in the folder of a set (run --repeat); any other path
// has none.
func runsOf(dir string) []string {
	if _, err := os.Stat(filepath.Join(dir, "plan.yaml")); err == nil {
		return nil
	}
	entries, err := os.ReadDir(filepath.Join(dir, "runs"))
	if err != nil {
		return nil
	}
	var out []string
	for _, e := range entries {
		if e.IsDir() {
			out = append(out, filepath.Join(dir, "runs", e.Name()))
		}
	}
	return out
}
