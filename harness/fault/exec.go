package fault

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/scenarios"
)

//go:embed exec.schema.json
var execSchema string

// ExecName is the kind of fault that starts programs of the scenario, which a
// run must be allowed.
const ExecName = "exec"

const defaultExecTimeout = 30 * time.Second

// Exec is what a program of the fault exec is told and where its output goes.
type Exec struct {
	Dir      string // the run's folder
	Address  string // of the broker
	Endpoint string // its CloseConnection endpoint; "" = it has none
	// Log keeps what a program said; safe for concurrent use.
	Log func(text []byte) error
}

// execKind is the row of exec.
func execKind() Kind {
	return Kind{
		Name:   ExecName,
		Doc:    "Runs a program that brings the fault about, such as a rollout or a drain, and another that undoes it.",
		Schema: extentSchema(ExecName, execSchema),
		Plan: func(spec scenarios.FaultSpec, _ []scenarios.PlanFleet, _ uint64) (scenarios.PlanFault, error) {
			return planExtent(ExecName, spec, planExec)
		},
		New: newExec,
	}
}

func planExec(f *scenarios.Fields, params map[string]string) {
	for _, key := range []string{"inject", "heal", "env"} {
		texts := f.Texts(key)
		if len(texts) > 0 {
			text, _ := json.Marshal(texts) // texts always can
			params[key] = string(text)
		}
		if key != "env" && f.Has(key) && (len(texts) == 0 || texts[0] == "") {
			f.Fail(key, "%s names no program", key)
		}
	}
	timeout := f.Duration("timeout", defaultExecTimeout)
	if timeout == 0 {
		f.Fail("timeout", "timeout is 0s: no program ends in no time")
	}
	params["timeout"] = timeout.String()
}

// execFault is one planned exec.
type execFault struct {
	inject, heal, env []string
	timeout           time.Duration
}

func newExec(pf scenarios.PlanFault) (Fault, error) {
	var x execFault
	for key, into := range map[string]*[]string{"inject": &x.inject, "heal": &x.heal, "env": &x.env} {
		text, has := pf.Params[key]
		if !has {
			continue
		}
		if err := json.Unmarshal([]byte(text), into); err != nil {
			return nil, fmt.Errorf("exec: %s of the plan: %w", key, err)
		}
	}
	if len(x.inject) == 0 {
		return nil, fmt.Errorf("exec: the plan names no program")
	}
	var err error
	if x.timeout, err = time.ParseDuration(pf.Params["timeout"]); err != nil {
		return nil, fmt.Errorf("exec: timeout of the plan: %w", err)
	}
	f, err := newExtent(pf, true, x.take, x.lift)
	if err != nil {
		return nil, err
	}
	f.always = true // a program that failed, or was killed, may have done half of it
	return f, nil
}

func (x *execFault) take(ctx context.Context, env *Env, e *timeline.Extent) error {
	e.Bars, e.Outside = true, true
	if env.Exec == nil {
		return ErrNotOffered
	}
	var err error
	e.Detail, err = x.run(ctx, env, "inject", x.inject)
	return err
}

// lift runs the heal command. That it fails is the run's finding, and no
// failure to do the run.
func (x *execFault) lift(ctx context.Context, env *Env, e *timeline.Extent) error {
	if len(x.heal) == 0 || env.Exec == nil {
		return nil
	}
	detail, err := x.run(ctx, env, "heal", x.heal)
	e.Detail += "; " + detail
	if err != nil {
		e.OK = false
		if e.Err != "" {
			e.Err += "; "
		}
		e.Err += err.Error()
	}
	return nil
}

// run runs one program to its end and logs what it said.
func (x *execFault) run(ctx context.Context, env *Env, what string, argv []string) (detail string, err error) {
	start := env.Clock.Now()
	out, err := runProgram(ctx, argv, x.environment(env), x.timeout)
	took := time.Duration(env.Clock.Now() - start)
	outcome := "exit 0"
	if err != nil {
		outcome = err.Error()
		err = fmt.Errorf("%s: %w", what, err)
	}
	detail = fmt.Sprintf("%s: %s in %s", what, outcome, took.Round(time.Millisecond))
	head := fmt.Sprintf("--- %s %s wave %d, %s: %s\n", time.Duration(start).Round(time.Millisecond), env.Phase, env.Wave, what, quoted(argv))
	if len(out) > 0 && out[len(out)-1] != '\n' {
		out = append(out, '\n')
	}
	text := slices.Concat([]byte(head), out, []byte(fmt.Sprintf("--- %s in %s\n", outcome, took.Round(time.Millisecond))))
	if lerr := env.Exec.Log(text); lerr != nil && err == nil {
		err = lerr
	}
	return detail, err
}

// environment is what the programs are given: little, so that no credential of
// rebound's own reaches them unasked.
func (x *execFault) environment(env *Env) []string {
	vars := []string{
		"REBOUND_RUN_DIR=" + env.Exec.Dir, "REBOUND_TARGET_ADDR=" + env.Exec.Address, "REBOUND_ENDPOINT=" + env.Exec.Endpoint,
		"REBOUND_PHASE=" + env.Phase, "REBOUND_WAVE=" + strconv.Itoa(env.Wave),
	}
	for _, name := range append([]string{"PATH", "HOME", "LANG"}, x.env...) {
		if value, set := os.LookupEnv(name); set {
			vars = append(vars, name+"="+value)
		}
	}
	return vars
}

// quoted writes a command for the log.
func quoted(argv []string) string {
	text, _ := json.Marshal(argv) // texts always can
	return string(text)
}
