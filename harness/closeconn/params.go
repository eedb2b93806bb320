package closeconn

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// number reads a parameter that is a whole number within bounds.
func number(params url.Values, name string, low, high int64) (int64, *APIError) {
	n, err := strconv.ParseInt(params.Get(name), 10, 64)
	if err != nil || n < low || n > high {
		return 0, errParameter(name)
	}
	return n, nil
}

// boolean reads a parameter that is true or false, as the SDKs of all languages
// write it; without it, false.
func boolean(params url.Values, name string) (bool, *APIError) {
	switch strings.ToLower(params.Get(name)) {
	case "", "false":
		return false, nil
	case "true":
		return true, nil
	}
	return false, errParameter(name)
}

// list reads NAME.1, NAME.2, …, the form that the SDKs give a list: up to most
// values, none of them empty. Numbers may be left out.
func list(params url.Values, name string, most int) ([]string, *APIError) {
	values := make([]string, most+1)
	found := false
	for key := range params {
		suffix, ours := strings.CutPrefix(key, name+".")
		if !ours {
			continue
		}
		n, err := strconv.Atoi(suffix)
		if err != nil || n < 1 || n > most || strconv.Itoa(n) != suffix || params.Get(key) == "" {
			return nil, errParameter(name)
		}
		values[n], found = params.Get(key), true
	}
	if !found {
		return nil, errMissing(name)
	}
	out := values[:0]
	for _, value := range values {
		if value != "" {
			out = append(out, value)
		}
	}
	return out, nil
}

// clientIDs are the clients that a request names, in any operation: what its
// key must be allowed to touch, and what rules match on. An empty one names
// nobody.
func (r request) clientIDs() []string {
	var ids []string
	for name, values := range r.params {
		if name == "ClientId" || strings.HasPrefix(name, "ClientIdList.") {
			ids = append(ids, values...)
		}
	}
	return slices.DeleteFunc(ids, func(id string) bool { return id == "" })
}
