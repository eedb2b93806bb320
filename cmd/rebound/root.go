package main

import (
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
  0    every expectation and every check passed, or is excused by on_fail: warn or
       a known defect of the target
  1    an expectation failed, or a check is invalid and no known defect;
       close: a call was answered with an error; mark: the run did not take it
  2    usage or scenario invalid, or the CloseConnection endpoint refuses the key:
       no client was connected
  3    some verdict is unknown: the run cannot decide
  4    no MQTT broker at the target, or nothing that answers at its
       CloseConnection endpoint; mark: no run is going on there
  5    compare says worse
  6    a part of the run was lost (not in this version)
  7    the run could not be done: disk, port, internal error
  130  interrupted; after the first Ctrl-C the report was written
A set of runs ends with its worst code, in the order 130, 7, 4, 1, 6, 3, 0.`

// commands is the table of subcommands: one file each.
func commands(io streams) []*cobra.Command {
	return []*cobra.Command{
		runCommand(io),
		scenariosCommand(io),
		planCommand(io),
		validateCommand(io),
		reportCommand(io),
		compareCommand(io),
		baselineCommand(io),
		brokerCommand(io),
		closeCommand(io),
		markCommand(io),
		doctorCommand(io),
		schemaCommand(io),
	}
}

// streams are where a command prints: results to out, progress and errors to err.
type streams struct{ out, err io.Writer }

// execute runs one command line and gives the exit code.
func execute(args []string, out, errw io.Writer) int {
	root := rootCommand(streams{out, errw})
	root.SetArgs(args)
	c, err := root.ExecuteC()
	printError(errw, err, c.Flags().Lookup("out") != nil)
	if name := c.Name(); name == "run" || name == "report" { // the stdout of others is for programs
		annotateError(streams{out, errw}, err)
	}
	return exitCode(err)
}

func rootCommand(io streams) *cobra.Command {
	root := &cobra.Command{
		Use:     "rebound",
		Short:   "Load and chaos testing for MQTT reconnects",
		Long:    long,
		Example: "  rebound run kick-all\n  rebound scenarios",
		Version: version,
		// Without RunE cobra would answer an unknown command with exit 1.
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetOut(io.out)
	root.SetErr(io.err)
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return usagef("%w\nsee '%s --help'", err, c.CommandPath())
	})
	root.AddCommand(commands(io)...)
	root.SetHelpCommand(helpCommand())
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	usageArgs(root)
	return root
}

// helpCommand is cobra's, but for a name that there is not.
func helpCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND]",
		Short: "Show the help of a command",
		Args:  cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			found, rest, err := c.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return unknownCommand(c.Root(), args[0])
			}
			found.InitDefaultHelpFlag()
			return found.Help()
		},
	}
}

// usageArgs makes a wrong number of arguments a usage error that shows the
// right one, for a command and all below it.
func usageArgs(c *cobra.Command) {
	for _, sub := range c.Commands() {
		usageArgs(sub)
	}
	check := c.Args
	if check == nil {
		return
	}
	c.Args = func(c *cobra.Command, args []string) error {
		switch err := check(c, args); {
		case err == nil:
			return nil
		case c.HasSubCommands():
			return unknownCommand(c, args[0])
		}
		return usagef("got %s, want '%s'\nsee '%s --help'", plural(len(args), "argument"), c.UseLine(), c.CommandPath())
	}
}

func unknownCommand(c *cobra.Command, name string) error {
	c.SuggestionsMinimumDistance = 2
	meant := ""
	if s := c.SuggestionsFor(name); len(s) > 0 {
		meant = " (did you mean \"" + s[0] + "\"?)"
	}
	return usagef("unknown command %q%s\nsee '%s --help'", name, meant, c.CommandPath())
}

// exitCode says with which code a command's error ends the program.
func exitCode(err error) int {
	if e, ok := err.(exit); ok {
		return e.code
	}
	return harness.ExitCode(err)
}
