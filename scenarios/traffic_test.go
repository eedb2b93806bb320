package scenarios

import (
	"slices"
	"testing"
)

// TestTakes: {from} and {client} are words: a wildcard stands for them, another
// client's id does not, and in a fleet that publishes to itself a client may be
// both.
func TestTakes(t *testing.T) {
	for _, tt := range []struct {
		from, topic string
		filters     []string // of fleet a, the receiver
		want        bool
	}{
		{"b", "up/{from}", []string{"up/+"}, true},
		{"b", "up/{from}", []string{"up/#"}, true},
		{"b", "up/{from}/x", []string{"up/+/x"}, true},
		{"b", "up/{from}-x", []string{"up/+"}, true},
		{"b", "up/{from}", []string{"$share/g/up/+"}, true},
		{"b", "up/{from}", []string{"down/+", "up/+"}, true},
		{"b", "up/{from}", []string{"up/+/x"}, false},
		{"b", "up/{from}", []string{"up/{client}"}, false},
		{"a", "up/{from}", []string{"up/{client}"}, true},
		{"a", "up/{from}", []string{"up/x{client}"}, false},
		{"b", "{client}/{from}", []string{"{client}/+"}, true},
		{"b", "{client}/{from}", []string{"+/{client}"}, false},
		{"a", "{client}/{from}", []string{"+/{client}"}, true},
		{"a", "{client}/{from}", []string{"{client}/{client}"}, true},
		{Control, "{client}/a", []string{"{client}/a"}, true},
		{Control, "{client}/a", []string{"+/a"}, true},
		{Control, "{client}/a", []string{"{client}"}, false},
		{Control, "news", nil, false},
	} {
		fl := Fleet{Name: "a"}
		for _, f := range tt.filters {
			fl.Subscribe = append(fl.Subscribe, Subscription{Topic: f})
		}
		if got := takes(fl, Traffic{From: tt.from, To: "a", Topic: tt.topic}); got != tt.want {
			t.Errorf("from %s on %s, filters %v: %v", tt.from, tt.topic, tt.filters, got)
		}
	}
}

func TestSeenBy(t *testing.T) {
	tr := Traffic{From: "pub", To: "sub", Topic: "x/{client}/{from}"}
	self := Traffic{From: "sub", To: "sub", Topic: tr.Topic}
	for _, tt := range []struct {
		traffic Traffic
		fleet   string
		want    []string
	}{
		{tr, "else", []string{"x/{receiver}/{from}"}},
		{tr, "sub", []string{"x/{receiver}/{from}", "x/{client}/{from}"}},
		{tr, "pub", []string{"x/{receiver}/{from}", "x/{receiver}/{client}"}},
		{self, "sub", []string{"x/{receiver}/{from}", "x/{client}/{from}", "x/{receiver}/{client}", "x/{client}/{client}"}},
	} {
		if got := tt.traffic.seenBy(tt.fleet); !slices.Equal(got, tt.want) {
			t.Errorf("%s of %s to %s: %q", tt.fleet, tt.traffic.From, tt.traffic.To, got)
		}
	}
}

func TestSharedParts(t *testing.T) {
	for _, tt := range []struct {
		filter, group, plain string
		whole                bool
	}{
		{"a/b", "", "a/b", true},
		{"$share/g/a/+", "g", "a/+", true},
		{"$share/g", "g", "", false},
		{"$share//a", "", "a", true},
		{"$share/g/", "g", "", true},
		{"$shared/g/a", "", "$shared/g/a", true},
	} {
		if g, p, w := sharedParts(tt.filter); g != tt.group || p != tt.plain || w != tt.whole {
			t.Errorf("%s: %q %q %v", tt.filter, g, p, w)
		}
	}
}
