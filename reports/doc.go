// Package reports is what comes out of a run: the Report and its versioned
// JSON, the table of formats that show it, and the comparison of two.
//
// In: a Report from judge or from a report.json. Out: report.json, summary.md,
// bench.txt, .hlog, .hgrm and CSV files, the terminal's ten-second summary, a
// Comparison. It imports nothing of this module.
package reports
