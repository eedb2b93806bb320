package closeconn

import (
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rebound-mqtt/rebound/harness/target"
)

// fakeBroker has every ability.
type fakeBroker struct {
	*fakeSessions
	blocked map[string]bool
	full    error
	sent    []string // topic payload
	sendErr error
	events  []target.DeviceEvent
	asked   [2]time.Time // the span of the last Trace
}

func (f *fakeBroker) Online(id string) bool { return f.online[id] }

func (f *fakeBroker) Send(_ context.Context, topic string, payload []byte) error {
	if f.sendErr == nil {
		f.sent = append(f.sent, topic+" "+string(payload))
	}
	return f.sendErr
}

func (f *fakeBroker) Block(id string) error {
	if f.full == nil {
		f.blocked[id] = true
	}
	return f.full
}

func (f *fakeBroker) Unblock(id string) { delete(f.blocked, id) }

func (f *fakeBroker) Blocked() []string { return slices.Sorted(maps.Keys(f.blocked)) }

func (f *fakeBroker) Trace(id string, from, to time.Time) []target.DeviceEvent {
	f.asked = [2]time.Time{from, to}
	var out []target.DeviceEvent
	for _, e := range f.events {
		if e.ClientID == id && !e.At.Before(from) && !e.At.After(to) {
			out = append(out, e)
		}
	}
	return out
}

// The time of the vendor's example of a device trace.
var exampleTime = time.UnixMilli(1621583514867)

func newFakeBroker() *fakeBroker {
	f := &fakeBroker{fakeSessions: newFake("GID_t@@@1", "GID_t@@@3", "dev"), blocked: map[string]bool{"b": true, "a": true, "c": true}}
	for i, e := range []target.DeviceEvent{
		{Kind: target.DeviceConnect, Reason: "accepted", Connection: "c69f"},
		{Kind: target.DeviceClose, Reason: "closed by client", Connection: "c69f"},
		{Kind: target.DeviceConnect, Reason: "accepted", Connection: "c700"},
		{Kind: target.DeviceDisconnect, Reason: "disconnected by client", Connection: "c700"},
	} {
		e.ClientID, e.At = "dev", exampleTime.Add(time.Duration(i)*time.Second)
		f.events = append(f.events, e)
	}
	return f
}

// callOf is the target of a call of one operation; given are NAME=VALUE.
func callOf(action string, given ...string) string {
	q := url.Values{"Action": {action}, "Version": {apiVersion}, "InstanceId": {"post-cn-test"}}
	for _, pair := range given {
		name, value, _ := strings.Cut(pair, "=")
		q.Set(name, value)
		if value == "" {
			q.Del(name)
		}
	}
	return "/?" + q.Encode()
}

func traceOf(given ...string) string {
	all := append([]string{
		"MqttRegionId=cn-shanghai", "ClientId=dev", "BeginTime=1621580400000", "EndTime=1621584000000", "CurrentPage=1", "PageSize=3",
	}, given...)
	return callOf("QueryMqttTraceDevice", all...)
}

func batch(n int) []string {
	var out []string
	for i := range n {
		out = append(out, fmt.Sprintf("ClientIdList.%d=GID_t@@@%d", i+1, i+1))
	}
	return out
}

var messageID = regexp.MustCompile(`[0-9A-F]{32}`)

