package measure

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/rebound-mqtt/rebound/harness/timeline"
)

// Config of a Sampler.
type Config struct {
	Clock    *timeline.Clock       // of the run
	Phase    func() string         // name of the phase that runs now
	Interval time.Duration         // length of a row; 0 = 1 s
	Broker   func() int            // pid of the broker's own process; nil or 0 = it has none
	Write    func(HealthRow) error // takes each row, one at a time, and must not call the sampler; often HealthWriter.Write
}

// Sampler watches the health of the measuring process: how late its own
// goroutines run, and the counters of runtime and kernel beside it. NewSampler
// makes one, Run does the work.
type Sampler struct {
	cfg          Config
	canary, echo *lateness

	mu      sync.Mutex // a row is closed by one at a time
	running bool
	phase   string // of the open row
	start   timeline.Instant
	probe   *probe
	total   *Hist // all canary values of closed rows
	err     error // first of Write
}

// NewSampler makes a sampler; it starts nothing.
func NewSampler(cfg Config) *Sampler {
	if cfg.Interval <= 0 {
		cfg.Interval = time.Second
	}
	if cfg.Phase == nil {
		cfg.Phase = func() string { return "" }
	}
	if cfg.Write == nil {
		cfg.Write = func(HealthRow) error { return nil }
	}
	return &Sampler{
		cfg:    cfg,
		canary: newLateness(canaryEvery),
		echo:   newLateness(echoEvery),
		total:  NewHist(Nanoseconds),
	}
}

// Run samples until ctx ends; it closes the last row and its goroutines before
// it returns. An error of Write or of the echo pair does not stop the rest and
// is returned at the end. It runs once.
func (s *Sampler) Run(ctx context.Context) error {
	pair, echoErr := dialEcho(ctx)
	if ctx.Err() != nil {
		echoErr = nil // ended before it began
	}
	s.open(echoErr == nil && pair.near != nil)

	var work sync.WaitGroup
	work.Go(func() { runCanary(ctx, s.cfg.Clock, s.canary) })
	if pair.near != nil {
		stop := context.AfterFunc(ctx, pair.close)
		defer stop()
		work.Go(pair.answer)
		work.Go(func() {
			echoErr = runEcho(ctx, s.cfg.Clock, s.echo, pair)
			if echoErr != nil {
				s.echo.stop() // a broken pair is not late, it is gone
			}
			pair.close() // ends answer too
		})
	}

	tick := time.NewTicker(s.cfg.Interval)
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-tick.C:
			s.cut(false)
		}
	}
	work.Wait()
	s.cut(true)

	s.mu.Lock()
	defer s.mu.Unlock()
	s.running = false
	return errors.Join(s.err, echoErr)
}

// Mark closes the open row at the border of a phase and returns when it is
// closed; the next row belongs to what Phase says now. Call it right after the
// phase has changed. Before and after Run it does nothing.
func (s *Sampler) Mark() { s.cut(true) }

// CanaryP99 is the p99 of the canary's lateness over the closed rows so far,
// in ns; false while there is none. It is for the status line.
func (s *Sampler) CanaryP99() (ns int64, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.total.Quantile(0.99)
}

// open starts the first row.
func (s *Sampler) open(echo bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.cfg.Clock.Now()
	s.canary.start(now)
	if echo {
		s.echo.start(now)
	}
	s.probe = newProbe(thisMachine(), s.cfg.Broker)
	s.phase, s.start, s.running = s.cfg.Phase(), now, true
}

// cut closes the open row and opens the next one.
func (s *Sampler) cut(border bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.running {
		return
	}
	now := s.cfg.Clock.Now()
	canary, echo := s.canary.cut(now, border), s.echo.cut(now, border)
	s.total.Merge(canary)

	row := HealthRow{Phase: s.phase, Start: s.start, End: now}
	row.Canary, row.CanaryOverflow, row.CanaryP99 = encoded(canary)
	row.Echo, row.EchoOverflow, row.EchoP99 = encoded(echo)
	s.probe.read(&row)
	s.phase, s.start = s.cfg.Phase(), now
	if err := s.cfg.Write(row); err != nil && s.err == nil {
		s.err = fmt.Errorf("health: %w", err)
	}
}

// encoded gives the three cells of a histogram; empty without values.
func encoded(h *Hist) (v2 string, overflow int64, p99 *int64) {
	if h.N() == 0 {
		return "", 0, nil
	}
	if v, ok := h.Quantile(0.99); ok {
		p99 = &v
	}
	return h.Encode(), h.Overflow(), p99
}

// pidOf asks for the broker's process; "" = none.
func pidOf(broker func() int) string {
	if broker == nil {
		return ""
	}
	if pid := broker(); pid > 0 {
		return strconv.Itoa(pid)
	}
	return ""
}
