package harness

import (
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	"os"
	"strconv"

	"github.com/rebound-mqtt/rebound/harness/broker"
	"github.com/rebound-mqtt/rebound/harness/closeconn"
	"github.com/rebound-mqtt/rebound/harness/closeconn/acs"
)

// ErrDenied says that the CloseConnection endpoint refuses the calls of a run,
// whatever the client: the signature, the key, its
// permissions, or the instance.
var ErrDenied = errors.New("the CloseConnection endpoint refuses")

// ErrNoEndpoint says that nothing of the CloseConnection API answered
// CloseClients.
var ErrNoEndpoint = errors.New("no CloseConnection endpoint answered")

// ErrNotClosed says that calls of CloseClients failed; they told of it.
var ErrNotClosed = errors.New("not every call was answered with success")

// The environment's access key of a real service, under the vendor's own
// names. It has no flag: others can read a command line.
const (
	EnvKeyID         = "ALIBABA_CLOUD_ACCESS_KEY_ID"
	EnvKeySecret     = "ALIBABA_CLOUD_ACCESS_KEY_SECRET"
	EnvSecurityToken = "ALIBABA_CLOUD_SECURITY_TOKEN"
)

// Credentials are an access key; printed, they are its id.
type Credentials = acs.Credentials

// CredentialsFromEnv are the environment's; empty = it has none.
func CredentialsFromEnv() Credentials {
	return Credentials{KeyID: os.Getenv(EnvKeyID), Secret: os.Getenv(EnvKeySecret), SecurityToken: os.Getenv(EnvSecurityToken)}
}

// CloseOptions says how the CloseConnection API is called.
type CloseOptions struct {
	Scheme      string      // none | rpc | acs3; "" = acs3 where credentials meet an endpoint that is not ours, else none
	Instance    string      // InstanceId; "" = mqtt-rebound
	Rate        float64     // calls per second; 0 = 50 at an endpoint off loopback, else as fast as asked; negative = that, too
	Credentials Credentials // for an endpoint that is not ours; embedded, pipe and child get a random key
}

// For fills in the defaults for a target and who closes its connections there,
// at which endpoint; it may be called twice. A usage error says what does not go
// together.
func (o CloseOptions) For(target, kick, endpoint string) (CloseOptions, error) {
	if math.IsNaN(o.Rate) || o.Rate > maxRate {
		return o, Usage(fmt.Errorf("--close-rate: want at most %d calls a second, or 0 for no pace", maxRate))
	}
	if ownSide(target, kick, endpoint) {
		if o.Scheme != "" || o.Instance != "" || o.Rate != 0 {
			return o, Usage(errors.New("--close-scheme, --close-instance and --close-rate are for the CloseConnection API, and here rebound ends connections from its own side"))
		}
		return o, nil
	}
	if ownEndpoint(target) {
		return o.signed(acs.None, 0)
	}
	return o.foreign(endpoint)
}

// ownSide reports whether a target's connections are closed from this side: a
// foreign broker that the run starts has no endpoint of the API unless the user
// names one.
func ownSide(target, kick, endpoint string) bool {
	return kick == CloserFIN || broker.IsCommand(target) && endpoint == ""
}

// maxRate is far above what any endpoint answers.
const maxRate = 1_000_000

// foreign is For of an endpoint that is not ours.
func (o CloseOptions) foreign(endpoint string) (CloseOptions, error) {
	// A real service blocks who calls too often. On loopback there is none, and a
	// pace would stretch the storm that is to be measured.
	rate := float64(closeconn.DefaultRate)
	if closeconn.OnLoopback(endpoint) {
		rate = 0
	}
	byDefault := acs.None
	if o.Credentials.KeyID != "" || o.Credentials.Secret != "" {
		byDefault = acs.ACS3
	}
	o, err := o.signed(byDefault, rate)
	if err == nil && o.Scheme != string(acs.None) && (o.Credentials.KeyID == "" || o.Credentials.Secret == "") {
		err = Usage(fmt.Errorf("scheme %s needs an access key: set %s and %s", o.Scheme, EnvKeyID, EnvKeySecret))
	}
	return o, err
}

// signed fills in scheme and rate.
func (o CloseOptions) signed(scheme acs.Scheme, rate float64) (CloseOptions, error) {
	o.Scheme = cmp.Or(o.Scheme, string(scheme))
	o.Rate = cmp.Or(o.Rate, rate)
	switch acs.Scheme(o.Scheme) {
	case acs.None, acs.RPC, acs.ACS3:
		return o, nil
	}
	return o, Usage(fmt.Errorf("scheme %q: want %s, %s or %s", o.Scheme, acs.None, acs.RPC, acs.ACS3))
}

// Signed reports whether calls are signed, after For.
func (o CloseOptions) Signed() bool { return o.Scheme != "" && o.Scheme != string(acs.None) }

// client is the configuration of the API's client, after For.
func (o CloseOptions) client(endpoint string) closeconn.ClientConfig {
	return closeconn.ClientConfig{
		Endpoint: endpoint, InstanceID: o.Instance, Scheme: acs.Scheme(o.Scheme), Credentials: o.Credentials, Rate: max(0, o.Rate),
	}
}

// settings is what of it is not the default of an endpoint of ours, for the
// report.
func (o CloseOptions) settings() map[string]string {
	m := map[string]string{}
	if o.Signed() {
		m["close_scheme"] = o.Scheme
	}
	if o.Instance != "" {
		m["close_instance"] = o.Instance
	}
	if o.Rate > 0 {
		m["close_rate"] = strconv.FormatFloat(o.Rate, 'g', -1, 64) + "/s"
	}
	return m
}

// randomKey is an access key that ends with the run.
func randomKey() Credentials {
	return Credentials{KeyID: "rebound-" + rand.Text()[:8], Secret: rand.Text()}
}
