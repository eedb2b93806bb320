package compat

import (
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
)

// The documented bodies.
type (
	done struct {
		RequestID string `json:"RequestId"`
		Code      int
		Message   string
		Success   bool
	}
	onlineStatus struct {
		RequestID    string `json:"RequestId"`
		OnlineStatus bool
	}
	clientStatus struct {
		ClientID     string `json:"ClientId"`
		OnlineStatus bool
	}
	onlineStatusList struct {
		RequestID        string `json:"RequestId"`
		OnlineStatusList []clientStatus
	}
	sent struct {
		RequestID string `json:"RequestId"`
		MsgID     string `json:"MsgId"`
	}
	blackEntry struct {
		ClientID     string `json:"ClientId"`
		Effect       string
		PermitAction string
	}
	blackList struct {
		done
		Data struct {
			Results   []blackEntry
			NextToken string
		}
	}
	deviceEvent struct {
		Time, Action, ActionCode, ActionInfo string
		ChannelID                            string `json:"ChannelId"`
	}
	deviceTrace struct {
		RequestID                    string `json:"RequestId"`
		Total, CurrentPage, PageSize int
		DeviceInfoList               []deviceEvent
	}
)

func (d done) ok() bool { return d.Code == 200 && d.Success && d.Message == "operation success." }

// tester calls the operations of one broker by one client.
type tester struct {
	*testing.T
	served
	vendorClient
	key key
}

func (t tester) call(action string, params map[string]any) call {
	if _, given := params["InstanceId"]; !given {
		params["InstanceId"] = instance
	}
	return call{Endpoint: t.endpoint, CA: t.ca, Key: t.key, Action: action, Params: params}
}

// id is a ClientId with what encodings get wrong, of this client's own.
func (t tester) id(part string) string { return group + part + " " + t.name + " 1*~é+&=%/?" }

// closeConnection calls it and gives what the headers say: was it online? They
// tell the instant of the close too, and only of a close.
func (t tester) closeConnection(id string) (found string) {
	t.Helper()
	var body done
	a := t.ask(t.T, t.call("CloseConnection", map[string]any{"ClientId": id}), &body)
	if !body.ok() {
		t.Fatalf("%+v", body)
	}
	found = a.Headers["x-rebound-closed"]
	if at, err := strconv.ParseInt(a.Headers["x-rebound-closed-monotonic-ns"], 10, 64); (found == "1") != (err == nil && at > 0) {
		t.Errorf("closed %q at %d, %v", found, at, err)
	}
	return found
}

func (t tester) online(id string) bool {
	t.Helper()
	var body onlineStatus
	t.ask(t.T, t.call("QuerySessionByClientId", map[string]any{"ClientId": id}), &body)
	return body.OnlineStatus
}

// blocked tells whether a client is on the block-list.
func (t tester) blocked(id string) bool {
	t.Helper()
	var body blackList
	t.ask(t.T, t.call("QueryCustomAuthConnectBlack", map[string]any{"Size": "100"}), &body)
	if !body.ok() {
		t.Fatalf("%+v", body)
	}
	return slices.Contains(body.Data.Results, blackEntry{ClientID: id, Effect: "DENY", PermitAction: "CONNECT"})
}

// operations are all that the endpoint offers; a test may call several.
func operations() []operation {
	return []operation{
		{testClose, []string{"CloseConnection"}},
		{testQuery, []string{"QuerySessionByClientId"}},
		{testBatch, []string{"BatchQuerySessionByClientIds"}},
		{testSend, []string{"SendMessage"}},
		{testBlack, []string{"AddCustomAuthConnectBlack", "QueryCustomAuthConnectBlack", "DeleteCustomAuthConnectBlack"}},
		{testTrace, []string{"QueryMqttTraceDevice"}},
	}
}

type operation struct {
	test  func(tester)
	names []string
}

// TestOperations calls each operation by each client and sees on the wire that
// it did what it says.
func TestOperations(t *testing.T) {
	s := startBroker(t, keyFlags(t)...)
	forEachClient(t, func(t *testing.T, v vendorClient) {
		for _, op := range operations() {
			t.Run(strings.Join(op.names, ","), func(t *testing.T) { op.test(tester{t, s, v, limited}) })
		}
	})
}

