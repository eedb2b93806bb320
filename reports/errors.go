package reports

import "errors"

// What can be wrong with a report, for errors.Is.
var (
	ErrTooLarge  = errors.New("report is too large")
	ErrNotReport = errors.New("not a rebound report")
	ErrVersion   = errors.New("report of a newer schema")
	ErrNoRows    = errors.New("report carries no rows") // read from report.json, which leaves them out
	ErrFormat    = errors.New("no such format")
	ErrTag       = errors.New("bad histogram tag")       // not [A-Za-z0-9_.-]+
	ErrHistogram = errors.New("bad histogram in report") // undecodable, or its count is not the one stated
)
