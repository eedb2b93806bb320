package scenarios

import "strings"

// Variables of topics: the ids of the receiver and of the publisher.
const (
	clientField = "{client}"
	fromField   = "{from}"
)

// Definitions of back.
const (
	BackConnack      = "connack"
	BackSubscribed   = "subscribed"
	BackFirstMessage = "first-message"
)

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

// Shared reports whether a filter is of a shared subscription,
// $share/{name}/{filter} (MQTT 5.0 section 4.8.2; on 3.1.1 an extension).
func Shared(filter string) bool { return strings.HasPrefix(filter, sharePrefix) }

const sharePrefix = "$share/"

// sharedParts gives the group of a shared subscription and the filter that
// matches its topics; any other filter is its own, without a group. whole says
// that no part is missing.
func sharedParts(filter string) (group, plain string, whole bool) {
	rest, shared := strings.CutPrefix(filter, sharePrefix)
	if !shared {
		return "", filter, true
	}
	return strings.Cut(rest, "/")
}

// ProbeTopic is the topic template on which the clients of fleet i are probed:
// its first non-shared filter that names the client, wildcards filled with
// {client}, unless a filter that clients have in common, in any fleet, would
// match it as well: each probe would then reach others, too. "" = there is no
// such topic.
func ProbeTopic(fleets []Fleet, i int) string {
	for _, s := range fleets[i].Subscribe {
		if Shared(s.Topic) || !strings.Contains(s.Topic, clientField) {
			continue
		}
		levels := strings.Split(s.Topic, "/")
		for n, l := range levels {
			if l == "+" || l == "#" {
				levels[n] = clientField
			}
		}
		if topic := strings.Join(levels, "/"); !reachesOthers(fleets, topic) {
			return topic
		}
	}
	return ""
}

// reachesOthers reports whether a filter that does not name its client matches
// a topic; that of a group reaches any of its members.
func reachesOthers(fleets []Fleet, topic string) bool {
	for _, f := range fleets {
		for _, s := range f.Subscribe {
			if _, plain, _ := sharedParts(s.Topic); !strings.Contains(s.Topic, clientField) && Matches(plain, topic) {
				return true
			}
		}
	}
	return false
}

// EffectiveBack is what counts as back for a fleet after any fall:
// first-message needs a topic to probe, else it falls to subscribed; without a
// subscription all fall to connack.
func EffectiveBack(f Fleet, probe string) string {
	switch {
	case len(f.Subscribe) == 0 || f.Back == BackConnack:
		return BackConnack
	case f.Back == BackSubscribed || probe == "":
		return BackSubscribed
	}
	return BackFirstMessage
}
