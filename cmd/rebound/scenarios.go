package main

import (
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/rebound-mqtt/rebound/scenarios"
)

func scenariosCommand(io streams) *cobra.Command {
	return &cobra.Command{
		Use:   "scenarios [NAME]",
		Short: "List the shipped scenarios, or print one",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 1 {
				s, err := scenarios.Lookup(args[0])
				if err != nil {
					return usage(err)
				}
				_, err = io.out.Write(s.Data)
				return err
			}
			w := tabwriter.NewWriter(io.out, 0, 0, 2, ' ', 0)
			for _, s := range scenarios.Library() {
				fmt.Fprintf(w, "%s\t%s\n", s.Name, s.Summary)
			}
			return w.Flush()
		},
	}
}
