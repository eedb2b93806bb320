package ledger

import (
	"compress/gzip"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rebound-mqtt/rebound/reports"
)

// A file that was written before exchanges were followed reads and is judged
// as it was: nothing of it says that a message was answered or completed.
func TestFileOfBefore(t *testing.T) {
	f, err := os.Open("testdata/before-exchanges.jsonl.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	zip, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	records, err := ReadAccounts(zip)
	if err != nil {
		t.Fatal(err)
	}
	a := Close(records, Situation{Drained: true})
	wants(t, a)
	want := [3]reports.Messages{
		{QoS: 0, Streams: 12, Scheduled: 31, Attempted: 31, Expected: 31, Delivered: 31},
		{QoS: 1, Streams: 12, Scheduled: 13, Attempted: 13, Acknowledged: 13, Expected: 13, Delivered: 13},
		{QoS: 2},
	}
	if diff := cmp.Diff(want, a.QoS); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// The verdicts of before stay, and those that need exchanges stay away, though
// message 6 was never acknowledged, and the handler called for none.
func TestRecordsOfBefore(t *testing.T) {
	records, err := ReadAccounts(strings.NewReader(
		`{"stream":{"id":1,"publisher":"p","topic":"t","qos":1,"scheduled":6,"missed":0,"refused":0,"queued":0,"attempted":"1-6","acked":"1-5","resent":"4","sentinel_sent":80,"sentinel_acked":90,"open":[{"seq":2,"intended":1,"sent":1},{"seq":6,"intended":1,"sent":1}]}}
{"delivery":{"stream":1,"client":"s","epoch":1,"began":1,"granted":1,"filters":1,"from":1,"to":6,"delivered":"1,3-5","extra":[{"seq":3,"copies":2,"at":7},{"seq":4,"copies":2,"at":8},{"seq":5,"copies":2,"dup":true,"at":9}],"sentinel":95}}
{"closing":{"records":2}}
`))
	if err != nil {
		t.Fatal(err)
	}
	a := Close(records, Situation{Drained: true})
	want := []string{
		"lost s 2: broker, ", "duplicated s 3: legal, unprovoked", "duplicated s 4: legal, publisher-resend", "duplicated s 5: legal, redelivery",
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, charged(a)); diff != "" || !a.Balanced() {
		t.Errorf("-want +got:\n%s %+v", diff, a)
	}
}
