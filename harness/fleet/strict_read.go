package fleet

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/rebound-mqtt/rebound/harness/mqtt"
)

// read reads until the connection ends, and says why.
func (l *strictLink) read() error {
	defer l.release()
	l.heard = time.Now()
	if err := l.handle(0); err != nil { // what came with the CONNACK
		return err
	}
	if err := l.keepAlive(); err != nil {
		return err
	}
	for {
		err := l.fill()
		switch {
		case err == nil:
			if err := l.handle(0); err != nil {
				return err
			}
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return err
		default:
			if err := l.keepAlive(); err != nil {
				return err
			}
		}
	}
}

// fill reads once.
func (l *strictLink) fill() error {
	switch {
	case l.head == l.tail:
		l.head, l.tail = 0, 0
		if cap(l.buf) > strictKeep {
			l.buf = make([]byte, strictBuffer)
		}
	case l.tail == len(l.buf) && l.head > 0:
		l.tail = copy(l.buf, l.buf[l.head:l.tail])
		l.head = 0
	}
	if l.tail == len(l.buf) {
		l.buf = append(l.buf, make([]byte, len(l.buf))...)
	}
	n, err := l.conn.Read(l.buf[l.tail:])
	l.tail += n
	if n > 0 {
		l.heard = time.Now()
		return nil // an error comes again
	}
	return err
}

// handle handles the packets that are complete, at most limit where that is not
// 0, and writes what they are answered with.
func (l *strictLink) handle(limit int) error {
	for n := 0; l.err == nil && (limit == 0 || n < limit); n++ {
		size := packetSize(l.buf[l.head:l.tail])
		if size == 0 {
			break
		}
		l.whole = l.buf[l.head : l.head+size]
		l.head += size
		l.packets++
		if err := l.framer.Feed(l.whole, 0, l.emit); err != nil {
			l.err = err
		}
	}
	c := l.client
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.link == l {
		l.flush()
	}
	return l.err
}

// packetSize is the size of the packet at the start of b; 0 = not all of it is
// there. What can not be a packet is given as a whole, for the framer to judge.
func packetSize(b []byte) int {
	if len(b) == 0 {
		return 0
	}
	if t := mqtt.Type(b[0] >> 4); t < mqtt.CONNECT || t > mqtt.DISCONNECT {
		return len(b)
	}
	rem := 0
	for i := 1; i < len(b); i++ {
		rem |= int(b[i]&0x7f) << (7 * (i - 1))
		if b[i] < 0x80 {
			if size := 1 + i + rem; size <= len(b) {
				return size
			}
			return 0
		}
		if i == 4 {
			return len(b)
		}
	}
	return 0
}

// keepAlive sends a PINGREQ if one is due, and sets the deadline of the next
// read to when it has to look again. It runs when that deadline has passed.
func (l *strictLink) keepAlive() error {
	keep := l.client.settings.KeepAlive.Truncate(time.Second) // as the CONNECT says
	if keep == 0 {
		return nil
	}
	now := time.Now()
	if !l.pinged.IsZero() && now.Sub(l.pinged) >= strictPingWait {
		return fmt.Errorf("no PINGRESP in %s", strictPingWait)
	}
	quiet := keep - keep/4
	due := l.born.Add(time.Duration(l.wrote.Load()) + quiet)
	if heard := l.heard.Add(quiet); l.pinged.IsZero() && heard.Before(due) {
		due = heard
	}
	if !due.After(now) {
		l.ping(now)
		due = now.Add(quiet)
	}
	if late := l.pinged.Add(strictPingWait); !l.pinged.IsZero() && late.Before(due) {
		due = late
	}
	return l.conn.SetReadDeadline(due)
}

// ping queues a PINGREQ.
func (l *strictLink) ping(now time.Time) {
	if l.pinged.IsZero() {
		l.pinged = now
	}
	c := l.client
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.link != l {
		return
	}
	l.queue = mqtt.AppendPingreq(l.queue)
	l.flush()
}

