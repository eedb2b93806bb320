package fleet

import (
	"errors"
	"fmt"
	"net"
	"os"
	"regexp"
	"strconv"
	"strings"
	"syscall"

	"github.com/rebound-mqtt/rebound/scenarios"
)

// ControlFleet is the name of the built-in fleet that publishes and probes.
const ControlFleet = "control"

// controlID is the client id template of the control fleet.
const controlID = "rb-{fleet}-{run}-{index}"

var (
	indexField = regexp.MustCompile(`\{index(?::0?(\d{1,2}))?\}`)
	address    = regexp.MustCompile(`[^\s]*:\d+(->[^\s]*:\d+)?`)
)

// ClientID fills a client id template: {run}, {fleet}, {index} and {index:06}
// (zero-padded to that width).
func ClientID(template, run, fleet string, index int) string {
	id := strings.NewReplacer("{run}", run, "{fleet}", fleet).Replace(template)
	return indexField.ReplaceAllStringFunc(id, func(field string) string {
		width := 0
		if m := indexField.FindStringSubmatch(field); m[1] != "" {
			width, _ = strconv.Atoi(m[1]) // one or two digits: can't fail
		}
		return fmt.Sprintf("%0*d", width, index)
	})
}

// Topic fills a topic template: {client} and {run}.
func Topic(template, run, clientID string) string {
	return strings.NewReplacer("{client}", clientID, "{run}", run).Replace(template)
}

// probeTopic is the topic on which a client is probed: its first non-shared
// filter that names the client, wildcards filled with the client id, unless a
// filter that all clients share would match it as well (each probe would then
// reach the whole fleet). Without one, "back" falls to "subscribed".
func probeTopic(subs []scenarios.Subscription, run, clientID string) (string, bool) {
	for _, s := range subs {
		if shared(s.Topic) || !strings.Contains(s.Topic, "{client}") {
			continue
		}
		levels := strings.Split(Topic(s.Topic, run, clientID), "/")
		for i, l := range levels {
			if l == "+" || l == "#" {
				levels[i] = clientID
			}
		}
		topic := strings.Join(levels, "/")
		if !anyCommon(subs, run, topic) {
			return topic, true
		}
	}
	return "", false
}

// anyCommon reports whether a filter that does not name its client matches.
func anyCommon(subs []scenarios.Subscription, run, topic string) bool {
	for _, s := range subs {
		if !shared(s.Topic) && !strings.Contains(s.Topic, "{client}") && matches(Topic(s.Topic, run, ""), topic) {
			return true
		}
	}
	return false
}

func shared(filter string) bool { return strings.HasPrefix(filter, "$share/") }

// matches is MQTT 3.1.1 section 4.7 for a valid filter and topic.
func matches(filter, topic string) bool {
	if strings.HasPrefix(topic, "$") && (strings.HasPrefix(filter, "+") || strings.HasPrefix(filter, "#")) {
		return false // [MQTT-4.7.2-1]
	}
	f, t := strings.Split(filter, "/"), strings.Split(topic, "/")
	for i, level := range f {
		switch {
		case level == "#":
			return true
		case i >= len(t), level != "+" && level != t[i]:
			return false
		}
	}
	return len(f) == len(t)
}

// plain is the text of a dial error without addresses: records name no hosts.
func plain(err error) string {
	var (
		errno syscall.Errno
		dns   *net.DNSError
	)
	switch {
	case errors.As(err, &errno):
		return errno.Error()
	case errors.As(err, &dns):
		return "lookup: " + dns.Err
	case errors.Is(err, os.ErrDeadlineExceeded):
		return os.ErrDeadlineExceeded.Error()
	}
	return address.ReplaceAllString(err.Error(), "address")
}
