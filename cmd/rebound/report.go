package main

import (
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/rebound-mqtt/rebound/harness"
)

func reportCommand(io streams) *cobra.Command {
	var format formatFlag
	c := &cobra.Command{
		Use:   "report DIR",
		Short: "Judge a run's evidence again and write its reports",
		Long: `Judge the evidence in a run's folder again and write every report file, or those
of --format and what is there already. Where GITHUB_STEP_SUMMARY names a file,
the page is added to it; under GitHub Actions what did not hold becomes
annotations.

The same version of rebound writes the same report.json, byte for byte. Another
version writes into DIR/judged-by-<version> and never over the old reports. A
folder whose run was killed reads as incomplete and ends with exit code 3.`,
		Example: `  rebound report reports/runs/latest
  rebound report reports/runs/latest --format junit,summary`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if runs := runsOf(args[0]); len(runs) > 0 {
				return usagef("%s holds a set of %s: name one of them, such as %s", args[0], plural(len(runs), "run"), runs[0])
			}
			formats, err := format.rows()
			if err != nil {
				return err
			}
			r, dir, err := harness.Rejudge(args[0], version, formats)
			if err != nil {
				return err
			}
			if err := show(io, forPeople(dir, formats), r); err != nil {
				return err
			}
			tellGitHub(io, pageOf(r), r)
			return exitWith(r.ExitCode)
		},
	}
	format.register(c)
	return c
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
