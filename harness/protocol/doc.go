// Package protocol follows the packet exchanges of one MQTT session over all
// its connections, by the letter of MQTT 3.1.1 section 4, and tells which
// rules of the standard a packet breaks.
//
// In: the packets of a session in the order in which its tap saw them. Out:
// for each packet the step that it is in which message's exchange, and the
// breaches of rules, each with the statement of the standard and whom it
// charges. It is a pure function of what it is told: no clock, no I/O.
// It may import the leaves mqtt and timeline.
package protocol
