package closeconn

import (
	"context"
	"encoding/base64"
	"slices"
)

// maxBlackPage is how many entries one QueryCustomAuthConnectBlack may ask for.
const maxBlackPage = 100

// blackList is the documented body of QueryCustomAuthConnectBlack.
type blackList struct {
	result
	Data blackPage
}

type blackPage struct {
	Results   []blackEntry
	NextToken string // of the next page; "" = this is the last
}

// blackEntry says what a client may not do; here it is always to connect.
type blackEntry struct {
	ClientID     string `json:"ClientId" xml:"ClientId"`
	Effect       string
	PermitAction string
}

// addBlack refuses a client from its next CONNECT on. As far as the service
// documents it, that closes no connection: to kick and refuse, add the client
// and then call CloseConnection. (The other way round it may be back between
// the two.)
func addBlack(r request) (run, *APIError) {
	clientID := r.params.Get("ClientId")
	return func(_ context.Context, cfg *Config) (outcome, *APIError) {
		if err := cfg.Sessions.(BlockList).Block(clientID); err != nil {
			cfg.Log.Warn("AddCustomAuthConnectBlack failed", "error", err)
			return outcome{}, coded("Customauth.over.capacity")
		}
		return outcome{body: done()}, nil
	}, nil
}

// deleteBlack lets a client in again; one that was not on the list is no error.
func deleteBlack(r request) (run, *APIError) {
	clientID := r.params.Get("ClientId")
	return func(_ context.Context, cfg *Config) (outcome, *APIError) {
		cfg.Sessions.(BlockList).Unblock(clientID)
		return outcome{body: done()}, nil
	}, nil
}

// queryBlack lists the blocked clients by page, or says whether one is among
// them. The token of a page is the last client before it, so that a list which
// changes meanwhile repeats and skips nobody who stays on it.
func queryBlack(r request) (run, *APIError) {
	size, fail := number(r.params, "Size", 1, maxBlackPage)
	if fail != nil {
		return nil, fail
	}
	after, err := base64.StdEncoding.DecodeString(r.params.Get("NextToken"))
	if err != nil {
		return nil, errParameter("NextToken")
	}
	only := r.params.Get("ClientId")
	return func(_ context.Context, cfg *Config) (outcome, *APIError) {
		ids := cfg.Sessions.(BlockList).Blocked()
		ids = slices.DeleteFunc(ids, func(id string) bool { return only != "" && id != only || !r.key.mayName(id) })
		from, found := slices.BinarySearch(ids, string(after))
		if found {
			from++
		}
		return outcome{body: newBlackList(ids[from:], int(size))}, nil
	}, nil
}

// newBlackList makes the page of the first clients of a list.
func newBlackList(ids []string, size int) *blackList {
	answer := &blackList{result: *done(), Data: blackPage{Results: []blackEntry{}}}
	for _, id := range ids[:min(size, len(ids))] {
		answer.Data.Results = append(answer.Data.Results, blackEntry{ClientID: id, Effect: "DENY", PermitAction: "CONNECT"})
	}
	if len(ids) > size {
		answer.Data.NextToken = base64.StdEncoding.EncodeToString([]byte(ids[size-1]))
	}
	return answer
}
