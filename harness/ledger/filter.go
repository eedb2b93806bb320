package ledger

import "strings"

// wild reports whether the filter has a wildcard, so that an index by topic
// can not answer it.
func wild(filter string) bool { return strings.ContainsAny(filter, "+#") }

// shared splits $share/{group}/{filter} (5.0 section 4.8.2; on 3.1.1 an
// extension that many brokers have) and gives the filter behind it.
func shared(filter string) (inner string, ok bool) {
	rest, ok := strings.CutPrefix(filter, "$share/")
	if !ok {
		return "", false
	}
	name, inner, ok := strings.Cut(rest, "/")
	if !ok || name == "" || inner == "" || wild(name) {
		return "", false
	}
	return inner, true
}
