package judge

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/rebound-mqtt/rebound/reports"
)

// EnvVersion is the schema version of env.json that this code writes; it reads
// all from 1 on. Version 2: the taps follow each exchange by the rules of the
// standard, and the accounts hold answers, releases and handler calls.
const EnvVersion = 2

// maxEnv bounds env.json, in bytes.
const maxEnv = 4 << 20

// EnvFile is env.json: what the run knew of itself, its machine, its broker
// and its clients before it began. No host names, users, paths or secrets.
type EnvFile struct {
	SchemaVersion int            `json:"schema_version"`
	Rebound       string         `json:"rebound_version"`
	RunID         string         `json:"run_id"`
	Strict        bool           `json:"strict"` // judge strictly, now and whenever it is judged again
	Target        reports.Target `json:"target"`
	Driver        reports.Driver `json:"driver"`
	Environment   reports.Env    `json:"environment"`
}

// WriteEnv writes env.json.
func WriteEnv(w io.Writer, e EnvFile) error {
	e.SchemaVersion = EnvVersion
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	if err := enc.Encode(e); err != nil {
		return fmt.Errorf("write env: %w", err)
	}
	return nil
}

// ReadEnv reads what WriteEnv wrote; unknown fields are left aside.
func ReadEnv(r io.Reader) (EnvFile, error) {
	var e EnvFile
	data, err := io.ReadAll(io.LimitReader(r, maxEnv+1))
	switch {
	case err != nil:
		return e, fmt.Errorf("read env: %w", err)
	case len(data) > maxEnv:
		return e, fmt.Errorf("%w: larger than %d bytes", ErrEnv, maxEnv)
	}
	if err := json.Unmarshal(data, &e); err != nil {
		return EnvFile{}, fmt.Errorf("%w: %w", ErrEnv, err)
	}
	if e.SchemaVersion < 1 || e.SchemaVersion > EnvVersion {
		return EnvFile{}, fmt.Errorf("%w: schema_version is %d, this version reads 1 to %d", ErrEnv, e.SchemaVersion, EnvVersion)
	}
	return e, nil
}

// The errors of this package, to be matched with errors.Is.
var (
	// ErrNoEvidence says that a folder holds no run: there is nothing to judge.
	ErrNoEvidence = errors.New("no evidence of a run")
	// ErrEnv says that a text is no env.json of this version.
	ErrEnv = errors.New("not an env file")
)
