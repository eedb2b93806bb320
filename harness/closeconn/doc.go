// Package closeconn is the API of ApsaraMQ for MQTT (OnsMqtt, version
// 2020-04-20) that CloseConnection is of, as an HTTP endpoint over any broker's
// sessions, and a client for it.
//
// In: HTTP requests in RPC style (everything in query or form) or header style
// (x-acs-action), signed by the keys that the endpoint knows, or unsigned on
// loopback; a Sessions that closes one client, and what else it is able to do;
// rules of faults to inject. Out: the documented success and error bodies in
// JSON or XML, and response headers with what the harness knows beyond them; for
// callers of the Client a target.Closed.
// It may import harness/closeconn/acs and the leaves target and timeline.
package closeconn
