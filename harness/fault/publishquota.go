package fault

import (
	"github.com/rebound-mqtt/rebound/harness/target"
	"github.com/rebound-mqtt/rebound/scenarios"
)

const publishQuotaName = "publish-quota"

// publishQuotaKind is the row of publish-quota.
func publishQuotaKind() Kind {
	return door{
		kind:     publishQuotaName,
		doc:      "Takes so many PUBLISHes per second from each connection, by a token bucket; none is dropped.",
		note:     "what is beyond the quota is not read, so that the packets behind it, a PINGREQ too, wait as well.",
		required: `"required": ["rate"], `,
		own: `"rate": {"$ref": "#/$defs/rate", "description": "PUBLISHes of one connection per time."},
			"burst": {"type": "integer", "minimum": 1, "x-want": "a whole number from 1", "description": "Size of the bucket, which is full at first. Default: a tenth of a second of rate, at least 1."},
			"then": {"enum": ["delay", "close"], "description": "At a PUBLISH beyond it: read nothing more of that connection until its turn has come, or close it.", "default": "delay"}`,
		ends: true, packet: "PUBLISH", passed: "handled",
		read: readPublishQuota, keys: []string{"rate", "burst", "then"},
		describe: func(g target.Gate, params map[string]string) {
			describeBucket(params, g.PublishQuota.Rate, g.PublishQuota.Burst, g.PublishQuota.Then)
		},
	}.row()
}

func readPublishQuota(f *scenarios.Fields) target.Gate {
	rate, burst, then := readBucket(f, publishQuotaName, target.ThenDelay, target.ThenClose)
	return target.Gate{PublishQuota: &target.PublishQuota{Rate: rate, Burst: burst, Then: then}}
}
