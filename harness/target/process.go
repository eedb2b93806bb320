package target

import "context"

// The abilities of a target whose broker is a process that we started. Each is
// one method, so that a fault asks for what it needs and nothing more. None
// returns before its effect is there, each may be called again, and one is under
// way at a time.

// Killer ends the broker at once, as a crash does: SIGKILL.
type Killer interface {
	Kill() error
}

// Stopper ends the broker as its operator does, and kills one that does not end
// in its time, which is an error.
type Stopper interface {
	Stop() error
}

// Starter starts a broker that was killed or stopped, at the same addresses and
// with the same endpoint, and leaves one alone that runs. It returns when the
// broker takes connections. With keep it finds what the one before it left
// behind, as far as the target keeps anything; else it starts empty.
type Starter interface {
	Start(ctx context.Context, keep bool) error
}

// Pauser stops the broker where it stands (SIGSTOP), sockets and all, or lets it
// go on (SIGCONT). The kernel still takes connections for a paused one.
type Pauser interface {
	Pause(paused bool) error
}
