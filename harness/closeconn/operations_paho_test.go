package closeconn_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
	"github.com/eclipse/paho.mqtt.golang/packets"
)

// answer is the union of the documented bodies.
type answer struct {
	RequestID        string `json:"RequestId"`
	Success          bool
	OnlineStatus     bool
	OnlineStatusList []struct {
		ClientID     string `json:"ClientId"`
		OnlineStatus bool
	}
	MsgID string `json:"MsgId"`
	Data  struct {
		Results []struct {
			ClientID             string `json:"ClientId"`
			Effect, PermitAction string
		}
	}
	Total          int
	DeviceInfoList []deviceInfo
}

type deviceInfo struct {
	Action, ActionInfo string
	ChannelID          string `json:"ChannelId"`
}

// call calls one operation of the rig's endpoint, which must succeed.
func (r *rig) call(action string, params url.Values) answer {
	r.t.Helper()
	if params == nil {
		params = url.Values{}
	}
	params.Set("Action", action)
	params.Set("Version", "2020-04-20")
	params.Set("InstanceId", "post-cn-test")
	resp, err := http.PostForm(r.broker.Info().Endpoint, params)
	if err != nil {
		r.t.Fatal(err)
	}
	var a answer
	err = errors.Join(json.NewDecoder(resp.Body).Decode(&a), resp.Body.Close())
	if err != nil || resp.StatusCode != http.StatusOK || a.RequestID == "" {
		r.t.Fatalf("%s: %d, %v", action, resp.StatusCode, err)
	}
	return a
}

// until waits for a condition that a client's goroutines bring about.
func (r *rig) until(what string, ok func() bool) {
	r.t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-r.ctx.Done():
			r.t.Fatal("never came: ", what)
		case <-tick.C:
		}
	}
}

// idle closes the connections of http.PostForm, whose goroutines would be taken
// for leaks.
func idle(t *testing.T) { t.Cleanup(http.DefaultClient.CloseIdleConnections) }

// A paho client is up, is kicked and refused, is down, is let in, and is up
// again; the trace tells it.
func TestKickAndRefusePahoClient(t *testing.T) {
	r := newRig(t)
	idle(t)
	const id = "GID_test@@@dev"
	params := func() url.Values { return url.Values{"ClientId": {id}} }
	online := func() bool { return r.call("QuerySessionByClientId", params()).OnlineStatus }
	start := time.Now()

	if online() {
		t.Error("online before it connected")
	}
	d := r.device(id)
	if !online() {
		t.Error("not online after it connected")
	}
	r.call("AddCustomAuthConnectBlack", params())
	if !online() {
		t.Error("the block list closed a connection")
	}
	r.call("CloseConnection", params())
	wait(r, d.lost)
	if online() {
		t.Error("online after the kick")
	}
	// paho comes back at once, is refused, and tries again from then on.
	r.until("it is refused", func() bool {
		for _, e := range r.trace(id, start).DeviceInfoList {
			if e.ActionInfo == "not authorized" {
				return true
			}
		}
		return false
	})
	second := paho.NewClient(paho.NewClientOptions().AddBroker(r.broker.Info().Addresses[0]).SetClientID(id).SetProtocolVersion(4))
	if token := second.Connect(); !token.WaitTimeout(patience) || !errors.Is(token.Error(), packets.ErrorRefusedNotAuthorised) {
		t.Errorf("a blocked client: %v", token.Error())
	}
	list := r.call("QueryCustomAuthConnectBlack", url.Values{"Size": {"100"}}).Data.Results
	if len(list) != 1 || list[0].ClientID != id || list[0].Effect != "DENY" || list[0].PermitAction != "CONNECT" {
		t.Errorf("%+v", list)
	}
	if online() {
		t.Error("online while it is blocked")
	}
	r.call("DeleteCustomAuthConnectBlack", params())
	wait(r, d.up)
	if !online() {
		t.Error("not online after it came back")
	}
	batch := r.call("BatchQuerySessionByClientIds", url.Values{"ClientIdList.1": {"nobody"}, "ClientIdList.2": {id}}).OnlineStatusList
	if len(batch) != 2 || batch[0].OnlineStatus || batch[0].ClientID != "nobody" || !batch[1].OnlineStatus || batch[1].ClientID != id {
		t.Errorf("%+v", batch)
	}
	// The broker notes a connect when its CONNACK is out, so after the client knows.
	var events []deviceInfo
	r.until("its second connect is told", func() bool {
		events = r.trace(id, start).DeviceInfoList
		return events[len(events)-1].Action == "connect"
	})
	if n := len(events); n < 5 || events[0].Action != "connect" || events[1].ActionInfo != "closed by administrative action" ||
		events[0].ChannelID != events[1].ChannelID || events[n-1].ChannelID == events[0].ChannelID {
		t.Errorf("%+v", events)
	}
	d.client.Disconnect(250)
	r.until("its DISCONNECT is told", func() bool {
		events := r.trace(id, start).DeviceInfoList
		return events[len(events)-1].Action == "disconnect"
	})
}

