//go:build !race

package harness

const pcRaces = false
