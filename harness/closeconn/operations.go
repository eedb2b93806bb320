package closeconn

import (
	"context"
	"slices"

	"github.com/rebound-mqtt/rebound/harness/timeline"
)

// outcome is what a call did: the documented body, and what the response
// headers say beyond it.
type outcome struct {
	body     body
	found    *bool            // whether a connection was closed; nil = the operation closes none
	at       timeline.Instant // just before the close call
	injected string           // the injected fault; "" = none
}

// operation is one row of the API. A row without parse is known to the vendor's
// API and not offered here: it answers ApiNotSupport, and so does one whose
// ability the Sessions lack. A name without a row answers InvalidAction.NotFound.
type operation struct {
	name     string
	required []string                       // parameters, in the order of their checks
	able     func(Sessions) bool            // nil = any Sessions will do
	parse    func(request) (run, *APIError) // checks the parameters, and has no effect
}

// run is a call whose parameters are good.
type run func(ctx context.Context, cfg *Config) (outcome, *APIError)

// has reports whether Sessions have an ability.
func has[Ability any](s Sessions) bool {
	_, ok := s.(Ability)
	return ok
}

// knownOperation reports whether an operation is offered.
func knownOperation(name string) bool { return slices.Contains(offered(), name) }

// offered are the names of the operations that have a run, in the table's order.
func offered() []string {
	var names []string
	for _, op := range operations() {
		if op.parse != nil {
			names = append(names, op.name)
		}
	}
	return names
}

// operations is the table of the API: offer one more by filling in its row.
func operations() []operation {
	return []operation{
		{name: "CloseConnection", required: []string{"InstanceId", "ClientId"}, parse: closeConnection},
		{
			name: "QuerySessionByClientId", required: []string{"InstanceId", "ClientId"},
			able: has[Presence], parse: querySession,
		},
		{
			name: "BatchQuerySessionByClientIds", required: []string{"InstanceId"},
			able: has[Presence], parse: batchQuerySession,
		},
		{
			name: "SendMessage", required: []string{"InstanceId", "MqttTopic", "Payload"},
			able: has[Sender], parse: sendMessage,
		},
		{
			name: "AddCustomAuthConnectBlack", required: []string{"InstanceId", "ClientId"},
			able: has[BlockList], parse: addBlack,
		},
		{
			name: "DeleteCustomAuthConnectBlack", required: []string{"InstanceId", "ClientId"},
			able: has[BlockList], parse: deleteBlack,
		},
		{
			name: "QueryCustomAuthConnectBlack", required: []string{"InstanceId", "Size"},
			able: has[BlockList], parse: queryBlack,
		},
		{
			name:     "QueryMqttTraceDevice",
			required: []string{"MqttRegionId", "InstanceId", "ClientId", "BeginTime", "EndTime", "CurrentPage", "PageSize"},
			able:     has[Tracer], parse: queryTraceDevice,
		},
		{name: "AddCustomAuthIdentity"},
		{name: "DeleteCustomAuthIdentity"},
		{name: "QueryCustomAuthIdentity"},
		{name: "UpdateCustomAuthIdentity"},
		{name: "AddCustomAuthPermission"},
		{name: "DeleteCustomAuthPermission"},
		{name: "QueryCustomAuthPermission"},
		{name: "UpdateCustomAuthPermission"},
		{name: "QueryMqttTraceMessageOfClient"},
		{name: "QueryMqttTraceMessagePublish"},
		{name: "QueryMqttTraceMessageSubscribe"},
		{name: "ApplyToken"},
		{name: "QueryToken"},
		{name: "RevokeToken"},
		{name: "RegisterDeviceCredential"},
		{name: "GetDeviceCredential"},
		{name: "RefreshDeviceCredential"},
		{name: "UnRegisterDeviceCredential"},
		{name: "ListDeviceCredentialClientId"},
		{name: "CreateGroupId"},
		{name: "DeleteGroupId"},
		{name: "ListGroupId"},
		{name: "GetRegisterCode"},
		{name: "SetSniConfig"},
		{name: "RegisterCaCertificate"},
		{name: "GetCaCertificate"},
		{name: "ListCaCertificate"},
		{name: "ActiveCaCertificate"},
		{name: "InactivateCaCertificate"},
		{name: "DeleteCaCertificate"},
		{name: "GetDeviceCertificate"},
		{name: "ListDeviceCertificate"},
		{name: "ListDeviceCertificateByCaSn"},
		{name: "ActiveDeviceCertificate"},
		{name: "InactivateDeviceCertificate"},
		{name: "DeleteDeviceCertificate"},
		{name: "ListInstances"},
		{name: "ListTagResources"},
		{name: "TagResources"},
		{name: "UntagResources"},
		{name: "DisasterRecovery"},
		{name: "DisasterDowngrade"},
	}
}
