package harness

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/rebound-mqtt/rebound/harness/broker"
	"github.com/rebound-mqtt/rebound/harness/check"
	"github.com/rebound-mqtt/rebound/harness/judge"
	"github.com/rebound-mqtt/rebound/harness/target"
	"github.com/rebound-mqtt/rebound/reports"
	"github.com/rebound-mqtt/rebound/scenarios"
)

// IsTargetFile tells the path of a target file from the name of a target and
// from an address, by its form.
func IsTargetFile(name string) bool {
	if strings.Contains(name, "://") {
		return false
	}
	ext := filepath.Ext(name)
	return strings.ContainsRune(name, os.PathSeparator) || ext == ".yaml" || ext == ".yml"
}

// LoadTarget reads a target file and gives its text beside it. A mistake in it
// is a scenarios.Errors.
func LoadTarget(path string) (*scenarios.Target, []byte, error) {
	text, err := readFile(path, "target")
	if err != nil {
		return nil, nil, err
	}
	t, err := scenarios.LoadTarget(path, text)
	if err != nil {
		return nil, text, err
	}
	if mistakes := unknownDefects(t); len(mistakes) > 0 {
		return nil, text, mistakes
	}
	return t, text, nil
}

// unknownDefects refuses known defects that would excuse nothing.
func unknownDefects(t *scenarios.Target) (mistakes scenarios.Errors) {
	for _, d := range t.Defects {
		if !slices.ContainsFunc(check.Table(), func(c check.Check) bool { return c.Name == d.Check }) {
			mistakes = append(mistakes, scenarios.Error{Pos: d.CheckPos, Msg: fmt.Sprintf("no check is named %q", d.Check)})
		}
		if known := judge.Conditions(); !slices.Contains(known, d.Condition) {
			mistakes = append(mistakes, scenarios.Error{Pos: d.ConditionPos, Msg: fmt.Sprintf(
				"no condition of known defects is named %q, want one of %s", d.Condition, strings.Join(known, ", "))})
		}
	}
	return mistakes
}

// HoldsTarget reports whether a file holds a target and no scenario, by its keys.
func HoldsTarget(path string) bool {
	text, err := readFile(path, "target")
	return err == nil && scenarios.IsTarget(text)
}

// readFile reads a file of the user, of bounded size; what names it in messages.
func readFile(path, what string) ([]byte, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil, Usage(fmt.Errorf("%s: no such %s file", path, what))
	case err != nil:
		return nil, Usage(err)
	case info.IsDir():
		return nil, Usage(fmt.Errorf("%s is a folder, want a %s file", path, what))
	case !info.Mode().IsRegular():
		return nil, Usage(fmt.Errorf("%s is no regular file, want a %s file", path, what))
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, Usage(err)
	}
	defer f.Close() //nolint:errcheck // read only
	text, err := io.ReadAll(io.LimitReader(f, maxScenario+1))
	switch {
	case err != nil:
		return nil, Usage(err)
	case len(text) > maxScenario:
		return nil, Usage(fmt.Errorf("%s: more than %d bytes are too many for a %s", path, maxScenario, what))
	}
	return text, nil
}

// TargetName is what stands for a target file where a target is named: its
// first address, or the word command.
func TargetName(file *scenarios.Target) string {
	if len(file.Command) > 0 {
		return broker.KindCommand
	}
	return file.Addresses[0]
}

// With are the tables of a run on the target of a file: its row has what the
// file promises. Without a file they are the same.
func (t Tables) With(file *scenarios.Target) Tables {
	if file == nil {
		return t
	}
	t.Targets = slices.Clone(t.Targets)
	if len(file.Command) > 0 {
		t.Targets = slices.DeleteFunc(t.Targets, func(r broker.Row) bool { return r.Name == broker.KindCommand })
		t.Targets = append(t.Targets, promised(broker.CommandRow(), file))
		return t
	}
	for i, r := range t.Targets {
		if r.Name == broker.KindAddress {
			t.Targets[i] = promised(r, file)
		}
	}
	return t
}

// unknownFlush is the flush window of a broker that keeps things lazily, where
// nobody knows it: longer than any run.
const unknownFlush = 24 * time.Hour

// promised is a row with what a target file promises.
func promised(row broker.Row, file *scenarios.Target) broker.Row {
	a := &row.Abilities
	a.Persistence, a.Queued = file.Limits.Persistence, file.Limits.Queued
	a.RedeliveryWait = file.Limits.RedeliveryWait.Seconds()
	a.KnownDefects = nil
	for _, d := range file.Defects {
		a.KnownDefects = append(a.KnownDefects, reports.KnownDefect{
			Check: d.Check, Condition: d.Condition, Doc: d.Doc, Reference: d.Reference, Versions: d.Versions,
		})
	}
	if len(file.Command) > 0 && (a.Persistence == "lazy" || a.Persistence == "sync") {
		a.Can = append(slices.Clone(a.Can), "persist")
	}
	if len(file.Command) > 0 && a.Persistence == "lazy" {
		a.FlushWindow = unknownFlush.Seconds()
	}
	return row
}

// fileTarget makes the target of a file: starts its command, or finds the
// broker that already runs.
func (r *run) fileTarget(ctx context.Context, file *scenarios.Target, o broker.Options) (target.Target, error) {
	row, err := r.opts.target(TargetName(file))
	if err != nil {
		return nil, err
	}
	settings := map[string]string{"target": file.Name}
	if d := file.Limits.SessionExpiry; d > 0 {
		settings["session_expiry"] = d.String()
	}
	if len(file.Command) == 0 {
		return broker.Running(target.Info{
			Addresses: file.Addresses, Version: file.Version, Endpoint: r.opts.Endpoint, Settings: settings, Abilities: row.Abilities,
		})
	}
	settings["program"] = filepath.Base(file.Command[0]) // its folder and its arguments are for nobody else
	o.ReadyTimeout = file.ReadyTimeout
	c, err := broker.StartProgram(ctx, broker.Program{
		Name: file.Name, Version: file.Version, Command: file.Command, Config: file.Config, Env: file.Env, Stop: file.StopTimeout,
		Login: r.login, Endpoint: r.opts.Endpoint, Settings: settings, Abilities: row.Abilities,
	}, o)
	switch {
	case errors.Is(err, broker.ErrNoVariable):
		return nil, Usage(err)
	case err != nil: // not returned as one expression: a nil *Command is no nil Target
		return nil, err
	}
	return c, nil
}

// maxPassword is the longest password of a CONNECT (MQTT 3.1.1 section 3.1.3.5).
const maxPassword = 65535

// Login reads the password of a target from where its file says it is; nil =
// clients do not log in. It is kept in memory only.
func Login(file *scenarios.Target) (*target.Login, error) {
	if file == nil || file.Auth == nil {
		return nil, nil
	}
	a := file.Auth
	l := &target.Login{Username: a.Username}
	switch {
	case a.PasswordEnv != "":
		text, found := os.LookupEnv(a.PasswordEnv)
		if !found {
			return nil, Usage(fmt.Errorf("target %s: the environment variable %s, which holds its password, is not set", file.Name, a.PasswordEnv))
		}
		l.Password = []byte(text)
	case a.PasswordFile != "":
		text, err := readFile(a.PasswordFile, "password")
		if err != nil {
			return nil, fmt.Errorf("target %s: %w", file.Name, err)
		}
		l.Password = bytes.TrimRight(text, "\r\n")
	}
	if len(l.Password) > maxPassword {
		return nil, Usage(fmt.Errorf("target %s: its password is longer than %d bytes", file.Name, maxPassword))
	}
	return l, nil
}
