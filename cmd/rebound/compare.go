package main

import (
	"github.com/spf13/cobra"

	"github.com/rebound-mqtt/rebound/reports"
)

func compareCommand(io streams) *cobra.Command {
	return &cobra.Command{
		Use:   "compare OLD NEW",
		Short: "Put two runs side by side; exit 5 when the new one is worse",
		Long: `Compare two run folders or report.json files of the same scenario.

Counts decide by an exact rule: a message lost, a client censored or a session
fault where the old run had none is worse (exit 5). Times of one run a side
decide nothing: they read "inconclusive, n = 1: run --repeat 5" (exit 0).`,
		Args: cobra.ExactArgs(2),
		RunE: func(_ *cobra.Command, args []string) error {
			var sides [2][]*reports.Report
			for i, path := range args {
				r, err := reports.ReadPath(path)
				if err != nil {
					return usage(err)
				}
				sides[i] = []*reports.Report{r}
			}
			c := reports.Compare(sides[0], sides[1])
			if err := reports.WriteText(io.out, c); err != nil {
				return err
			}
			if code := c.ExitCode(); code != 0 {
				return exit(code)
			}
			return nil
		},
	}
}
