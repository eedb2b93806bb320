package kernel_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/rebound-mqtt/rebound/harness/kernel"
)

func TestMain(m *testing.M) {
	kernel.Child()
	goleak.VerifyTestMain(m)
}
