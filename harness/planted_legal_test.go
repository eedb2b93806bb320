package harness

import (
	"fmt"
	"testing"

	"github.com/rebound-mqtt/rebound/harness/mqtt"
)

// TestPlantedLegal: what looks like a fault and is none turns nothing.
func TestPlantedLegal(t *testing.T) {
	overlap := []string{pbStorm, "", pbSub, `subscribe: [{topic: "d/{client}", qos: 1}, {topic: "d/{client}/#", qos: 1}]`}
	cases := []pbCase{
		{name: "nothing planted"},
		{name: "nothing planted, QoS 2", text: []string{"qos: 1", "qos: 2"}},
		{name: "nothing planted, QoS 0", text: []string{"qos: 1", "qos: 0"}, turns: nil},
		{name: "QoS 1 sent again: not answered", bend: pbUnanswered(10, 11)},
		{name: "QoS 2 sent again: not answered", text: []string{"qos: 1", "qos: 2"}, bend: pbUnanswered(10, 11)},
		{name: "QoS 1 sent again: the answer was lost", plant: pbLostAnswers(mqtt.PUBACK), hits: -1},
		{name: "QoS 2 sent again: the answer was lost", text: []string{"qos: 1", "qos: 2"}, plant: pbLostAnswers(mqtt.PUBREC), hits: -1},
		{name: "PUBREL sent again: the PUBCOMP was lost", text: []string{"qos: 1", "qos: 2"}, plant: pbLostAnswers(mqtt.PUBCOMP), hits: -1},
		{
			name: "a copy for each of two filters", text: overlap,
			plant: pbWhen(pbRead("a", 1, 10), func(_ *pbConn, _ bool, p *mqtt.Packet, raw []byte) [][]byte {
				return [][]byte{raw, pbUnder(pbFirst, p, raw)}
			}),
		},
		{
			name: "a copy for each of two filters, QoS 2", text: append([]string{"qos: 1", "qos: 2"}, pbStorm, "", pbSub, `subscribe: [{topic: "d/{client}", qos: 2}, {topic: "d/{client}/#", qos: 2}]`),
			plant: pbWhen(pbRead("a", 1, 10), func(_ *pbConn, _ bool, p *mqtt.Packet, raw []byte) [][]byte {
				return [][]byte{raw, pbUnder(pbFirst, p, raw)}
			}),
		},
		{
			name: "a message before its SUBACK", text: []string{"    share: 50%\n", "    share: 50%\n    session: {clean: true}\n"},
			plant: pbBeforeSuback,
		},
	}
	// Each acknowledgement swallowed once by the scenario: with the connection
	// it is only late, without it is excused.
	for _, then := range []string{"close", "go-on"} {
		for _, s := range []struct{ packet, direction, qos, fleet string }{
			{"PUBACK", "in", "1", "b"}, {"PUBACK", "out", "1", "a"},
			{"PUBREC", "in", "2", "b"}, {"PUBREC", "out", "2", "a"},
			{"PUBREL", "out", "2", "b"}, {"PUBREL", "in", "2", "a"},
			{"PUBCOMP", "in", "2", "b"}, {"PUBCOMP", "out", "2", "a"},
		} {
			until := "until: {back: 100%}\n    timeout: 5s"
			if then == "go-on" {
				until = "for: 500ms"
			}
			cases = append(cases, pbCase{
				name: "scripted swallow: " + s.packet + " " + s.direction + ", " + then,
				text: []string{
					pbStorm, fmt.Sprintf("  - name: storm\n    faults: [{swallow: {fleet: %s, packet: %s, direction: %s, nth: 3, then: %s}}]\n    %s\n", s.fleet, s.packet, s.direction, then, until),
					pbToA, `  - {from: b, to: a, topic: "d/{client}", qos: ` + s.qos + `, each: 50/s}` + "\n", pbToB, "", "qos: 1", "qos: " + s.qos,
				},
			})
		}
	}
	for _, side := range []string{"before", "after"} {
		for _, s := range []struct{ packet, direction, qos, fleet string }{
			{"PUBLISH", "out", "1", "b"}, {"PUBLISH", "in", "1", "a"}, {"PUBLISH", "out", "2", "b"}, {"PUBLISH", "in", "2", "a"},
			{"PUBACK", "in", "1", "b"}, {"PUBACK", "out", "1", "a"},
			{"PUBREC", "in", "2", "b"}, {"PUBREC", "out", "2", "a"},
			{"PUBREL", "out", "2", "b"}, {"PUBREL", "in", "2", "a"},
			{"PUBCOMP", "in", "2", "b"}, {"PUBCOMP", "out", "2", "a"},
		} {
			cases = append(cases, pbCase{
				name: "scripted cut: " + side + " " + s.packet + " " + s.direction + ", QoS " + s.qos,
				text: []string{
					pbStorm, fmt.Sprintf("  - name: storm\n    faults: [{cut: {fleet: %s, packet: %s, direction: %s, nth: 3, side: %s}}]\n    until: {back: 100%%}\n    timeout: 5s\n", s.fleet, s.packet, s.direction, side),
					pbToA, `  - {from: b, to: a, topic: "d/{client}", qos: ` + s.qos + `, each: 50/s}` + "\n", pbToB, "", "qos: 1", "qos: " + s.qos,
				},
			})
		}
	}
	pbAll(t, cases)
}
