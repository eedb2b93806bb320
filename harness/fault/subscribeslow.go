package fault

import (
	"time"

	"github.com/rebound-mqtt/rebound/harness/target"
	"github.com/rebound-mqtt/rebound/scenarios"
)

const defaultSubscribeDelay = 100 * time.Millisecond

// subscribeSlowKind is the row of subscribe-slow.
func subscribeSlowKind() Kind {
	return door{
		kind: "subscribe-slow",
		doc:  "Holds each SUBSCRIBE back before the broker handles it.",
		note: "the broker handles the packets of one client in order, so that those behind a SUBSCRIBE, a PINGREQ too, wait as well.",
		own:  `"delay": {"$ref": "#/$defs/duration", "description": "How long each SUBSCRIBE waits.", "default": "100ms"}`,
		ends: true, packet: "SUBSCRIBE", passed: "handled",
		read: readSubscribeSlow, keys: []string{"delay"},
		describe: func(g target.Gate, params map[string]string) { params["delay"] = g.SubscribeSlow.Delay.String() },
	}.row()
}

func readSubscribeSlow(f *scenarios.Fields) target.Gate {
	return target.Gate{SubscribeSlow: &target.SubscribeSlow{Delay: f.Duration("delay", defaultSubscribeDelay)}}
}
