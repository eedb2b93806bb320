package fleet

import (
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rebound-mqtt/rebound/harness/mqtt"
)

const (
	// strictPingWait is how long a PINGRESP may take. The standard says "a
	// reasonable amount of time" (3.1.2.10); it is paho's default.
	strictPingWait = 10 * time.Second
	// strictChunk is how many bytes of messages go into one write, but for the
	// end of the last one: the tap stamps all packets of a write alike.
	strictChunk = 4 << 10
	// strictBuffer is the size of the read buffer, until a packet needs more.
	strictBuffer = 512
	// strictKeep is the largest buffer that is kept when it is not in use.
	strictKeep = 8 << 10
)

// strictLink is one connection.
type strictLink struct {
	client  *strictClient
	conn    net.Conn
	release func() bool // takes back what closes conn when the run stops

	// Guarded by the client's lock.
	queue      []byte              // answers and the like, to be written with what is due of the session
	writing    bool                // there is a writer
	out        []byte              // the writer's buffer
	over       bool                // the connection has ended
	empty      chan struct{}       // closed when the queue is written; nil = nobody waits
	subscribes map[uint16]*waiting // SUBSCRIBEs without a SUBACK

	born    time.Time
	writers sync.WaitGroup
	wrote   atomic.Int64 // when something was last given to the socket, ns since born
	writer  func()       // the method write, so that a go statement allocates nothing

	// The reader's own.
	buf     []byte
	head    int // what is not taken from buf yet
	tail    int
	framer  mqtt.Framer
	emit    func(*mqtt.Packet)
	whole   []byte // the packet that emit is called for
	err     error  // of emit
	packets int
	topic   string    // of the latest PUBLISH: most are alike
	heard   time.Time // when something was last read
	pinged  time.Time // zero = no PINGREQ waits for its answer
}

// waiting is a SUBSCRIBE that waits for its SUBACK.
type waiting struct {
	filters int
	codes   []byte // nil = the connection ended
	done    chan struct{}
}

func newStrictLink(c *strictClient, conn net.Conn) *strictLink {
	l := &strictLink{client: c, conn: conn, born: time.Now(), buf: make([]byte, strictBuffer), subscribes: map[uint16]*waiting{}}
	l.writer = l.write
	return l
}

// end takes the connection out of use: nothing is queued or written any more.
// The client's lock is held.
func (l *strictLink) end() {
	l.over = true
	if l.client.link == l {
		l.client.link = nil
	}
}

// flush starts a writer where there is something to write and none at it. A
// goroutine for it, and not the caller: neither a publisher nor the reader is
// held up by a socket that hangs, and a link that is idle has no writer. The
// client's lock is held.
func (l *strictLink) flush() {
	if l.writing || !l.pending() {
		return
	}
	l.writing = true
	l.writers.Add(1)
	go l.writer()
}

// pending reports whether there is something to write. The session's messages
// do not follow a DISCONNECT, with which the link is the client's no longer.
func (l *strictLink) pending() bool {
	return !l.over && (len(l.queue) > 0 || l.client.link == l && l.client.session.due())
}

// write is the writer: it writes until there is nothing left.
func (l *strictLink) write() {
	defer l.writers.Done()
	for b := l.take(l.out); len(b) > 0; b = l.take(b) {
		if l.put(b) != nil {
			// The reader sees it as the end of the connection.
			_ = l.conn.Close()
			l.client.mu.Lock()
			l.end()
			l.client.mu.Unlock()
		}
	}
}

// take fills b with what is to be written next; nothing = the writer's work is
// done.
func (l *strictLink) take(b []byte) []byte {
	c := l.client
	c.mu.Lock()
	defer c.mu.Unlock()
	b = b[:0]
	switch {
	case !l.pending():
		l.writing = false
		if l.out = b; cap(b) > strictKeep {
			l.out = nil // it grew for a burst
		}
		if l.empty != nil {
			close(l.empty)
			l.empty = nil
		}
	case c.link == l:
		b, l.queue = c.session.next(b, l.queue, strictChunk)
	default:
		b, l.queue = append(b, l.queue...), nil
	}
	return b
}

// put gives bytes to the socket, in one write: what the session has handed out
// counts as given. A deadline that can't be set is that of a closed connection.
func (l *strictLink) put(b []byte) error {
	now := time.Now()
	_ = l.conn.SetWriteDeadline(now.Add(l.client.settings.WriteTimeout))
	l.wrote.Store(int64(now.Sub(l.born)))
	_, err := l.conn.Write(b)
	return err
}
