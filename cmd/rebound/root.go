package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/rebound-mqtt/rebound/harness"
)

// version is set at release by -ldflags "-X main.version=…".
var version = "0.1.0"

const long = `Rebound closes the connections of thousands of real MQTT clients and measures
what follows: how long until every client is useful again, whether the broker
survives the stampede, and whether any message is lost, doubled or reordered.

Exit codes
  0    every expectation passed and every check is valid
  1    an expectation failed, or a check is invalid
  2    usage or scenario invalid
  3    some verdict is unknown: the run can not decide
  4    no MQTT broker at the target
  5    compare says worse
  7    the run could not be done
  130  interrupted; the report was written`

// commands is the table of subcommands: one file each.
func commands(io streams) []*cobra.Command {
	return []*cobra.Command{
		runCommand(io),
		scenariosCommand(io),
		planCommand(io),
		validateCommand(io),
		reportCommand(io),
		compareCommand(io),
		brokerCommand(io),
		schemaCommand(io),
	}
}

// streams are where a command prints: results to out, progress and errors to err.
type streams struct{ out, err io.Writer }

// exit is an error that carries the exit code of a command that did its work
// and has already said what there is to say.
type exit int

func (e exit) Error() string { return fmt.Sprintf("exit %d", int(e)) }

func execute(args []string, out, errw io.Writer) int {
	io := streams{out, errw}
	root := &cobra.Command{
		Use:           "rebound",
		Short:         "Load and chaos testing for MQTT reconnects",
		Long:          long,
		Version:       version,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.NoArgs,
	}
	root.SetOut(out)
	root.SetErr(errw)
	root.SetArgs(args)
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return harness.Usage(fmt.Errorf("%w\nsee '%s --help'", err, c.CommandPath()))
	})
	for _, c := range commands(io) {
		c.Args = usageArgs(c.Args)
		root.AddCommand(c)
	}
	// Without RunE cobra would answer an unknown command with exit 1.
	root.Args = usageArgs(cobra.NoArgs)
	root.RunE = func(c *cobra.Command, _ []string) error { return c.Help() }

	err := root.Execute()
	if code := exit(0); errors.As(err, &code) {
		return int(code)
	}
	if err != nil {
		fmt.Fprintln(errw, "rebound:", err)
	}
	return harness.ExitCode(err)
}

// usageArgs makes a wrong number of arguments a usage error.
func usageArgs(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if check == nil {
			return nil
		}
		if err := check(c, args); err != nil {
			return harness.Usage(fmt.Errorf("%w\nsee '%s --help'", err, c.CommandPath()))
		}
		return nil
	}
}
