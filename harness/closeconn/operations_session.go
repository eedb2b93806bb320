package closeconn

import "context"

// maxBatch is how many clients one BatchQuerySessionByClientIds may name.
const maxBatch = 10

// onlineStatus is the documented body of QuerySessionByClientId.
type onlineStatus struct {
	bodyHead
	OnlineStatus bool
}

// onlineStatusList is the documented body of BatchQuerySessionByClientIds.
type onlineStatusList struct {
	bodyHead
	OnlineStatusList []clientStatus
}

type clientStatus struct {
	ClientID     string `json:"ClientId" xml:"ClientId"`
	OnlineStatus bool
}

// querySession tells whether one client is online.
func querySession(r request) (run, *APIError) {
	clientID := r.params.Get("ClientId")
	return func(_ context.Context, cfg *Config) (outcome, *APIError) {
		return outcome{body: &onlineStatus{OnlineStatus: cfg.Sessions.(Presence).Online(clientID)}}, nil
	}, nil
}

// batchQuerySession tells it of up to ten, in the order of the request. The
// service answers from a cache that may lag; this broker knows.
func batchQuerySession(r request) (run, *APIError) {
	ids, fail := list(r.params, "ClientIdList", maxBatch)
	if fail != nil {
		return nil, fail
	}
	return func(_ context.Context, cfg *Config) (outcome, *APIError) {
		answer := &onlineStatusList{}
		for _, id := range ids {
			status := clientStatus{ClientID: id, OnlineStatus: cfg.Sessions.(Presence).Online(id)}
			answer.OnlineStatusList = append(answer.OnlineStatusList, status)
		}
		return outcome{body: answer}, nil
	}, nil
}
