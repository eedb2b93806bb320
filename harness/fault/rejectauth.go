package fault

import (
	"strconv"

	"github.com/rebound-mqtt/rebound/harness/target"
	"github.com/rebound-mqtt/rebound/scenarios"
)

// rejectAuthKind is the row of reject-auth.
func rejectAuthKind() Kind {
	return door{
		kind: "reject-auth",
		doc:  "Refuses the CONNECTs of a share of the clients, always the same ones.",
		own: `"share": {"$ref": "#/$defs/share", "description": "Of the clients, each picked by the seed and its number.", "default": "100%"},
			"code": {"enum": [4, 5], "description": "CONNACK return code: 4 bad user name or password, 5 not authorized.", "default": 5}`,
		packet: connectPacket, passed: "let in",
		read: readRejectAuth, keys: []string{"share", "code"},
		describe: func(g target.Gate, params map[string]string) {
			params["share"], params["code"] = scenarios.FormatShare(g.RejectAuth.Share), strconv.Itoa(int(g.RejectAuth.Code))
		},
	}.row()
}

func readRejectAuth(f *scenarios.Fields) target.Gate {
	share, code := f.Share("share", 1), f.Count("code", target.RefusedAuthorization)
	if share == 0 {
		f.Fail("share", "share is none of the clients")
	}
	if code != target.RefusedUser && code != target.RefusedAuthorization {
		f.Fail("code", "code is %d, want %d or %d", code, target.RefusedUser, target.RefusedAuthorization)
	}
	return target.Gate{RejectAuth: &target.RejectAuth{Share: share, Code: byte(code)}}
}
