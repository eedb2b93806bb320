// Package reports is what comes out of a run: the Report and its versioned
// JSON, the table of formats that show it, and the comparison of two.
//
// In: a Report from judge or from a report.json. Out: report.json, summary.md,
// bench.txt, .hlog, .hgrm and CSV files, the terminal's ten-second summary, a
// Comparison. It imports nothing of this module.
//
// Adding a format is one file and one row in Formats. A quantile is printed by
// quantile.go alone, which never prints one without its counts.
package reports
