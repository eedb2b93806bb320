// Package netfault puts network faults below the tap, onto connections that the
// fleet dialled: the closer for brokers without a CloseConnection API, a FIN from
// the client's side (Links), and faults of single control packets (Frames).
//
// In: dialled connections with their client ids; calls to close one; rules about
// packets. Out: the same connections, which behave as if the peer had closed
// them, or as if a packet had been lost.
// It may import the leaves mqtt, target and timeline.
//
// # What a FIN is here
//
// The broker gets a real FIN: the sending side of the socket is shut down after
// what was written before. The client library reads what had arrived, then
// io.EOF; a Read that waits is woken. Its writes fail as on a closed peer, and
// their error is both EPIPE and io.EOF: whichever of its goroutines notices
// first, the end that the tap latches is a FIN and never a reset. A plain
// close would not do: unread bytes would make the kernel send a reset, and the
// library would see its own Close. The socket itself is closed when the library
// calls Close; what arrived in the meantime is thrown away first.
//
// # What a frame fault is
//
// A rule decides on a packet's first byte whether its bytes pass, so that no
// packet is ever held, and acts when the packet is whole: a packet that never is
// one is given back to the rule. Where a rule ends the connection that is a FIN
// as above, right before the packet or right after it. Packets are followed
// whether or not a rule is armed, or a rule that comes later would know neither
// where a packet begins nor which message an id stands for.
package netfault
