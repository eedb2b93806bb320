package fleet

import "testing"

func TestFleetsPublishAcrossKicks(t *testing.T) { fleetsPublish(t, true) }
