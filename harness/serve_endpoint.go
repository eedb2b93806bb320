package harness

import (
	"errors"
	"os"

	"github.com/rebound-mqtt/rebound/harness/broker"
	"github.com/rebound-mqtt/rebound/harness/closeconn"
)

// endpoint is the part of the CloseConnection API.
func (o ServeOptions) endpoint(mqtt broker.Options) (closeconn.Config, error) {
	cfg := closeconn.Config{
		InstanceIDs: o.Instances, Throttle: o.Throttle, OfflineError: o.OfflineError, Log: o.Log,
	}
	if o.EndpointTLS {
		cfg.TLS = mqtt.TLS
	}
	var err error
	if cfg.Keys, err = o.keys(); err != nil {
		return cfg, err
	}
	if o.RulesFile != "" {
		cfg.Rules, err = closeconn.LoadRules(o.RulesFile)
	}
	return cfg, err
}

// keys are those of the file, else of the environment, or none where signatures
// are not looked at.
func (o ServeOptions) keys() (*closeconn.Keys, error) {
	if o.Auth == AuthOff {
		if o.KeysFile != "" {
			return nil, errors.New("--auth off looks at no keys: leave out --keys")
		}
		return nil, nil
	}
	if o.KeysFile != "" {
		return closeconn.LoadKeys(o.KeysFile, o.Log)
	}
	keys, err := closeconn.KeysFromEnv(os.LookupEnv)
	if err == nil && keys == nil && o.Auth == AuthVerify {
		err = errors.New("--auth verify needs keys: give --keys FILE, or REBOUND_ACCESS_KEY_ID and REBOUND_ACCESS_KEY_SECRET in the environment")
	}
	return keys, err
}
