package closeconn

import "github.com/rebound-mqtt/rebound/harness/closeconn/acs"

// KeyPair is an access key that the endpoint knows, and what it may do: the
// operations (actions) and the instances and clients (resources). An empty
// list allows all.
type KeyPair struct {
	acs.Credentials
	Disabled       bool
	Actions        []string // mq:CloseConnection, …; mq:* = all
	Instances      []string // InstanceIds
	ClientPrefixes []string // what a ClientId must begin with
}

// Keys are the access keys that an endpoint knows. It is not changed after it
// was made.
type Keys struct {
	byID map[string]KeyPair
}
