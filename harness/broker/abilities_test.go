package broker

import (
	"encoding/json"
	"errors"
	"net/http"
	"testing"

	"github.com/rebound-mqtt/rebound/harness/closeconn"
	"github.com/rebound-mqtt/rebound/harness/mqtt"
)

// The embedded broker is all that the endpoint can make use of.
var (
	_ closeconn.Sessions  = (*Embedded)(nil)
	_ closeconn.Presence  = (*Embedded)(nil)
	_ closeconn.Sender    = (*Embedded)(nil)
	_ closeconn.BlockList = (*Embedded)(nil)
	_ closeconn.Tracer    = (*Embedded)(nil)
)

// A broker in a process of its own offers the same by its endpoint, which is
// mounted over there.
func TestChildOffersTheSameOperations(t *testing.T) {
	c := startTestChild(t, Options{})
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	dev, _ := connectRaw(t, c.Info().Addresses[0], mqtt.ConnectInfo{ClientID: "dev", Clean: true})
	dev.subscribe("cmd", 1)
	for _, tc := range []struct {
		call string
		says string // a key of the answer
		want any
	}{
		{"QuerySessionByClientId&ClientId=dev", "OnlineStatus", true},
		{"SendMessage&MqttTopic=cmd&Payload=x", "Success", nil},
		{"AddCustomAuthConnectBlack&ClientId=dev", "Success", true},
		{"CloseConnection&ClientId=dev", "Success", true},
		{"QuerySessionByClientId&ClientId=dev", "OnlineStatus", false},
		{"QueryMqttTraceDevice&ClientId=dev&MqttRegionId=x&BeginTime=0&EndTime=9000000000000&CurrentPage=1&PageSize=1", "PageSize", 1.0},
		{"QueryCustomAuthConnectBlack&Size=1", "Success", true},
		{"DeleteCustomAuthConnectBlack&ClientId=dev", "Success", true},
	} {
		resp, err := http.Get(c.Info().Endpoint + "/?Version=2020-04-20&InstanceId=i&Action=" + tc.call)
		if err != nil {
			t.Fatal(err)
		}
		var got map[string]any
		err = errors.Join(json.NewDecoder(resp.Body).Decode(&got), resp.Body.Close())
		if err != nil || resp.StatusCode != http.StatusOK || got[tc.says] != tc.want {
			t.Errorf("%s: %d %v, %v", tc.call, resp.StatusCode, got, err)
		}
	}
}
