package ledger

import (
	"slices"
	"sort"

	"github.com/rebound-mqtt/rebound/harness/timeline"
)

// message is one message in doubt.
type message struct {
	seq      uint64
	intended timeline.Instant
	sent     timeline.Instant
	acked    timeline.Instant
	publish  track // PUBLISH, done with its acknowledgement
	release  track // at QoS 2: PUBREL, done with PUBCOMP
	conn     int   // connection of the last PUBLISH or, once acknowledged at QoS 2, PUBREL; 0 = none written
	owed     int32 // expecting subscribers that lack it
	kept     bool  // its times are needed though it is settled
	settled  bool  // a hole in the window
	reset    bool  // the publisher's session was lost since it was last written
	// displaced: another message has its packet id since it was last written.
	displaced bool
	// abandoned: at QoS 2, the session was lost between PUBREC and PUBCOMP, or the
	// message was displaced there.
	abandoned   bool
	untraceable bool // more transmissions than are kept
}

// window holds the messages in doubt by sequence number: nearly always a few
// neighbours that come at the end and leave at the front.
type window struct {
	buf  []message
	head int // everything before is settled
	dead int // settled, from head on
}

// shrink is the capacity above which an empty window gives its memory back.
const shrink = 64

func (w *window) len() int { return len(w.buf) - w.head - w.dead }

// each calls do for each message in doubt, lowest number first. do must not
// add, and must not drop but by dropIf.
func (w *window) each(do func(*message)) {
	for i := w.head; i < len(w.buf); i++ {
		if m := &w.buf[i]; !m.settled {
			do(m)
		}
	}
}

// find gives the message in doubt with this number, nil if there is none. The
// pointer is valid until the next add.
func (w *window) find(seq uint64) *message {
	live := w.buf[w.head:]
	if len(live) == 0 || seq < live[0].seq {
		return nil
	}
	// Without gaps in the numbers the place can be computed.
	var i int
	if guess := seq - live[0].seq; guess < uint64(len(live)) && live[guess].seq == seq {
		i = int(guess)
	} else {
		i = sort.Search(len(live), func(i int) bool { return live[i].seq >= seq })
	}
	if i == len(live) || live[i].seq != seq || live[i].settled {
		return nil
	}
	return &live[i]
}

// add enters a message that is not in the window.
func (w *window) add(seq uint64) *message {
	if k := len(w.buf); k == w.head || seq > w.buf[k-1].seq {
		if k == cap(w.buf) && w.head+w.dead > k/2 {
			w.compact()
		}
		w.buf = append(w.buf, message{seq: seq})
		return &w.buf[len(w.buf)-1]
	}
	w.compact()
	i := sort.Search(len(w.buf), func(i int) bool { return w.buf[i].seq >= seq })
	w.buf = slices.Insert(w.buf, i, message{seq: seq})
	return &w.buf[i]
}

// drop takes out a message that find gave.
func (w *window) drop(m *message) {
	m.settled, m.publish.more, m.release.more = true, nil, nil
	w.dead++
	for w.head < len(w.buf) && w.buf[w.head].settled {
		w.head++
		w.dead--
	}
	switch {
	case w.head == len(w.buf) && cap(w.buf) > shrink:
		*w = window{}
	case w.head == len(w.buf):
		w.buf, w.head = w.buf[:0], 0
	case w.dead > shrink && w.dead > len(w.buf)/2:
		w.compact()
	}
}

// compact closes the holes, and gives memory back that they took.
func (w *window) compact() {
	live := w.buf[:0]
	if n := w.len(); cap(w.buf) > shrink && n < cap(w.buf)/4 {
		live = make([]message, 0, 2*n)
	}
	for i := w.head; i < len(w.buf); i++ {
		if !w.buf[i].settled {
			live = append(live, w.buf[i])
		}
	}
	w.buf, w.head, w.dead = live, 0, 0
}
