package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/rebound-mqtt/rebound/harness"
	"github.com/rebound-mqtt/rebound/scenarios"
)

func scenariosCommand(io streams) *cobra.Command {
	return &cobra.Command{
		Use:     "scenarios [NAME]",
		Short:   "List the shipped scenarios, or print one",
		Long:    "List the shipped scenarios with what they cost and need, or print the file of\none, to read it or to make an own one of it.\n\nFROM is the shortest time that a run takes; a fleet that takes its time makes it\nlonger. What a scenario needs besides a target is said behind it.",
		Example: "  rebound scenarios kick-all > my.yaml",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 1 {
				s, err := scenarios.Lookup(args[0])
				if err != nil {
					return harness.Usage(err)
				}
				_, err = io.out.Write(s.Data)
				return err
			}
			w := tabwriter.NewWriter(io.out, 0, 0, 2, ' ', 0)
			tables := harness.DefaultTables()
			fmt.Fprintln(w, "NAME\tCLIENTS\tFROM\tWHAT HAPPENS")
			for _, s := range scenarios.Library() {
				sc, _, err := harness.LoadScenario(s.Name, tables)
				if err != nil {
					return err
				}
				cost, err := harness.CostOf(sc, tables)
				if err != nil {
					return err
				}
				needs := ""
				if len(cost.Needs) > 0 {
					needs = " Needs " + strings.Join(cost.Needs, ", ") + "."
				}
				fmt.Fprintf(w, "%s\t%d\t%s\t%s%s\n", s.Name, cost.Clients, cost.AtLeast.Round(time.Second), s.Summary, needs)
			}
			return w.Flush()
		},
	}
}

// withSource gives mistakes that were found while a scenario was planned their
// line and caret.
func withSource(err error, text []byte) error {
	var mistakes scenarios.Errors
	if errors.As(err, &mistakes) {
		return mistakes.WithSource(text)
	}
	return err
}

// loadScenario is harness.LoadScenario with a hint for a file that reads as a
// name.
func loadScenario(nameOrPath string, tables harness.Tables) (*scenarios.Scenario, []byte, error) {
	sc, text, err := harness.LoadScenario(nameOrPath, tables)
	if errors.Is(err, scenarios.ErrUnknownScenario) {
		if _, serr := os.Stat(nameOrPath); serr == nil {
			err = usagef("%w\nfor the file of that name write ./%s", err, nameOrPath)
		}
	}
	return sc, text, err
}
