// Package measure turns instants and counts into figures, and watches the
// measuring instrument itself.
//
// It provides HDR histograms with their evidence encoding, the sharded Recorder
// for the hot path, Kaplan-Meier survival, the shape of the herd, the table of
// metrics, the health sampler with health.csv, fitness, goroutines by the
// function that started them, and the fingerprint of the machine.
//
// In: int64 nanoseconds or counts, observations, timeline instants, a Report,
// files under /proc and /sys. Out: reports.Quantile, reports.Herd,
// reports.Histogram, metric values, health rows, reports.Env.
//
// It may import reports, harness/timeline, the standard library,
// hdrhistogram-go and golang.org/x/sys/unix.
package measure
