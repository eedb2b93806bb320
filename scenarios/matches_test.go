package scenarios

import "testing"

// The examples are those of MQTT 3.1.1 section 4.7, and their neighbours.
func TestMatches(t *testing.T) {
	for _, c := range []struct {
		filter, topic string
		want          bool
	}{
		{"sport/tennis/player1/#", "sport/tennis/player1", true},
		{"sport/tennis/player1/#", "sport/tennis/player1/ranking", true},
		{"sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", true},
		{"sport/tennis/player1/#", "sport/tennis/player10", false},
		{"sport/#", "sport", true},
		{"#", "a/b/c", true},
		{"#", "/", true},
		{"sport/tennis/+", "sport/tennis/player1", true},
		{"sport/tennis/+", "sport/tennis/player1/ranking", false},
		{"sport/+", "sport", false},
		{"sport/+", "sport/", true},
		{"+/+", "/finance", true},
		{"/+", "/finance", true},
		{"+", "/finance", false},
		{"+/tennis/#", "sport/tennis", true},
		{"sport/+/player1", "sport/tennis/player1", true},
		{"sport/+/player1", "sport/tennis/player2", false},
		{"#", "$SYS/uptime", false},
		{"+/uptime", "$SYS/uptime", false},
		{"$SYS/#", "$SYS/uptime", true},
		{"$SYS/+", "$SYS/uptime", true},
		{"a/+", "a/$b", true},
		{"a", "a", true},
		{"a", "A", false},
		{"a", "a/", false},
		{"a/", "a", false},
		{"a/b", "a", false},
		{"a//b", "a//b", true},
		{"a/+/b", "a//b", true},
		{"a/b/#", "a", false},
		{"$share/g/a", "a", false}, // judged as a group, not here
		// What the section forbids matches nothing.
		{"", "a", false}, {"a", "", false},
		{"sport#", "sport#", false}, {"sport+", "sport+", false},
		{"a/#/b", "a/x/b", false}, {"a/b#", "a/b", false}, {"#/a", "b/a", false},
	} {
		if got := Matches(c.filter, c.topic); got != c.want {
			t.Errorf("filter %q, topic %q: %v", c.filter, c.topic, got)
		}
	}
}