// packet handles one packet of the broker.
func (l *strictLink) packet(p *mqtt.Packet) {
	want := byte(0)
	if p.Type == mqtt.PUBREL {
		want = 2
	}
	switch {
	case p.Type == mqtt.PUBLISH:
		l.err = l.publish(p)
	case p.Flags != want: // [MQTT-2.2.2-2]
		l.err = fmt.Errorf("%w: flags %#x of %v", errViolation, p.Flags, p.Type)
	case p.Type == mqtt.PINGRESP:
		l.pinged = time.Time{}
	case p.Type == mqtt.CONNACK, p.Type == mqtt.PINGREQ, p.Type == mqtt.DISCONNECT:
		l.err = fmt.Errorf("%w: %v", errViolation, p.Type)
	default:
		l.err = l.answer(p)
	}
}

// publish hands a message over and acknowledges it.
func (l *strictLink) publish(p *mqtt.Packet) error {
	qos := p.QoS()
	switch {
	case qos > 0 && p.ID == 0: // [MQTT-2.3.1-1]
		return fmt.Errorf("%w: PUBLISH with packet identifier 0", errViolation)
	case qos == 0 && p.Dup(): // [MQTT-3.3.1-2]
		return fmt.Errorf("%w: PUBLISH of QoS 0 with DUP", errViolation)
	case len(p.Topic) == 0: // [MQTT-4.7.3-1]
		return fmt.Errorf("%w: PUBLISH without a topic", errViolation)
	}
	c := l.client
	if qos < 2 || l.fresh(p.ID) {
		if l.topic != string(p.Topic) {
			l.topic = string(p.Topic)
		}
		if c.settings.OnMessage != nil {
			c.settings.OnMessage(l.topic, l.whole[len(l.whole)-p.Payload:])
		}
	}
	if qos == 0 {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.link != l {
		return nil // it will come again
	}
	if qos == 1 {
		l.queue = mqtt.AppendPuback(l.queue, p.ID)
	} else {
		l.queue = mqtt.AppendPubrec(l.queue, p.ID)
	}
	return nil
}

func (l *strictLink) fresh(id uint16) bool {
	c := l.client
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.session.receive(id)
}

// answer handles what belongs to an exchange. The state goes on also when
// nothing can be written any more: what is missing comes after the reconnect.
func (l *strictLink) answer(p *mqtt.Packet) (err error) {
	if p.ID == 0 { // [MQTT-2.3.1-1]
		return fmt.Errorf("%w: %v with packet identifier 0", errViolation, p.Type)
	}
	c := l.client
	c.mu.Lock()
	defer c.mu.Unlock()
	if queued := len(l.queue); c.link != l {
		defer func() { l.queue = l.queue[:queued] }()
	}
	switch p.Type {
	case mqtt.PUBACK:
		return c.session.puback(p.ID)
	case mqtt.PUBREC:
		l.queue, err = c.session.pubrec(l.queue, p.ID)
		return err
	case mqtt.PUBREL:
		c.session.release(p.ID)
		l.queue = mqtt.AppendPubcomp(l.queue, p.ID) // also for an unknown one [MQTT-4.3.3-2]
		return nil
	case mqtt.PUBCOMP:
		return c.session.pubcomp(p.ID)
	case mqtt.SUBACK:
		return l.suback(p)
	}
	return fmt.Errorf("%w: %v", errViolation, p.Type)
}

// suback wakes who waits for it.
func (l *strictLink) suback(p *mqtt.Packet) error {
	codes, err := p.Suback()
	if err != nil {
		return err
	}
	w := l.subscribes[p.ID]
	if w == nil {
		return fmt.Errorf("%w: SUBACK for no SUBSCRIBE, identifier %d", errViolation, p.ID)
	}
	if len(codes) != w.filters { // section 3.9.3
		return fmt.Errorf("%w: SUBACK with %d codes for %d filters", errViolation, len(codes), w.filters)
	}
	for _, code := range codes {
		if code > 2 && code != subackRefused { // [MQTT-3.9.3-2]
			return fmt.Errorf("%w: SUBACK code %#x", errViolation, code)
		}
	}
	delete(l.subscribes, p.ID)
	w.codes = slices.Clone(codes)
	close(w.done)
	return nil
}
