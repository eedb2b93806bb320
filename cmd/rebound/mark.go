package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/rebound-mqtt/rebound/harness"
)

func markCommand(io streams) *cobra.Command {
	var dir string
	var begin, end bool
	c := &cobra.Command{
		Use:   "mark TEXT",
		Short: "Tell a running run of an outside event, which becomes a fault in its evidence",
		Long: `Tell the run that is going on in a folder of an outside event: a rollout that
someone began, a cable that was pulled. It becomes a fault of unknown extent in
the run's evidence: the ends of connections after it that nothing else explains
are charged to it, to the end of the phase, and are not unscripted.

--begin and --end with the same TEXT say how long it lasts. The answer says at
which instant of the run the mark was entered.

The run listens on a unix socket in its folder, mark.sock, which only its owner
may open (mark.sock.path names it where that path would be too long). Exit code
4: no run is going on there; 1: the run did not take the mark.`,
		Example: `  rebound mark "rollout of broker 2.1"
  rebound mark --run out/try-1 --begin "node 3 drained"
  rebound mark --run out/try-1 --end "node 3 drained"`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			edge := ""
			switch {
			case begin && end:
				return usagef("--begin and --end exclude each other")
			case begin:
				edge = harness.MarkBegin
			case end:
				edge = harness.MarkEnd
			}
			ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			m, err := harness.SendMark(ctx, dir, args[0], edge)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(io.out, "marked at %s, in phase %s\n", m.At.Round(time.Millisecond), m.Phase)
			return err
		},
	}
	c.Flags().StringVar(&dir, "run", filepath.Join(harness.DefaultRuns, "latest"), "folder `DIR` of the run")
	c.Flags().BoolVar(&begin, "begin", false, "the event begins now, and --end will say when it is over")
	c.Flags().BoolVar(&end, "end", false, "the event that was begun with this TEXT is over")
	return c
}
