// Package compat calls the endpoint of the built binary with the vendor's own
// clients, unmodified. It holds tests only and is a module of its own, so that
// the harness depends on none of them.
package compat
