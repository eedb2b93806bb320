package closeconn

import (
	"context"
	"math"
	"slices"
	"time"

	"github.com/rebound-mqtt/rebound/harness/target"
)

const (
	maxTracePage = 100                         // the documented limit of PageSize
	maxMillis    = math.MaxInt64/1_000_000 - 1 // Unix time in ms whose ns fit in an int64, that is until 2262
)

// deviceTrace is the documented body of QueryMqttTraceDevice.
type deviceTrace struct {
	bodyHead
	Total          int
	CurrentPage    int64
	PageSize       int64
	DeviceInfoList []deviceInfo
}

type deviceInfo struct {
	Time       string
	Action     string // connect, close, disconnect
	ActionCode string
	ActionInfo string
	ChannelID  string `json:"ChannelId" xml:"ChannelId"` // of the connection
}

// traceZone is the zone of the trace's times, which do not name it: in the
// vendor's example 15:51 lies between the Unix times of 07:00 and 08:00 UTC.
var traceZone = time.FixedZone("", 8*60*60)

// queryTraceDevice tells the connects and ends of one client by page. Pages
// count from 1; one past the last is empty.
func queryTraceDevice(r request) (run, *APIError) {
	var n struct{ begin, end, page, size int64 }
	for _, p := range []struct {
		name      string
		low, high int64
		value     *int64
	}{
		{"BeginTime", 0, maxMillis, &n.begin},
		{"EndTime", 0, maxMillis, &n.end},
		{"CurrentPage", 1, math.MaxInt32, &n.page},
		{"PageSize", 1, maxTracePage, &n.size},
	} {
		value, fail := number(r.params, p.name, p.low, p.high)
		if fail != nil {
			return nil, fail
		}
		*p.value = value
	}
	if n.end < n.begin {
		return nil, errParameter("EndTime")
	}
	reverse, fail := boolean(r.params, "Reverse")
	if fail != nil {
		return nil, fail
	}
	clientID := r.params.Get("ClientId")
	return func(_ context.Context, cfg *Config) (outcome, *APIError) {
		// The end is a whole millisecond, and in the range.
		from, to := time.UnixMilli(n.begin), time.UnixMilli(n.end+1).Add(-1)
		events := cfg.Sessions.(Tracer).Trace(clientID, from, to)
		if reverse {
			slices.Reverse(events)
		}
		answer := &deviceTrace{Total: len(events), CurrentPage: n.page, PageSize: n.size, DeviceInfoList: []deviceInfo{}}
		first := min((n.page-1)*n.size, int64(len(events)))
		for _, event := range events[first:min(first+n.size, int64(len(events)))] {
			answer.DeviceInfoList = append(answer.DeviceInfoList, newDeviceInfo(event))
		}
		return outcome{body: answer}, nil
	}, nil
}

func newDeviceInfo(e target.DeviceEvent) deviceInfo {
	return deviceInfo{
		Time:       e.At.In(traceZone).Format("2006-01-02 15:04:05.000"),
		Action:     e.Kind,
		ActionCode: "mqtt.trace.action." + e.Kind,
		ActionInfo: e.Reason,
		ChannelID:  e.Connection,
	}
}
