package harness

import (
	"context"
	"os"

	"github.com/rebound-mqtt/rebound/harness/broker"
	"github.com/rebound-mqtt/rebound/harness/closeconn"
	"github.com/rebound-mqtt/rebound/harness/kernel"
)

// ChildMain makes a re-executed program a broker child: the embedded broker
// with its CloseConnection endpoint, until the control pipe ends; then the
// process exits. In a network namespace that a run made for itself it brings
// the loopback up. In any other process it returns at once. Call it first in main
// and in TestMain, or the target "child" can not start.
func ChildMain() {
	kernel.Child() // in a network namespace of a run
	if !broker.IsChild() {
		return
	}
	os.Exit(broker.RunChild(func(ctx context.Context, b *broker.Embedded, addr string, key *broker.EndpointKey) (string, func() error, error) {
		var cfg closeconn.Config
		if key != nil {
			var err error
			if cfg.Keys, err = keysOf(&Credentials{KeyID: key.ID, Secret: key.Secret}); err != nil {
				return "", nil, err
			}
		}
		return mountEndpoint(ctx, b, addr, cfg)
	}))
}
