// Package netfault puts network faults below the tap, onto connections that the
// fleet dialled: ends and impairments of the link of a client, and faults of its
// dials (Links), and faults of single control packets (Frames).
//
// In: dialled connections with their client ids; calls to end or impair one;
// rules about packets. Out: the same connections, which behave as if the peer had
// closed or reset them, the network had become silent or slow, or a packet had
// been lost. It may import the leaves mqtt, target and timeline.
//
// There is one wrapper of a connection, whatever is done to it. It is 96 bytes,
// has no goroutine, and adds one atomic load to a Read or a Write, until an
// impairment is on it.
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
// A slow close is a FIN whose broker's half comes later.
//
// # What a reset is here
//
// A close with SO_LINGER 0 gives the library net.ErrClosed, which is its own
// doing and no reset. On Linux the socket is aborted instead: both ends get a
// real one. The kernel tells ECONNRESET to one caller only, and ENOTCONN, EPIPE
// or EOF to the others: the wrapper tells it to all. Elsewhere the close has to
// do, and the wrapper makes the client's reset of it, which is synthetic then.
//
// # What an impairment is
//
// It holds or delays the bytes of a direction, and throws none away: a blackhole
// that dropped them would leave a hole in a stream, which TCP never does, and let
// the broker's FIN through. The library's own Read reads the socket, keeps what
// comes until it is due, and hands it over; so a packet's time counts from its
// arrival, as long as the library reads. What the library writes is kept, and
// written by a goroutine that lives while there is something to be written.
// Deadlines are kept by the wrapper meanwhile. A Close is put behind what is
// late. Where the way up is held it drops what is held, and the socket stays open,
// so that the broker does not know, until the impairment is lifted.
//
// # What a frame fault is
//
// A rule decides on a packet's first byte whether its bytes pass, so that no
// packet is ever held, and acts when the packet is whole: a packet that never is
// one is given back to the rule. Where a rule ends the connection that is a FIN
// as above, right before the packet, right after it, or inside it. Packets are
// followed whether or not a rule is armed, or a rule that comes later would know
// neither where a packet begins nor which message an id stands for.
package netfault
