package ledger

import "strings"

// wild reports whether the filter has a wildcard, so that an index by topic
// can not answer it.
func wild(filter string) bool { return strings.ContainsAny(filter, "+#") }
