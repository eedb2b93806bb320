// Package judge turns the evidence of one run into its report: outages and
// their parts, outcomes of each action, waves, messages, checks, expectations
// and the verdict with its exit code.
//
// In: the files of a run's folder (scenario, target, plan, env, events,
// accounts, findings, health) as an fs.FS. Out: a *reports.Report that is a pure function
// of those files: the same bytes in give the same bytes out; no clock, no
// environment and no map order has a part in it.
//
// Flow order: evidence.go reads, trace.go orders each client's connections,
// explain.go gives each action its outcome, outage.go lays the outages down,
// parts.go takes each apart, wave.go sums up a wave, loss.go joins lost
// messages with outages, gather.go collects what the checks look at, expect.go
// and verdict.go judge, defects.go asks whether a known defect explains a check,
// charts*.go draw, judge.go is the main path.
//
// It may import the leaves and measure, ledger and check; no client library
// and no broker reaches it.
package judge
