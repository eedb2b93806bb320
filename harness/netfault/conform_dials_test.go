package netfault

import (
	"context"
	"errors"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// conformsToDials impairs one client's dials: they are refused at once, or hang
// to the dialler's own time-out; no socket is opened; its connection and the
// dials of others are as before; after the lift they pass.
func conformsToDials(t testing.TB, s faults, kind Dials, patience time.Duration) error {
	t.Helper()
	v := &verdict{t: t, patience: patience}
	victim := newParty(t, "tcp", s, "victim")
	var dialled, touched atomic.Int32
	dial := func(id string, within time.Duration) error {
		ctx, cancel := context.WithTimeout(t.Context(), within)
		defer cancel()
		c, err := s.Dial(ctx, id, func(context.Context) (net.Conn, error) {
			dialled.Add(1)
			end, peer := net.Pipe()
			t.Cleanup(func() { end.Close(); peer.Close() })
			return end, nil
		})
		if err == nil {
			c.Close()
		}
		return err
	}
	lift := s.Impair("victim", Impairment{Dials: kind, Dialled: func() { touched.Add(1) }})
	began := time.Now()
	err := dial("victim", 60*time.Millisecond)
	took := time.Since(began)
	var timeout net.Error
	switch kind {
	case DialsRefused:
		if !errors.Is(err, syscall.ECONNREFUSED) || took >= 60*time.Millisecond {
			v.bad("a dial gives %w after %s", err, took)
		}
	case DialsHang:
		if !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &timeout) || !timeout.Timeout() || took < 60*time.Millisecond {
			v.bad("a dial gives %w after %s", err, took)
		}
	}
	if dialled.Load() != 0 || touched.Load() != 1 {
		v.bad("%d dials went out, %d were touched", dialled.Load(), touched.Load())
	}
	if err := dial("other", patience); err != nil {
		v.bad("another client's dial: %w", err)
	}
	v.untouched(victim, "alive")
	if kind == DialsHang {
		waiting := make(chan error, 1)
		go func() { waiting <- dial("victim", patience) }()
		for touched.Load() < 2 && time.Since(began) < patience {
			time.Sleep(time.Millisecond)
		}
		lift()
		v.done("a dial that hung", waiting)
	}
	lift()
	lift()
	if err := dial("victim", patience); err != nil {
		v.bad("a dial after the lift: %w", err)
	}
	return v.result()
}

func TestDialsConform(t *testing.T) {
	for _, kind := range []Dials{DialsRefused, DialsHang} {
		if err := conformsToDials(t, newFaults(t), kind, 10*time.Second); err != nil {
			t.Error(err)
		}
	}
}

// A dial that its client gives up is cancelled, and not timed out.
func TestDialGivenUp(t *testing.T) {
	s := newFaults(t)
	defer s.Impair("c", Impairment{Dials: DialsHang})()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Dial(ctx, "c", nil); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// wrongDials has a planted fault in its dials.
type wrongDials struct {
	*Links
	impair func(l *Links, id string, im Impairment) func()
	dial   func(ctx context.Context, l *Links, id string, dial func(context.Context) (net.Conn, error)) (net.Conn, error)
}

func (w wrongDials) Impair(id string, im Impairment) func() {
	if w.impair != nil {
		return w.impair(w.Links, id, im)
	}
	return w.Links.Impair(id, im)
}

func (w wrongDials) Dial(ctx context.Context, id string, dial func(context.Context) (net.Conn, error)) (net.Conn, error) {
	if w.dial != nil {
		return w.dial(ctx, w.Links, id, dial)
	}
	return w.Links.Dial(ctx, id, dial)
}

func TestConformanceCatchesWrongDials(t *testing.T) {
	type plant = func(kind Dials) wrongDials
	for name, w := range map[string]plant{
		"nothing": func(Dials) wrongDials {
			return wrongDials{impair: func(*Links, string, Impairment) func() { return func() {} }}
		},
		"the other kind": func(kind Dials) wrongDials {
			return wrongDials{impair: func(l *Links, id string, im Impairment) func() {
				im.Dials = DialsHang + DialsRefused - kind
				return l.Impair(id, im)
			}}
		},
		"it is never lifted": func(Dials) wrongDials {
			return wrongDials{impair: func(l *Links, id string, im Impairment) func() { l.Impair(id, im); return func() {} }}
		},
		"the connection is held too": func(Dials) wrongDials {
			return wrongDials{impair: func(l *Links, id string, im Impairment) func() {
				im.Up.Hold = true
				return l.Impair(id, im)
			}}
		},
		"every client": func(kind Dials) wrongDials {
			return wrongDials{dial: func(ctx context.Context, l *Links, _ string, dial func(context.Context) (net.Conn, error)) (net.Conn, error) {
				return l.Dial(ctx, "victim", dial)
			}}
		},
		"a socket is opened": func(Dials) wrongDials {
			return wrongDials{dial: func(ctx context.Context, l *Links, id string, dial func(context.Context) (net.Conn, error)) (net.Conn, error) {
				c, err := dial(ctx)
				if err != nil {
					return nil, err
				}
				return l.Dial(ctx, id, func(context.Context) (net.Conn, error) { return c, nil })
			}}
		},
	} {
		for _, kind := range []Dials{DialsRefused, DialsHang} {
			t.Run(name, func(t *testing.T) {
				plant := w(kind)
				plant.Links = newFaults(t)
				caught(t, conformsToDials(t, plant, kind, 100*time.Millisecond))
			})
		}
	}
}