// Each operation's success and each of its failures, byte for byte but for ids.
func TestGoldenOperations(t *testing.T) {
	type row struct {
		name, target string
		prepare      func(*fakeBroker)
	}
	rows := []row{
		{"query-online", callOf("QuerySessionByClientId", "ClientId=dev"), nil},
		{"query-offline", callOf("QuerySessionByClientId", "ClientId=away"), nil},
		{"query-missing-client", callOf("QuerySessionByClientId"), nil},
		{"query-missing-instance", callOf("QuerySessionByClientId", "InstanceId=", "ClientId=dev"), nil},

		{"batch", callOf("BatchQuerySessionByClientIds", batch(3)...), nil},
		{"batch-with-gaps", callOf("BatchQuerySessionByClientIds", "ClientIdList.10=GID_t@@@3", "ClientIdList.2=x"), nil},
		{"batch-ten", callOf("BatchQuerySessionByClientIds", batch(10)...), nil},
		{"batch-eleven", callOf("BatchQuerySessionByClientIds", batch(11)...), nil},
		{"batch-none", callOf("BatchQuerySessionByClientIds"), nil},
		{"batch-zero", callOf("BatchQuerySessionByClientIds", "ClientIdList.0=x"), nil},
		{"batch-odd-number", callOf("BatchQuerySessionByClientIds", "ClientIdList.01=x"), nil},
		{"batch-empty-value", callOf("BatchQuerySessionByClientIds", "ClientIdList.1=x") + "&ClientIdList.2=", nil},

		{"send", callOf("SendMessage", "MqttTopic=cmd/1", "Payload=hello"), nil},
		{"send-missing-topic", callOf("SendMessage", "Payload=hello"), nil},
		{"send-missing-payload", callOf("SendMessage", "MqttTopic=cmd"), nil},
		{"send-wildcard", callOf("SendMessage", "MqttTopic=cmd/#", "Payload=hello"), nil},
		{"send-plus", callOf("SendMessage", "MqttTopic=+", "Payload=hello"), nil},
		{"send-broker-topic", callOf("SendMessage", "MqttTopic=$SYS/x", "Payload=hello"), nil},
		{"send-nul", callOf("SendMessage", "MqttTopic=a\x00b", "Payload=hello"), nil},
		{"send-not-utf8", callOf("SendMessage", "MqttTopic=a\xffb", "Payload=hello"), nil},
		{"send-long-topic", callOf("SendMessage", "MqttTopic="+strings.Repeat("t", maxTopic+1), "Payload=hello"), nil},
		{"send-longest", callOf("SendMessage", "MqttTopic="+strings.Repeat("t", maxTopic), "Payload="+strings.Repeat("p", maxPayload)), nil},
		{"send-long-payload", callOf("SendMessage", "MqttTopic=t", "Payload="+strings.Repeat("p", maxPayload+1)), nil},
		{"send-fails", callOf("SendMessage", "MqttTopic=cmd", "Payload=x"), func(f *fakeBroker) { f.sendErr = errors.New("on fire") }},

		{"add-black", callOf("AddCustomAuthConnectBlack", "ClientId=dev"), nil},
		{"add-black-full", callOf("AddCustomAuthConnectBlack", "ClientId=dev"), func(f *fakeBroker) { f.full = errors.New("full") }},
		{"add-black-missing-client", callOf("AddCustomAuthConnectBlack"), nil},
		{"delete-black", callOf("DeleteCustomAuthConnectBlack", "ClientId=a"), nil},
		{"delete-black-unknown", callOf("DeleteCustomAuthConnectBlack", "ClientId=nobody"), nil},
		{"delete-black-missing-client", callOf("DeleteCustomAuthConnectBlack"), nil},
		{"query-black", callOf("QueryCustomAuthConnectBlack", "Size=100"), nil},
		{"query-black-first-page", callOf("QueryCustomAuthConnectBlack", "Size=2"), nil},
		{"query-black-last-page", callOf("QueryCustomAuthConnectBlack", "Size=2", "NextToken=Yg=="), nil},
		{"query-black-after-a-deleted-one", callOf("QueryCustomAuthConnectBlack", "Size=2", "NextToken=Yg=="), func(f *fakeBroker) { f.Unblock("b") }},
		{"query-black-one", callOf("QueryCustomAuthConnectBlack", "Size=1", "ClientId=b"), nil},
		{"query-black-other", callOf("QueryCustomAuthConnectBlack", "Size=1", "ClientId=nobody"), nil},
		{"query-black-missing-size", callOf("QueryCustomAuthConnectBlack"), nil},
		{"query-black-too-many", callOf("QueryCustomAuthConnectBlack", "Size=101"), nil},
		{"query-black-bad-token", callOf("QueryCustomAuthConnectBlack", "Size=1", "NextToken=*"), nil},

		{"trace", traceOf(), nil},
		{"trace-page-2", traceOf("CurrentPage=2"), nil},
		{"trace-page-3", traceOf("CurrentPage=3"), nil},
		{"trace-reverse", traceOf("Reverse=true", "PageSize=100"), nil},
		{"trace-python", traceOf("Reverse=False", "PageSize=1"), nil},
		{"trace-one-ms", traceOf("BeginTime=1621583514867", "EndTime=1621583514867"), nil},
		{"trace-nobody", traceOf("ClientId=nobody"), nil},
		{"trace-missing-region", traceOf("MqttRegionId="), nil},
		{"trace-missing-client", traceOf("ClientId="), nil},
		{"trace-missing-begin", traceOf("BeginTime="), nil},
		{"trace-missing-end", traceOf("EndTime="), nil},
		{"trace-missing-page", traceOf("CurrentPage="), nil},
		{"trace-missing-size", traceOf("PageSize="), nil},
		{"trace-bad-begin", traceOf("BeginTime=yesterday"), nil},
		{"trace-backwards", traceOf("BeginTime=2", "EndTime=1"), nil},
		{"trace-page-0", traceOf("CurrentPage=0"), nil},
		{"trace-size-101", traceOf("PageSize=101"), nil},
		{"trace-bad-reverse", traceOf("Reverse=1"), nil},
	}
	golden := map[string]string{} // one file for each operation
	for _, tc := range rows {
		for _, format := range []string{"JSON", "Xml"} {
			f := newFakeBroker()
			if tc.prepare != nil {
				tc.prepare(f)
			}
			w := call{target: tc.target + "&Format=" + format}.do(Handler(Config{Sessions: f}))
			id := w.Header().Get("x-acs-request-id")
			if strings.Count(w.Body.String(), id) != 1 || id == "" {
				t.Fatalf("%s: request id %q, body %s", tc.name, id, w.Body)
			}
			if w.Header().Get(HeaderClosed) != "" || len(f.fakeSessions.asked) != 0 {
				t.Errorf("%s: it says something of a close, or closed something", tc.name)
			}
			text := messageID.ReplaceAllString(strings.Replace(w.Body.String(), id, "REQUEST-ID", 1), "MESSAGE-ID")
			u, err := url.Parse(tc.target)
			if err != nil {
				t.Fatal(err)
			}
			golden[u.Query().Get("Action")] += fmt.Sprintf("-- %s: %d, %s\n%s\n", tc.name, w.Code, w.Header().Get("Content-Type"), text)
		}
	}
	for action, got := range golden {
		compareGolden(t, filepath.Join("testdata", "operations", action+".txt"), got)
	}
}

