package reports

import _ "embed" // the schema is a file, for those who read the repository

//go:embed report.schema.json
var schema []byte

// Schema is the JSON Schema (draft 2020-12) of the report.json that this code
// writes. A test makes it from the Go types and their comments. It refuses what
// it does not know; Read leaves that aside, since later versions of the same
// schema_version may add fields.
func Schema() []byte { return schema }
