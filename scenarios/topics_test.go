package scenarios

import "testing"

func TestProbeTopic(t *testing.T) {
	for _, tt := range []struct {
		name    string
		filters []string
		others  []string // of a second fleet
		want    string
		back    string
	}{
		{"first that names the client", []string{"news", "rb/{client}/cmd", "rb/{client}/tick"}, nil, "rb/{client}/cmd", BackFirstMessage},
		{"wildcards are filled", []string{"rb/{client}/+/x/#"}, nil, "rb/{client}/{client}/x/{client}", BackFirstMessage},
		{"shared is skipped", []string{"$share/g/rb/{client}/a", "rb/{client}/b"}, nil, "rb/{client}/b", BackFirstMessage},
		{"a common filter overlaps", []string{"rb/{client}/cmd", "rb/#"}, nil, "", BackSubscribed},
		{"a common filter of another fleet overlaps", []string{"rb/{client}/cmd"}, []string{"rb/#"}, "", BackSubscribed},
		{"an own filter of another fleet does not", []string{"rb/{client}/cmd"}, []string{"rb/{client}/#"}, "rb/{client}/cmd", BackFirstMessage},
		{"a common filter overlaps the first only", []string{"rb/{client}/cmd", "rb/+/cmd", "up/{client}"}, nil, "up/{client}", BackFirstMessage},
		{"a group overlaps", []string{"rb/{client}/cmd", "$share/g/rb/#"}, nil, "", BackSubscribed},
		{"a group of another fleet overlaps", []string{"rb/{client}/cmd"}, []string{"$share/g/+/+/cmd"}, "", BackSubscribed},
		{"a group elsewhere does not", []string{"$share/g/jobs/#", "rb/{client}/cmd"}, nil, "rb/{client}/cmd", BackFirstMessage},
		{"none names the client", []string{"news"}, nil, "", BackSubscribed},
		{"no filter", nil, nil, "", BackConnack},
	} {
		t.Run(tt.name, func(t *testing.T) {
			fleets := []Fleet{{Back: BackFirstMessage}, {}}
			for _, f := range tt.filters {
				fleets[0].Subscribe = append(fleets[0].Subscribe, Subscription{Topic: f})
			}
			for _, f := range tt.others {
				fleets[1].Subscribe = append(fleets[1].Subscribe, Subscription{Topic: f})
			}
			got := ProbeTopic(fleets, 0)
			if got != tt.want {
				t.Errorf("probed on %q, want %q", got, tt.want)
			}
			if back := EffectiveBack(fleets[0], got); back != tt.back {
				t.Errorf("back is %s, want %s", back, tt.back)
			}
		})
	}
}