// What the operations do to the broker, beside their answers.
func TestEffects(t *testing.T) {
	f := newFakeBroker()
	h := Handler(Config{Sessions: f})
	for _, target := range []string{
		callOf("SendMessage", "MqttTopic=cmd/+", "Payload=never"),
		callOf("SendMessage", "MqttTopic=cmd/1", "Payload=hé*+ 1"),
		callOf("AddCustomAuthConnectBlack", "ClientId="+nasty),
		callOf("DeleteCustomAuthConnectBlack", "ClientId=a"),
		callOf("DeleteCustomAuthConnectBlack", "ClientId=a"),
	} {
		call{target: target}.do(h)
	}
	if diff := cmp.Diff([]string{"cmd/1 hé*+ 1"}, f.sent); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{nasty, "b", "c"}, f.Blocked()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string(nil), f.fakeSessions.asked); diff != "" {
		t.Error("the block list closes no connection", diff)
	}
	call{target: traceOf("BeginTime=1000", "EndTime=1001")}.do(h)
	if want := [2]time.Time{time.UnixMilli(1000), time.UnixMilli(1002).Add(-1)}; f.asked != want {
		t.Errorf("asked for %v, want %v", f.asked, want)
	}
}

// Sessions that can only close offer only that.
func TestMissingAbilities(t *testing.T) {
	h := Handler(Config{Sessions: newFake("dev")})
	for _, name := range offered() {
		w := call{target: callOf(name)}.do(h)
		if want := name != "CloseConnection"; strings.Contains(w.Body.String(), "ApiNotSupport") != want || want && w.Code != 404 {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
}

// The pages of a block list give each client once, whatever the size.
func TestBlackPages(t *testing.T) {
	f := newFakeBroker()
	for i := range 250 {
		f.blocked[fmt.Sprintf("dev%03d", i)] = true
	}
	h := Handler(Config{Sessions: f})
	for _, size := range []string{"1", "7", "100"} {
		var got []string
		for token, more := "", true; more; more = token != "" {
			var page blackList
			w := call{target: callOf("QueryCustomAuthConnectBlack", "Size="+size, "NextToken="+token)}.do(h)
			if err := json.Unmarshal(w.Body.Bytes(), &page); err != nil || !page.Success {
				t.Fatal(w.Body, err)
			}
			for _, entry := range page.Data.Results {
				got = append(got, entry.ClientID)
			}
			token = page.Data.NextToken
		}
		if diff := cmp.Diff(f.Blocked(), got); diff != "" {
			t.Errorf("size %s: %s", size, diff)
		}
	}
}

// XML says what JSON says.
func TestXMLRoundTrip(t *testing.T) {
	newBody := map[string]func() any{
		"QuerySessionByClientId":       func() any { return new(onlineStatus) },
		"BatchQuerySessionByClientIds": func() any { return new(onlineStatusList) },
		"QueryCustomAuthConnectBlack":  func() any { return new(blackList) },
		"QueryMqttTraceDevice":         func() any { return new(deviceTrace) },
		"AddCustomAuthConnectBlack":    func() any { return new(result) },
		"CloseConnection":              func() any { return new(result) },
	}
	for name, target := range map[string]string{
		"QuerySessionByClientId":       callOf("QuerySessionByClientId", "ClientId=dev"),
		"BatchQuerySessionByClientIds": callOf("BatchQuerySessionByClientIds", "ClientIdList.1=<&>\"'é", "ClientIdList.2=dev"),
		"QueryCustomAuthConnectBlack":  callOf("QueryCustomAuthConnectBlack", "Size=2"),
		"QueryMqttTraceDevice":         traceOf(),
		"AddCustomAuthConnectBlack":    callOf("AddCustomAuthConnectBlack", "ClientId=dev"),
		"CloseConnection":              callOf("CloseConnection", "ClientId=away"),
	} {
		h := Handler(Config{Sessions: newFakeBroker()})
		fromJSON, fromXML := newBody[name](), newBody[name]()
		if err := json.Unmarshal(call{target: target + "&Format=JSON"}.do(h).Body.Bytes(), fromJSON); err != nil {
			t.Fatal(name, err)
		}
		w := call{target: target + "&Format=xml"}.do(h)
		var root struct{ XMLName xml.Name }
		if err := errors.Join(xml.Unmarshal(w.Body.Bytes(), fromXML), xml.Unmarshal(w.Body.Bytes(), &root)); err != nil {
			t.Fatal(name, err)
		}
		if root.XMLName.Local != name+"Response" {
			t.Errorf("%s: root element %s", name, root.XMLName.Local)
		}
		fromXML.(body).setRequestID("")
		fromJSON.(body).setRequestID("")
		if diff := cmp.Diff(fmt.Sprintf("%+v", fromJSON), fmt.Sprintf("%+v", fromXML)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestFormat(t *testing.T) {
	const get = "/?Action=CloseConnection&Version=2020-04-20&InstanceId=i&ClientId=dev"
	for name, tc := range map[string]struct {
		call call
		xml  bool
	}{
		"none":          {call{target: get}, false},
		"json":          {call{target: get + "&Format=JSON"}, false},
		"other":         {call{target: get + "&Format=YAML"}, false},
		"xml":           {call{target: get + "&Format=XML"}, true},
		"in the form":   {call{method: "POST", target: get, body: "Format=xml", header: map[string]string{"Content-Type": formType}}, true},
		"an error":      {call{target: "/?Action=Nonsense&Version=2020-04-20&Format=xml"}, true},
		"header style":  {call{target: "/?ClientId=dev&Format=XML", header: map[string]string{"Authorization": "ACS3-HMAC-SHA256 x"}}, false},
		"bad escapes":   {call{target: get + "&Format=XML&x=%zz"}, false},
		"accept header": {call{target: get, header: map[string]string{"Accept": "application/xml"}}, false},
	} {
		w := tc.call.do(Handler(Config{Sessions: newFake("dev")}))
		want := "application/json;charset=utf-8"
		if tc.xml {
			want = "application/xml;charset=utf-8"
		}
		if got := w.Header().Get("Content-Type"); got != want || strings.HasPrefix(w.Body.String(), "<?xml") != tc.xml {
			t.Errorf("%s: %s %s", name, got, w.Body)
		}
		if w.Header().Get("Content-Length") != strconv.Itoa(w.Body.Len()) {
			t.Errorf("%s: Content-Length %s of %d", name, w.Header().Get("Content-Length"), w.Body.Len())
		}
	}
}

func TestClientIDsOfARequest(t *testing.T) {
	r, fail := parseRequest(http.MethodGet, "/", "ClientId=a&ClientIdList.1=b&ClientIdList.2=c&ClientIdLis=no&X.ClientId=no", http.Header{}, nil)
	if fail != nil {
		t.Fatal(fail)
	}
	if diff := cmp.Diff([]string{"a", "b", "c"}, slices.Sorted(slices.Values(r.clientIDs()))); diff != "" {
		t.Error(diff)
	}
}

// Whatever the parameters of an operation are: an answer in the API's form, and
// no effect behind an error.
func FuzzOperations(f *testing.F) {
	for _, name := range offered() {
		f.Add(name, "ClientId=a&Size=1&MqttTopic=t&Payload=x")
	}
	f.Add("BatchQuerySessionByClientIds", "ClientIdList.1=a&ClientIdList.x=b&ClientIdList.=&Format=XML")
	f.Add("QueryCustomAuthConnectBlack", "Size=2&NextToken=AAAA")
	f.Add("QueryMqttTraceDevice", "MqttRegionId=x&ClientId=dev&BeginTime=0&EndTime=9223372036853&CurrentPage=2147483647&PageSize=100&Reverse=true")
	f.Fuzz(func(t *testing.T, action, params string) {
		b := newFakeBroker()
		before := b.Blocked()
		c := call{target: "/?" + url.Values{"Action": {action}, "Version": {apiVersion}, "InstanceId": {"i"}}.Encode() + "&" + params}
		w := c.do(Handler(Config{Sessions: b}))
		var err error
		var got struct {
			RequestID string `json:"RequestId" xml:"RequestId"`
			Code      any    `xml:"-"`
		}
		if strings.HasPrefix(w.Header().Get("Content-Type"), "application/xml") {
			err = xml.Unmarshal(w.Body.Bytes(), &got)
		} else {
			err = json.Unmarshal(w.Body.Bytes(), &got)
		}
		if err != nil || got.RequestID == "" {
			t.Fatalf("%d %s: %v", w.Code, w.Body, err)
		}
		if w.Code != 200 && (len(b.sent) > 0 || len(b.fakeSessions.asked) > 0 || !slices.Equal(before, b.Blocked())) {
			t.Fatalf("an effect behind %d %s", w.Code, w.Body)
		}
	})
}
