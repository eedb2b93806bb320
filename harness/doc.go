// Package harness is the main path: a scenario becomes a plan, the plan is
// run, the run leaves a folder of evidence, and the evidence is judged.
//
// In: a scenarios.Scenario and options. Out: a folder of evidence and reports,
// and the *reports.Report that says what happened. It alone joins the rooms
// below it; nothing below it imports it.
//
// Read run.go first: it is the whole run, a step a function.
package harness