func (r *rig) trace(id string, from time.Time) answer {
	r.t.Helper()
	return r.call("QueryMqttTraceDevice", url.Values{
		"MqttRegionId": {"local"}, "ClientId": {id}, "CurrentPage": {"1"}, "PageSize": {"100"},
		"BeginTime": {strconv.FormatInt(from.UnixMilli(), 10)}, "EndTime": {strconv.FormatInt(time.Now().UnixMilli(), 10)},
	})
}

// All operations at once, while clients come and go, to one broker.
func TestConcurrentOperations(t *testing.T) {
	r := newRig(t)
	idle(t)
	start := time.Now()
	var workers sync.WaitGroup
	for worker := range 4 {
		id := "dev" + strconv.Itoa(worker)
		d := r.device(id)
		workers.Go(func() {
			for range 20 {
				r.call("AddCustomAuthConnectBlack", url.Values{"ClientId": {"other-" + id}})
				r.call("CloseConnection", url.Values{"ClientId": {id}})
				r.call("SendMessage", url.Values{"MqttTopic": {"cmd"}, "Payload": {"x"}})
				r.call("BatchQuerySessionByClientIds", url.Values{"ClientIdList.1": {id}, "ClientIdList.2": {"other"}})
				r.call("QueryCustomAuthConnectBlack", url.Values{"Size": {"10"}})
				r.trace(id, start)
				r.call("DeleteCustomAuthConnectBlack", url.Values{"ClientId": {"other-" + id}})
			}
			r.until(id+" is back", func() bool {
				return r.call("QuerySessionByClientId", url.Values{"ClientId": {id}}).OnlineStatus && d.client.IsConnectionOpen()
			})
		})
	}
	workers.Wait()
	if list := r.call("QueryCustomAuthConnectBlack", url.Values{"Size": {"10"}}).Data.Results; len(list) != 0 {
		t.Errorf("still blocked: %+v", list)
	}
}

func TestSendMessageToPahoClient(t *testing.T) {
	r := newRig(t)
	idle(t)
	got := make(chan paho.Message, 1)
	d := r.device("dev")
	r.done(d.client.Subscribe("cmd/+", 1, func(_ paho.Client, m paho.Message) { got <- m }))
	sent := r.call("SendMessage", url.Values{"MqttTopic": {"cmd/1"}, "Payload": {"hé llo*"}})
	m := wait(r, got)
	if m.Topic() != "cmd/1" || string(m.Payload()) != "hé llo*" || m.Qos() != 1 || m.Retained() || len(sent.MsgID) != 32 {
		t.Errorf("%q %q QoS %d, message id %q", m.Topic(), m.Payload(), m.Qos(), sent.MsgID)
	}
}
