package closeconn

import "time"

// Rule injects a fault into the calls that it matches, for tests of other
// people's tools. The first matching rule decides.
type Rule struct {
	Operation    string        // "" = any
	ClientPrefix string        // of the ClientId; "" = any
	Skip         int           // matching calls that pass first
	Times        int           // matching calls that are hit then; 0 = all further
	Share        float64       // of those, by chance (seeded); 0 = all
	Delay        time.Duration // before the answer
	Code         string        // a documented error code; "" = only the delay
	AfterEffect  bool          // the operation takes effect and the answer lies (a lost answer)
}
