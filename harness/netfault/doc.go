// Package netfault puts network faults below the tap, onto connections that the
// fleet dialled: so far the closer for brokers without a CloseConnection API,
// a FIN from the client's side.
//
// In: dialled connections with their client ids; calls to close one. Out: the
// same connections, which behave as if the peer had closed them.
// It may import the leaves target and timeline.
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
// calls Close.
package netfault
