package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/rebound-mqtt/rebound/harness"
)

func doctorCommand(io streams) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Say what this machine can do: its limits, its kernel, and the largest fleets that fit",
		Long: `Say what this machine can do: open files, ports, cores and memory; network
namespaces, and the faults that its kernel can bring about in them, each of
which is tried; the brokers that are installed; and the largest fleet that fits
each target, by the same numbers by which 'rebound run' refuses a larger one.

It changes nothing and needs no rights. Exit code 0 whatever it finds.`,
		Example: `  rebound doctor
  rebound doctor --json`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			m := harness.Doctor(ctx, harness.DefaultTables())
			if asJSON {
				e := json.NewEncoder(io.out)
				e.SetIndent("", "  ")
				return e.Encode(m)
			}
			_, err := io.out.Write([]byte(doctorText(m)))
			return err
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON, for programs")
	return c
}

// doctorText is what a machine can do, for people.
func doctorText(m harness.Machine) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	row := func(cells ...string) { fmt.Fprintln(w, strings.Join(cells, "\t")) }
	e := m.Environment
	row("machine", strings.Join(strings.Fields(fmt.Sprintf("%s %s %s · %s", e.OS, e.Kernel, e.Arch, e.CPU)), " "))
	cores := fmt.Sprint(e.Cores)
	if e.CPUQuota > 0 {
		cores += fmt.Sprintf(", of which the cgroup leaves %g", e.CPUQuota)
	}
	row("cores", cores)
	row("memory", sizeOf(e.MemoryByte))
	row("open files", fmt.Sprintf("%d, may be raised to %d; %d are open, %d are kept free", m.FDSoft, m.FDHard, m.FDUsed, m.FDReserve))
	row("ports", known(m.Ports, "for each pair of addresses"))
	row("listen queue", valueOf(e.Sysctls["net.core.somaxconn"]))
	_ = w.Flush() // a Builder takes all

	b.WriteString("\n")
	row("ABILITY", "NEEDED FOR", "HERE")
	for _, a := range m.Abilities {
		has := "yes"
		if a.Missing != "" {
			has = "no: " + a.Missing
		}
		row(a.Name, a.For, has)
	}
	_ = w.Flush()

	b.WriteString("\n")
	row("TARGET", "TRANSPORT", "FILES A CLIENT", "LARGEST FLEET", "BOUND BY")
	for _, f := range m.Fleets {
		clients, bound := fmt.Sprint(f.Clients), f.Bound
		if f.Clients < 0 {
			clients, bound = "no limit", "neither files nor ports"
		}
		if f.Basis != "" {
			bound += ": " + f.Basis
		}
		row(f.Target, f.Transport, fmt.Sprint(f.FDsPerClient), clients, bound)
	}
	_ = w.Flush()

	if len(m.Advice) > 0 {
		b.WriteString("\n")
	}
	for _, a := range m.Advice {
		fmt.Fprintf(&b, "- %s\n", a)
	}
	return b.String()
}

func sizeOf(bytes int64) string {
	if bytes == 0 {
		return "not known"
	}
	return fmt.Sprintf("%.1f GiB", float64(bytes)/(1<<30))
}

func known(n int, what string) string {
	if n == 0 {
		return "not known"
	}
	return fmt.Sprintf("%d %s", n, what)
}

func valueOf(text string) string {
	if text == "" {
		return "not known"
	}
	return text
}
