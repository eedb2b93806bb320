package compat

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"regexp"
	"strings"
	"testing"
)

// refusal is one way to fail.
type refusal struct {
	name   string
	key    key
	action string
	params map[string]any
	status int
	code   string
	text   string // in the message
}

// refusals are the kinds of errors; each names a device that is online where
// it names one of limited's.
func refusals() []refusal {
	const (
		instanceText = "An error occurred while validating the permissions of the instance. Please verify the account that created the instance and its permissions settings."
		clientText   = "An error occurred while validating the resource permissions. Please check the account that created the instance, topic, and GroupId, and check their permission settings."
		internalText = "An error occurred while processing your request. Try again later."
	)
	client := func(id string) map[string]any { return map[string]any{"ClientId": id} }
	return []refusal{
		{"unknown key", unknown, "CloseConnection", client(group + "dev"), 404, "InvalidAccessKeyId.NotFound", "Specified access key is not found."},
		{"inactive key", disabled, "CloseConnection", client(group + "dev"), 400, "InvalidAccessKeyId.Inactive", "Specified access key is disabled."},
		{"wrong secret", wrong, "CloseConnection", client(group + "dev"), 400, "SignatureDoesNotMatch", "Specified signature "},
		{"action not allowed", closer, "SendMessage", map[string]any{"MqttTopic": "t", "Payload": "p"}, 403, "NoPermission", "mq:SendMessage"},
		{"instance not allowed", limited, "CloseConnection", map[string]any{"ClientId": group + "dev", "InstanceId": otherInstance}, 400, "InstancePermissionCheckFailed", instanceText},
		{"no such instance", closer, "CloseConnection", map[string]any{"ClientId": group + "dev", "InstanceId": "post-cn-none"}, 400, "InstancePermissionCheckFailed", instanceText},
		{"client not allowed", limited, "CloseConnection", client("GID_other@@@dev"), 400, "PermissionCheckFailed", clientText},
		{"operation not offered", limited, "ListInstances", map[string]any{}, 404, "ApiNotSupport", "The specified API is not supported."},
		{"operation unknown", limited, "OpenConnection", map[string]any{}, 404, "InvalidAction.NotFound", "Specified api is not found, please check your url and method."},
		{"no ClientId", limited, "CloseConnection", map[string]any{}, 400, "MissingClientId", "ClientId is mandatory for this action."},
		{"no Payload", limited, "SendMessage", map[string]any{"MqttTopic": "t"}, 400, "MissingPayload", "Payload is mandatory for this action."},
		{"bad topic", limited, "SendMessage", map[string]any{"MqttTopic": "t/#", "Payload": "p"}, 400, "InvalidParameter.MqttTopic", "validating the parameter"},
		{"injected Throttling.User", limited, "CloseConnection", client(group + "throttled"), 400, "Throttling.User", "Request was denied due to user flow control."},
		{"injected InternalError", limited, "CloseConnection", client(group + "broken"), 500, "InternalError", internalText},
		{"injected SystemOverFlow", limited, "QuerySessionByClientId", client(group + "flooded"), 500, "SystemOverFlow", "An error occurred while processing your request. Please try again."},
	}
}

const injected = `rules:
  - {client_prefix: "` + group + `throttled", code: Throttling.User}
  - {client_prefix: "` + group + `broken", code: InternalError}
  - {client_prefix: "` + group + `flooded", code: SystemOverFlow}
`

// TestErrors reads each kind of error by each client, in the client's own type
// of error, and sees that nothing happened.
func TestErrors(t *testing.T) {
	s := startBroker(t, append(keyFlags(t), "--inject", writeFile(t, "rules.yaml", injected))...)
	var devices []*device
	for _, id := range []string{group + "dev", "GID_other@@@dev", group + "throttled", group + "broken"} {
		devices = append(devices, connect(t, s, id))
	}
	seen := map[string]bool{} // request ids
	forEachClient(t, func(t *testing.T, v vendorClient) {
		for _, r := range refusals() {
			t.Run(r.name, func(t *testing.T) {
				f := v.fail(t, tester{t, s, v, r.key}.call(r.action, r.params))
				if f.Code != r.code || f.Status != r.status || f.Type != v.errorType(r.code) || !strings.Contains(f.Message, r.text) {
					t.Errorf("%+v, want %d %s as a %s: %s", f, r.status, r.code, v.errorType(r.code), r.text)
				}
				if !requestID.MatchString(f.RequestID) || seen[f.RequestID] {
					t.Errorf("request id %q", f.RequestID)
				}
				seen[f.RequestID] = true
				if r.code == "SignatureDoesNotMatch" {
					checkEcho(t, v, f, r.key.Secret)
				}
				for _, d := range devices {
					d.untouched(t)
				}
			})
		}
	})
}

var (
	rpcEcho  = regexp.MustCompile(`server string to sign is:((?:GET|POST)&%2F&AccessKeyId%3D[A-Za-z0-9%._~-]+%26Version%3D2020-04-20)`)
	acs3Echo = regexp.MustCompile(`server StringToSign is \[(ACS3-HMAC-SHA256\n[0-9a-f]{64})\]`)
)

// checkEcho sees that the string to sign in the message is the client's own:
// by it a client tells a wrong secret from a wrong string. Signed with the
// client's secret it gives the signature that the client had sent.
func checkEcho(t *testing.T, v vendorClient, f failure, secret string) {
	t.Helper()
	echo := rpcEcho
	if v.acs3 {
		echo = acs3Echo
	}
	m := echo.FindStringSubmatch(f.Message)
	if m == nil {
		t.Fatalf("no string to sign in %q", f.Message)
	}
	if v.shows != (f.Signature != "") {
		t.Fatalf("the client's signature is %q, it shows one: %v", f.Signature, v.shows)
	}
	if v.shows && sign(v.acs3, m[1], secret) != f.Signature {
		t.Errorf("the endpoint's string to sign is not what the client signed: %q", m[1])
	}
	if !v.acs3 && !strings.HasPrefix(m[1], v.method+"&") {
		t.Errorf("%q of a %s", m[1], v.method)
	}
	if strings.HasPrefix(v.name, "alibaba-cloud-sdk-go") && !strings.HasPrefix(f.Advice, "InvalidAccessKeySecret: ") {
		t.Errorf("the client makes of it: %q", f.Advice)
	}
}

func sign(acs3 bool, text, secret string) string {
	if acs3 {
		mac := hmac.New(sha256.New, []byte(secret))
		mac.Write([]byte(text))
		return hex.EncodeToString(mac.Sum(nil))
	}
	mac := hmac.New(sha1.New, []byte(secret+"&"))
	mac.Write([]byte(text))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// TestThrottle meets the real limit: one call in a hundred seconds.
func TestThrottle(t *testing.T) {
	s := startBroker(t, append(keyFlags(t), "--throttle", "0.01")...)
	used := false
	forEachClient(t, func(t *testing.T, v vendorClient) {
		d := connect(t, s, group+"throttle "+v.name)
		c := tester{t, s, v, limited}
		if !used {
			c.closeConnection(d.id)
			d.closedAndBack(t)
			used = true
		}
		f := v.fail(t, c.call("CloseConnection", map[string]any{"ClientId": d.id}))
		if f.Code != "Throttling.User" || f.Status != 400 || f.Type != v.errorType(f.Code) || !requestID.MatchString(f.RequestID) {
			t.Errorf("%+v", f)
		}
		d.untouched(t)
	})
}
