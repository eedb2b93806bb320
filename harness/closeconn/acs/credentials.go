package acs

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
)

// The methods below keep the secret out of whatever prints Credentials. A
// struct that holds them in an unexported field needs methods of its own: fmt
// does not ask unexported fields.

// String is the key's id.
func (c Credentials) String() string { return "access key " + c.KeyID }

// Format writes String for every verb.
func (c Credentials) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, c.String()) }

// LogValue is String, for slog.
func (c Credentials) LogValue() slog.Value { return slog.StringValue(c.String()) }

// MarshalJSON writes the key's id only.
func (c Credentials) MarshalJSON() ([]byte, error) { return json.Marshal(c.String()) }

// MarshalText writes the key's id only.
func (c Credentials) MarshalText() ([]byte, error) { return []byte(c.String()), nil }
