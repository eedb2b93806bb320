// Package formats reads the report files that the built binary writes with the
// programs and libraries of others that are made to read them, unmodified. It
// holds tests only.
package formats
