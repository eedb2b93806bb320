package closeconn

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"unicode/utf8"
)

const (
	// maxPayload is the service's documented limit of a message, in bytes.
	maxPayload = 64 << 10
	// maxTopic is MQTT's [MQTT-1.5.3]. The service allows 64 characters, fewer
	// than the topics that a fleet may have here.
	maxTopic = 65535
)

// sent is the documented body of SendMessage.
type sent struct {
	bodyHead
	MsgID string `json:"MsgId" xml:"MsgId"`
}

// sendMessage publishes one message with QoS 1 and answers when the broker has
// it.
func sendMessage(r request) (run, *APIError) {
	topic, payload := r.params.Get("MqttTopic"), r.params.Get("Payload")
	switch {
	case !isTopicName(topic):
		return nil, errParameter("MqttTopic")
	case len(payload) > maxPayload:
		return nil, errParameter("Payload")
	}
	return func(ctx context.Context, cfg *Config) (outcome, *APIError) {
		if err := cfg.Sessions.(Sender).Send(ctx, topic, []byte(payload)); err != nil {
			cfg.Log.Warn("SendMessage failed", "error", err)
			return outcome{}, errInternal()
		}
		return outcome{body: &sent{MsgID: newMessageID()}}, nil
	}, nil
}

// isTopicName reports whether a message can be published to a topic: no
// wildcards [MQTT-3.3.2-2], no NUL and good UTF-8 [MQTT-1.5.3-1], and none of
// the names that a broker keeps for itself [MQTT-4.7.2-1].
func isTopicName(topic string) bool {
	return topic != "" && len(topic) <= maxTopic && utf8.ValidString(topic) &&
		!strings.ContainsAny(topic, "+#\x00") && topic[0] != '$'
}

// newMessageID makes an id as the service's look: 32 hexadecimal digits in
// upper case.
func newMessageID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return fmt.Sprintf("%X", b)
}
