package compat

import (
	"errors"
	"slices"
	"testing"

	"github.com/aliyun/alibaba-cloud-sdk-go/sdk"
	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/auth/credentials"
	sdkerrors "github.com/aliyun/alibaba-cloud-sdk-go/sdk/errors"
	"github.com/aliyun/alibaba-cloud-sdk-go/services/onsmqtt"

	mqtt "github.com/eclipse/paho.mqtt.golang"
)

// TestGenerated uses the one generated client of this service that can be
// fetched, of the older Go SDK. It has no CloseConnection. It reads JSON, and
// XML where its user asks for that.
func TestGenerated(t *testing.T) {
	s := startBroker(t, keyFlags(t)...)
	client, err := onsmqtt.NewClientWithOptions("cn-shanghai", sdk.NewConfig(), credentials.NewAccessKeyCredential(limited.ID, limited.Secret))
	if err != nil {
		t.Fatal(err)
	}
	client.SetTransport(newWire(call{}))
	for _, format := range []string{"JSON", "XML"} {
		g := generated{s, client, format}
		t.Run(format+"/QuerySessionByClientId", g.query)
		t.Run(format+"/BatchQuerySessionByClientIds", g.batch)
		t.Run(format+"/SendMessage", g.send)
		t.Run(format+"/ApplyToken", g.notOffered)
	}
}

type generated struct {
	served
	client *onsmqtt.Client
	format string
}

func (g generated) query(t *testing.T) {
	d := connect(t, g.served, group+"generated 1*~é")
	for id, online := range map[string]bool{d.id: true, group + "nobody": false} {
		request := onsmqtt.CreateQuerySessionByClientIdRequest()
		request.Scheme, request.Domain, request.AcceptFormat = "http", g.endpoint, g.format
		request.InstanceId, request.ClientId = instance, id
		response, err := g.client.QuerySessionByClientId(request)
		if err != nil {
			t.Fatal(err)
		}
		if response.OnlineStatus != online || !requestID.MatchString(response.RequestId) {
			t.Errorf("%q: %+v, want %v", id, response, online)
		}
	}
}

func (g generated) batch(t *testing.T) {
	d := connect(t, g.served, group+"generated 1*~é")
	want := []onsmqtt.OnlineStatusListItem{{ClientId: group + "nobody"}, {ClientId: d.id, OnlineStatus: true}}
	request := onsmqtt.CreateBatchQuerySessionByClientIdsRequest()
	request.Scheme, request.Domain, request.AcceptFormat = "http", g.endpoint, g.format
	request.InstanceId, request.ClientIdList = instance, &[]string{group + "nobody", d.id}
	response, err := g.client.BatchQuerySessionByClientIds(request)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(response.OnlineStatusList, want) || !requestID.MatchString(response.RequestId) {
		t.Errorf("%+v, want %+v", response, want)
	}
}

func (g generated) send(t *testing.T) {
	d := connect(t, g.served, group+"generated 1*~é")
	const payload = "<hello & + ✓>"
	topic, received := "to/generated/"+g.format, make(chan mqtt.Message, 8)
	d.subscribe(t, topic, received)
	request := onsmqtt.CreateSendMessageRequest()
	request.Scheme, request.Domain, request.AcceptFormat = "http", g.endpoint, g.format
	request.InstanceId, request.MqttTopic, request.Payload = instance, topic, payload
	response, err := g.client.SendMessage(request)
	if err != nil {
		t.Fatal(err)
	}
	if response.MsgId == "" || !requestID.MatchString(response.RequestId) {
		t.Errorf("%+v", response)
	}
	if m := await(t, received, "the message"); m.Topic() != topic || string(m.Payload()) != payload {
		t.Errorf("%q: %q", m.Topic(), m.Payload())
	}
}

func (g generated) notOffered(t *testing.T) {
	request := onsmqtt.CreateApplyTokenRequest()
	request.Scheme, request.Domain, request.AcceptFormat = "http", g.endpoint, g.format
	request.InstanceId = instance
	_, err := g.client.ApplyToken(request)
	var server *sdkerrors.ServerError
	if !errors.As(err, &server) || server.HttpStatus() != 404 {
		t.Fatalf("%v", err)
	}
	code := "ApiNotSupport"
	if g.format == "XML" {
		code = "" // it reads errors as JSON only
	}
	if server.ErrorCode() != code {
		t.Errorf("%+v", server)
	}
}