func testClose(t tester) {
	d, other := connect(t.T, t.served, t.id("close")), connect(t.T, t.served, t.id("other"))
	if found := t.closeConnection(d.id); found != "1" {
		t.Errorf("x-rebound-closed: %q of a client that was online", found)
	}
	d.closedAndBack(t.T)
	other.untouched(t.T)
	if found := t.closeConnection(t.id("nobody")); found != "0" {
		t.Errorf("x-rebound-closed: %q of a client that was offline", found)
	}
}

func testQuery(t tester) {
	d := connect(t.T, t.served, t.id("query"))
	if !t.online(d.id) {
		t.Errorf("%q is online and told offline", d.id)
	}
	d.client.Disconnect(0)
	eventually(t.T, d.id+" is told offline", func() bool { return !t.online(d.id) })
}

func testBatch(t tester) {
	d := connect(t.T, t.served, t.id("batch"))
	want := []clientStatus{{t.id("nobody"), false}, {d.id, true}}
	var body onlineStatusList
	t.ask(t.T, t.call("BatchQuerySessionByClientIds", map[string]any{"ClientIdList": []string{t.id("nobody"), d.id}}), &body)
	if !slices.Equal(body.OnlineStatusList, want) {
		t.Errorf("%+v, want %+v", body.OnlineStatusList, want)
	}
}

func testSend(t tester) {
	d := connect(t.T, t.served, t.id("send"))
	const payload = "hello + & = % * ~ é\n✓"
	topic := "to/" + t.name
	received := make(chan mqtt.Message, 8)
	d.subscribe(t.T, topic, received)
	var body sent
	t.ask(t.T, t.call("SendMessage", map[string]any{"MqttTopic": topic, "Payload": payload}), &body)
	if body.MsgID == "" {
		t.Error("no MsgId")
	}
	if m := await(t.T, received, "the message"); m.Topic() != topic || string(m.Payload()) != payload || m.Qos() != 1 {
		t.Errorf("%q: %q with QoS %d", m.Topic(), m.Payload(), m.Qos())
	}
}

// testBlack kicks and refuses: the three operations of the block-list.
func testBlack(t tester) {
	d := connect(t.T, t.served, t.id("black"))
	if t.blocked(d.id) {
		t.Error("it is blocked before it was")
	}
	var body done
	if t.ask(t.T, t.call("AddCustomAuthConnectBlack", map[string]any{"ClientId": d.id}), &body); !body.ok() {
		t.Errorf("%+v", body)
	}
	d.untouched(t.T) // as the service documents it, until its next CONNECT
	t.closeConnection(d.id)
	await(t.T, d.down, d.id+" loses its connection")
	if code := connack(t.T, t.served, d.id); code != 5 {
		t.Errorf("the blocked client got CONNACK %d, want 5", code)
	}
	if !t.blocked(d.id) || t.online(d.id) {
		t.Error("it is not listed, or online")
	}
	body = done{}
	if t.ask(t.T, t.call("DeleteCustomAuthConnectBlack", map[string]any{"ClientId": d.id}), &body); !body.ok() {
		t.Errorf("%+v", body)
	}
	await(t.T, d.up, d.id+" is let in again")
	if t.blocked(d.id) {
		t.Error("it is still listed")
	}
}

func testTrace(t tester) {
	d := connect(t.T, t.served, t.id("trace"))
	t.closeConnection(d.id)
	d.closedAndBack(t.T)
	d.client.Disconnect(250) // it says so before it goes
	now := time.Now()
	params := map[string]any{
		"ClientId": d.id, "MqttRegionId": "cn-shanghai", "CurrentPage": "1", "PageSize": "100",
		"BeginTime": millis(now.Add(-time.Minute)), "EndTime": millis(now.Add(time.Minute)),
	}
	var body deviceTrace
	eventually(t.T, "the four events", func() bool {
		body = deviceTrace{}
		t.ask(t.T, t.call("QueryMqttTraceDevice", params), &body)
		return body.Total >= 4
	})
	var actions []string
	for _, e := range body.DeviceInfoList {
		actions = append(actions, e.Action)
	}
	if want := []string{"connect", "close", "connect", "disconnect"}; !slices.Equal(actions, want) {
		t.Errorf("%q, want %q: %+v", actions, want, body)
	}
}

func millis(at time.Time) string { return strconv.FormatInt(at.UnixMilli(), 10) }
