package main

import (
	"bytes"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rebound-mqtt/rebound/reports"
)

// formatFlag is --format of the commands that write reports.
type formatFlag struct{ names []string }

func (f *formatFlag) register(c *cobra.Command) {
	var names []string
	for _, row := range reports.Formats() {
		names = append(names, row.Name)
	}
	c.Flags().StringSliceVar(&f.names, "format", nil, "write only the formats `NAMES`, with commas between: "+strings.Join(names, ", ")+" (default all; compare reads json)")
	// The error is that of a flag that there is not.
	_ = c.RegisterFlagCompletionFunc("format", func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
		return names, cobra.ShellCompDirectiveNoFileComp
	})
}

// rows are the formats to write.
func (f *formatFlag) rows() ([]reports.Format, error) {
	rows, err := reports.FormatsNamed(f.names...)
	if err != nil {
		return nil, usagef("--format: %w", err)
	}
	return rows, nil
}

// forPeople is the file that a person opens first, of those that were written;
// without any the folder.
func forPeople(dir string, formats []reports.Format) string {
	for _, name := range []string{"html", "summary"} {
		if i := slices.IndexFunc(formats, func(f reports.Format) bool { return f.Name == name }); i >= 0 {
			return filepath.Join(dir, formats[i].File)
		}
	}
	return dir
}

// ofSets are those of the formats that a set of runs has.
func ofSets(formats []reports.Format) []reports.Format {
	return slices.DeleteFunc(slices.Clone(formats), func(f reports.Format) bool { return f.Set == nil })
}

// pageOf is the Markdown page of one run.
func pageOf(r *reports.Report) string {
	var b bytes.Buffer
	if err := reports.WriteSummary(&b, r); err != nil {
		return fmt.Sprintf("The report could not be shown: %v\n", err)
	}
	return b.String()
}
