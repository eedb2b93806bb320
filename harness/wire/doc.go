// Package wire is the tap: a net.Conn under a client library that records what
// really passed, whatever the library says.
//
// In: a connection, the run's clock, an Observer. Out: to the library the same
// connection, byte for byte and error for error; to the Observer each packet
// with its instant, what was certainly not sent, and how it ended.
// It may import the leaves mqtt and timeline.
//
// # How a connection ended
//
// The kind of end is the first error over Read and Write, or the local Close;
// later ones do not count, since the kernel hands a reset to one caller only.
//
// A deadline that passes needs more thought, since the library set it itself.
// paho sets one around its handshake and one around each PUBLISH, and takes a
// time-out for the end of the connection; another library may poll, and live
// on. So a time-out is held back until it is clear:
//   - it counts, with the instant at which it passed, when another error or
//     Close comes next;
//   - a read time-out is forgotten when the library sets a new read deadline,
//     without which it can never read again;
//   - a write time-out is forgotten when a later write is accepted whole;
//   - a write that timed out in the middle counts at once: what the socket
//     took can not be taken back.
//
// The kernel's own ETIMEDOUT is an error like others.
//
// Malformed bytes do not end a connection: the tap passes them on and records
// no more packets of that direction. When it ends later for whatever cause, the
// kind is protocol-error, and the text gives that cause as well.
package wire
