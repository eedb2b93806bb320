package mqtt

// Delivery is a PUBLISH of ours as a subscriber's tap read it.
type Delivery struct {
	Header Header
	Topic  []byte // valid during the call that hands it over
	QoS    byte
	DUP    bool
	Retain bool
	Again  bool // at QoS 2: a further copy of a delivery that was not yet released (protocol.Seen)
	Conn   int  // number of the connection
}
