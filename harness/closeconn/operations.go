package closeconn

import (
	"context"

	"github.com/rebound-mqtt/rebound/harness/timeline"
)

// outcome is what an operation did, beyond the documented body.
type outcome struct {
	closed bool
	at     timeline.Instant
}

// operation is one row of the API. A row without run is known to the vendor's
// API and not offered here: it answers ApiNotSupport, and a name without a row
// answers InvalidAction.NotFound.
type operation struct {
	name     string
	required []string // parameters, in the order of their checks
	run      func(ctx context.Context, cfg *Config, r request) (outcome, *APIError)
}

// operations is the table of the API: offer one more by filling in its row.
func operations() []operation {
	return []operation{
		{name: "CloseConnection", required: []string{"InstanceId", "ClientId"}, run: closeConnection},
		{name: "QuerySessionByClientId"},
		{name: "BatchQuerySessionByClientIds"},
		{name: "SendMessage"},
		{name: "AddCustomAuthConnectBlack"},
		{name: "DeleteCustomAuthConnectBlack"},
		{name: "QueryCustomAuthConnectBlack"},
		{name: "AddCustomAuthIdentity"},
		{name: "DeleteCustomAuthIdentity"},
		{name: "QueryCustomAuthIdentity"},
		{name: "UpdateCustomAuthIdentity"},
		{name: "AddCustomAuthPermission"},
		{name: "DeleteCustomAuthPermission"},
		{name: "QueryCustomAuthPermission"},
		{name: "UpdateCustomAuthPermission"},
		{name: "QueryMqttTraceDevice"},
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

// closeConnection closes the connection of one client and returns when it is
// closed. Its session is not touched.
func closeConnection(ctx context.Context, cfg *Config, r request) (outcome, *APIError) {
	found, at, err := cfg.Sessions.CloseClient(ctx, r.params.Get("ClientId"))
	if err != nil {
		cfg.Log.Warn("CloseConnection failed", "error", err)
		return outcome{}, errInternal()
	}
	if !found && cfg.OfflineError {
		// The documented list has no code for it; this is the nearest one.
		return outcome{}, errParameter("ClientId")
	}
	return outcome{closed: found, at: at}, nil
}
