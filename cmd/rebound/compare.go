package main

import (
	"github.com/spf13/cobra"

	"github.com/rebound-mqtt/rebound/harness"
	"github.com/rebound-mqtt/rebound/reports"
)

func compareCommand(io streams) *cobra.Command {
	return &cobra.Command{
		Use:   "compare OLD NEW",
		Short: "Put two runs side by side; exit 5 when the new one is worse",
		Long: `Compare two run folders, report.json files, or folders of 'run --repeat' of the
same scenario, number of clients and broker.

Counts decide by an exact rule: a message of QoS 1 or 2 lost, a client censored,
a message stuck, reordered or misrouted, an unscripted end, a rule of the wire
broken and the like, where the old run had none, is worse (exit 5), unless a
known defect of the target or the client library explains it. Times of one run a
side decide nothing: they read "inconclusive, n = 1: run --repeat 5" (exit 0).
Runs that did not finish decide nothing either (exit 3), and runs of different
scenarios, sizes or brokers are refused (exit 2).`,
		Example: "  rebound compare before/ after/\n  rebound compare baseline.json reports/runs/latest",
		Args:    cobra.ExactArgs(2),
		RunE: func(_ *cobra.Command, args []string) error {
			var sides [2][]*reports.Report
			for i, path := range args {
				var err error
				if sides[i], err = readSide(path); err != nil {
					return harness.Usage(err)
				}
			}
			c := reports.Compare(sides[0], sides[1], reports.CompareOptions{})
			if err := reports.CompareFormats()[0].Write(io.out, c); err != nil {
				return err
			}
			return exitWith(c.ExitCode)
		},
	}
}

// readSide reads a report, or every report of a set.
func readSide(path string) ([]*reports.Report, error) {
	paths := runsOf(path)
	if len(paths) == 0 {
		paths = []string{path}
	}
	var out []*reports.Report
	for _, p := range paths {
		r, err := reports.ReadPath(p)
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, nil
}
