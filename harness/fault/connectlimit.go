package fault

import (
	"github.com/rebound-mqtt/rebound/harness/target"
	"github.com/rebound-mqtt/rebound/scenarios"
)

const connectLimitName = "connect-limit"

// connectLimitKind is the row of connect-limit.
func connectLimitKind() Kind {
	return door{
		kind:     connectLimitName,
		doc:      "Lets in so many CONNECTs per second, by a token bucket.",
		required: `"required": ["rate"], `,
		own: `"rate": {"$ref": "#/$defs/rate", "description": "CONNECTs let in per time."},
			"burst": {"type": "integer", "minimum": 1, "x-want": "a whole number from 1", "description": "Size of the bucket, which is full at first. Default: a tenth of a second of rate, at least 1."},
			"then": {"enum": ["refuse", "hang", "close"], "description": "What becomes of the others: CONNACK 3, no answer until the fault is over, which closes them, or a close at once.", "default": "refuse"}`,
		packet: connectPacket, passed: "let in",
		read: readConnectLimit, keys: []string{"rate", "burst", "then"},
		describe: func(g target.Gate, params map[string]string) {
			describeBucket(params, g.ConnectLimit.Rate, g.ConnectLimit.Burst, g.ConnectLimit.Then)
		},
	}.row()
}

func readConnectLimit(f *scenarios.Fields) target.Gate {
	rate, burst, then := readBucket(f, connectLimitName, target.ThenRefuse, target.ThenHang, target.ThenClose)
	return target.Gate{ConnectLimit: &target.ConnectLimit{Rate: rate, Burst: burst, Then: then}}
}
