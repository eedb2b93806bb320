package measure

import "errors"

// The errors of this package, to be matched with errors.Is.
var (
	// ErrHistogram says that a text is no V2 histogram of the expected unit.
	ErrHistogram = errors.New("not a histogram of this unit")
	// ErrHealth says that a text is no health.csv of this version.
	ErrHealth = errors.New("not a health file")
	// ErrTruncated says that the last line of a health file is unfinished: the
	// rows before it are good and were returned.
	ErrTruncated = errors.New("the last row is unfinished and was left out")
	// ErrTooManyGoroutines says that the stacks of all goroutines of this process
	// do not fit into the memory that a snapshot may take.
	ErrTooManyGoroutines = errors.New("too many goroutines for a snapshot")
)
