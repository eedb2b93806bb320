package main

import (
	"context"
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// interrupts gives a channel that the first Ctrl-C closes and a context that
// the second one cancels; a third one meets the system's default, so that a
// program that hangs can still be stopped. done ends the watch.
func interrupts(say func(format string, args ...any)) (ctx context.Context, stop <-chan struct{}, done func()) {
	ctx, cancel := context.WithCancel(context.Background())
	first := make(chan struct{})
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	quit := make(chan struct{})
	var wait sync.WaitGroup
	wait.Go(func() {
		for n := 1; n <= 2; n++ {
			select {
			case <-quit:
				return
			case <-signals:
			}
			if n == 1 {
				say("stopping: no more kicks; draining, then the report (Ctrl-C again to stop now)")
				close(first)
			}
		}
		say("stopping now")
		signal.Stop(signals)
		cancel()
	})
	return ctx, first, func() {
		signal.Stop(signals)
		close(quit)
		wait.Wait()
		cancel()
	}
}
