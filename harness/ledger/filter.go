package ledger

import "strings"

// Matches reports whether a topic filter matches a topic name, by MQTT 3.1.1
// section 4.7. A filter that the section forbids matches nothing.
func Matches(filter, topic string) bool {
	if filter == "" || topic == "" { // [MQTT-4.7.3-1]
		return false
	}
	// A wildcard in the first level does not match $-topics [MQTT-4.7.2-1].
	if topic[0] == '$' && (filter[0] == '+' || filter[0] == '#') {
		return false
	}
	for {
		want, filterRest, more := strings.Cut(filter, "/")
		if want == "#" { // the last level only [MQTT-4.7.1-2]
			return !more
		}
		have, topicRest, deeper := strings.Cut(topic, "/")
		// A wildcard stands for a whole level [MQTT-4.7.1-3]; others compare
		// byte by byte [MQTT-4.7.3-4].
		if want != "+" && (want != have || strings.ContainsAny(want, "+#")) {
			return false
		}
		if !deeper { // "a/#" also matches its parent "a"
			return !more || filterRest == "#"
		}
		if !more {
			return false
		}
		filter, topic = filterRest, topicRest
	}
}

// wild reports whether the filter has a wildcard, so that an index by topic
// can not answer it.
func wild(filter string) bool { return strings.ContainsAny(filter, "+#") }
