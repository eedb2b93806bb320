package mqtt

import "fmt"

// The Append functions add one MQTT 3.1.1 control packet to dst and return the
// longer slice. They panic when a string is longer than 65,535 bytes or a
// packet longer than 268,435,455: no packet can carry that.

const (
	maxString    = 1<<16 - 1
	maxRemaining = 1<<28 - 1
)

// AppendConnect adds a CONNECT, section 3.1.
func AppendConnect(dst []byte, c ConnectInfo) []byte {
	name, level := "MQTT", c.Level
	if level == 0 {
		level = 4
	}
	if level&0x7f == 3 {
		name = "MQIsdp"
	}
	var flags byte
	size := 2 + len(name) + 4 + 2 + len(c.ClientID)
	if c.Clean {
		flags |= 2
	}
	if c.WillTopic != "" {
		flags |= 4 | c.WillQoS&3<<3
		if c.WillRetain {
			flags |= 0x20
		}
		size += 4 + len(c.WillTopic) + len(c.WillPayload)
	}
	if c.Username != "" || c.Password != nil { // no password without a user name [MQTT-3.1.2-22]
		flags |= 0x80
		size += 2 + len(c.Username)
	}
	if c.Password != nil {
		flags |= 0x40
		size += 2 + len(c.Password)
	}
	dst = appendFixed(dst, CONNECT, 0, size)
	dst = appendString(dst, name)
	dst = append(dst, level, flags)
	dst = appendU16(dst, c.KeepAlive)
	dst = appendString(dst, c.ClientID)
	if flags&4 != 0 {
		dst = appendString(dst, c.WillTopic)
		dst = appendString(dst, c.WillPayload)
	}
	if flags&0x80 != 0 {
		dst = appendString(dst, c.Username)
	}
	if flags&0x40 != 0 {
		dst = appendString(dst, c.Password)
	}
	return dst
}

// AppendConnack adds a CONNACK, section 3.2.
func AppendConnack(dst []byte, sessionPresent bool, code byte) []byte {
	var flags byte
	if sessionPresent {
		flags = 1
	}
	return append(appendFixed(dst, CONNACK, 0, 2), flags, code)
}

// Publish is a PUBLISH to be written.
type Publish struct {
	Topic       string
	ID          uint16 // only with QoS 1 and 2
	QoS         byte
	Dup, Retain bool
	Payload     []byte
}

// AppendPublish adds a PUBLISH, section 3.3.
func AppendPublish(dst []byte, p Publish) []byte {
	flags := p.QoS & 3 << 1
	if p.Dup {
		flags |= 8
	}
	if p.Retain {
		flags |= 1
	}
	size := 2 + len(p.Topic) + len(p.Payload)
	if p.QoS > 0 {
		size += 2
	}
	dst = appendFixed(dst, PUBLISH, flags, size)
	dst = appendString(dst, p.Topic)
	if p.QoS > 0 {
		dst = appendU16(dst, int(p.ID))
	}
	return append(dst, p.Payload...)
}

// AppendPuback adds a PUBACK, section 3.4.
func AppendPuback(dst []byte, id uint16) []byte { return appendID(dst, PUBACK, 0, id) }

// AppendPubrec adds a PUBREC, section 3.5.
func AppendPubrec(dst []byte, id uint16) []byte { return appendID(dst, PUBREC, 0, id) }

// AppendPubrel adds a PUBREL, section 3.6.
func AppendPubrel(dst []byte, id uint16) []byte { return appendID(dst, PUBREL, 2, id) } // [MQTT-3.6.1-1]

// AppendPubcomp adds a PUBCOMP, section 3.7.
func AppendPubcomp(dst []byte, id uint16) []byte { return appendID(dst, PUBCOMP, 0, id) }

// AppendSubscribe adds a SUBSCRIBE, section 3.8.
func AppendSubscribe(dst []byte, id uint16, filters ...Filter) []byte {
	size := 2
	for _, f := range filters {
		size += 3 + len(f.Topic)
	}
	dst = appendU16(appendFixed(dst, SUBSCRIBE, 2, size), int(id)) // [MQTT-3.8.1-1]
	for _, f := range filters {
		dst = append(appendString(dst, f.Topic), f.QoS)
	}
	return dst
}

// AppendSuback adds a SUBACK with one return code for each filter, section 3.9.
func AppendSuback(dst []byte, id uint16, codes ...byte) []byte {
	dst = appendU16(appendFixed(dst, SUBACK, 0, 2+len(codes)), int(id))
	return append(dst, codes...)
}

// AppendUnsubscribe adds an UNSUBSCRIBE, section 3.10.
func AppendUnsubscribe(dst []byte, id uint16, filters ...string) []byte {
	size := 2
	for _, f := range filters {
		size += 2 + len(f)
	}
	dst = appendU16(appendFixed(dst, UNSUBSCRIBE, 2, size), int(id)) // [MQTT-3.10.1-1]
	for _, f := range filters {
		dst = appendString(dst, f)
	}
	return dst
}

// AppendUnsuback adds an UNSUBACK, section 3.11.
func AppendUnsuback(dst []byte, id uint16) []byte { return appendID(dst, UNSUBACK, 0, id) }

// AppendPingreq adds a PINGREQ, section 3.12.
func AppendPingreq(dst []byte) []byte { return appendFixed(dst, PINGREQ, 0, 0) }

// AppendPingresp adds a PINGRESP, section 3.13.
func AppendPingresp(dst []byte) []byte { return appendFixed(dst, PINGRESP, 0, 0) }

// AppendDisconnect adds a DISCONNECT, section 3.14.
func AppendDisconnect(dst []byte) []byte { return appendFixed(dst, DISCONNECT, 0, 0) }

func appendFixed(dst []byte, t Type, flags byte, remaining int) []byte {
	if remaining > maxRemaining {
		panic(fmt.Sprintf("mqtt: %v of %d bytes can not be written", t, remaining))
	}
	dst = append(dst, byte(t)<<4|flags)
	for ; remaining >= 0x80; remaining >>= 7 {
		dst = append(dst, byte(remaining)|0x80)
	}
	return append(dst, byte(remaining))
}

func appendID(dst []byte, t Type, flags byte, id uint16) []byte {
	return appendU16(appendFixed(dst, t, flags, 2), int(id))
}

func appendU16(dst []byte, n int) []byte {
	if n < 0 || n > maxString {
		panic(fmt.Sprintf("mqtt: %d does not fit into two bytes", n))
	}
	return append(dst, byte(n>>8), byte(n))
}

func appendString[S ~string | ~[]byte](dst []byte, s S) []byte {
	return append(appendU16(dst, len(s)), s...)
}
