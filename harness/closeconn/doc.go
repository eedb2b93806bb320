// Package closeconn is the CloseConnection API of ApsaraMQ for MQTT (OnsMqtt,
// version 2020-04-20) as an HTTP endpoint over any broker's sessions, and a
// client for it.
//
// In: HTTP requests in RPC style (everything in query or form) or header style
// (x-acs-action), signed with a key that the endpoint knows, or unsigned and
// then on loopback only; a Sessions that closes one client. Out: the documented success and error bodies, and two
// response headers with what the harness knows beyond them; for callers of the
// Client a target.Closed.
// It may import the leaves target and timeline.
package closeconn
