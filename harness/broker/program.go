package broker

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/rebound-mqtt/rebound/harness/target"
	"github.com/rebound-mqtt/rebound/reports"
)

// program is a foreign broker that a target starts as a process of its own: a
// row of the table of programs, or one of the user's.
type program struct {
	name      string // of the target
	exe       string // the executable: a path, or a name to look for
	doc       string
	install   string // what a user can do when it is missing
	abilities reports.Abilities
	stop      time.Duration // what its orderly end may take
	env       []string      // variables of ours that it gets besides the common ones
	login     *target.Login // of the connection that finds it ready; nil = none
	endpoint  string        // URL of its CloseConnection endpoint; "" = none
	// version reads the version out of the program; "" = not known.
	version func(ctx context.Context, path string) string
	// prepare writes configuration into a folder, empty but for stateFolder, and gives
	// the arguments of the program, and what was tuned, for the report.
	prepare func(dir string, listen []string) (args []string, settings map[string]string, err error)
}

// programs is the table of foreign brokers. Adding one is one file and one row.
func programs() []program { return []program{mosquitto()} }

func findProgram(name string) (program, bool) {
	for _, p := range programs() {
		if p.name == name {
			return p, true
		}
	}
	return program{}, false
}

// IsCommand reports whether a target is a foreign broker that is started as a
// process.
func IsCommand(kind string) bool {
	_, found := findProgram(kind)
	return found || kind == KindCommand
}

// commonEnv are the variables of ours that each foreign broker gets. What else
// there is, credentials among it, is none of its business.
var commonEnv = []string{"PATH", "HOME", "LANG"}

// environment is that of the program, and a variable that marks it as ours.
func (p program) environment(mark string) ([]string, error) {
	env := []string{mark}
	for _, name := range commonEnv {
		if v, found := os.LookupEnv(name); found {
			env = append(env, name+"="+v)
		}
	}
	for _, name := range p.env {
		v, found := os.LookupEnv(name)
		if !found {
			return nil, fmt.Errorf("%w: %s", ErrNoVariable, name)
		}
		env = append(env, name+"="+v)
	}
	return env, nil
}

// Program is a broker program of the user's. Its arguments and its
// configuration may hold placeholders: {host} and {port} are where it has to
// listen, {dir} is a folder for what it keeps, {config} the path of the
// configuration.
type Program struct {
	Name      string // of the target
	Version   string // "" = not known
	Command   []string
	Config    string        // text of a file for it; "" = no file
	Env       []string      // variables of ours that it gets, besides PATH, HOME and LANG
	Stop      time.Duration // what its orderly end may take; 0 = DefaultStop
	Login     *target.Login // of the connection that finds it ready; nil = none
	Endpoint  string        // URL of its CloseConnection endpoint; "" = none
	Settings  map[string]string
	Abilities reports.Abilities
}

// CommandRow is the row of a program of the user's: what MQTT 3.1.1 asks of a
// network close, and what can be done to any process of ours.
func CommandRow() Row {
	return Row{
		Name: KindCommand, Doc: "a program of yours, started as a process on 127.0.0.1", FDsPerClient: 1,
		Abilities: reports.Abilities{
			KeepsSession: true, SendsWill: true, KickAsync: true, Persistence: "unknown",
			Can: []string{canKill, canStop, canRestart, canFreeze, canNamespace},
		},
	}
}

// StartProgram is StartCommand of a program of the user's, which listens on one
// address.
func StartProgram(ctx context.Context, p Program, o Options) (*Command, error) {
	if len(p.Command) == 0 {
		return nil, fmt.Errorf("%w: the command is empty", ErrNoProgram)
	}
	o.Addresses = 1
	stop := p.Stop
	if stop <= 0 {
		stop = DefaultStop
	}
	return startCommand(ctx, program{
		name: p.Name, exe: p.Command[0], install: "the command of target " + p.Name, abilities: p.Abilities,
		stop: stop, env: p.Env, login: p.Login, endpoint: p.Endpoint,
		version: func(context.Context, string) string { return p.Version },
		prepare: p.prepare,
	}, o)
}

// prepare fills in the placeholders.
func (p Program) prepare(dir string, listen []string) ([]string, map[string]string, error) {
	host, port := hostOf(listen[0])
	file := filepath.Join(dir, "config")
	fill := strings.NewReplacer("{host}", host, "{port}", port, "{dir}", filepath.Join(dir, stateFolder), "{config}", file)
	if p.Config != "" {
		if err := os.WriteFile(file, []byte(fill.Replace(p.Config)), 0o600); err != nil {
			return nil, nil, err
		}
	}
	var args []string
	for _, arg := range p.Command[1:] {
		args = append(args, fill.Replace(arg))
	}
	return args, maps.Clone(p.Settings), nil
}

// MissingProgram says why the broker of a row of the kind command can not be
// started here; "" = it can.
func MissingProgram(name string) string {
	p, found := findProgram(name)
	if !found {
		return name + " is not in the table of programs"
	}
	if _, err := lookProgram(p.exe); err != nil {
		return fmt.Sprintf("%s is not installed (%s)", p.exe, p.install)
	}
	return ""
}

// lookProgram gives the whole path of a program, which runs in another folder
// than this one. It also looks where servers live and a user's PATH does not.
func lookProgram(name string) (string, error) {
	path, err := exec.LookPath(name)
	if err == nil {
		return filepath.Abs(path)
	}
	if strings.ContainsRune(name, filepath.Separator) {
		return "", err
	}
	for _, dir := range []string{"/usr/sbin", "/usr/local/sbin"} {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path, nil
		}
	}
	return "", err
}

// ErrNoVariable says that an environment variable that a program is to have is
// not set.
var ErrNoVariable = errors.New("environment variable not set")
