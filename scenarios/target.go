package scenarios

import (
	"bytes"
	_ "embed"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v4"
)

//go:embed target.schema.json
var targetSchema []byte

// targetID names the form of target files; the number changes with a breaking
// change.
const targetID = "urn:rebound:target:1"

// Target is a target file: a broker that already runs, or the command that
// starts one, and what it promises. It names where secrets are and holds none.
type Target struct {
	Name      string
	Addresses []string // tcp://HOST:PORT; client i uses address i mod n
	Command   []string // program and arguments, with placeholders; instead of Addresses
	Config    string   // text of a file for the program, with placeholders; "" = none
	Env       []string // names of the environment variables that it gets
	Version   string   // "" = not known
	Auth      *Auth    // nil = clients do not log in
	Limits    TargetLimits
	Defects   []Defect

	ReadyTimeout, StopTimeout time.Duration // of the program
}

// Auth is how every client logs in. At most one of the places of the password
// is set; none = a user name alone.
type Auth struct {
	Username     string
	PasswordEnv  string // environment variable
	PasswordFile string // path
}

// TargetLimits is what a broker promises beyond MQTT 3.1.1.
type TargetLimits struct {
	Queued         int           // messages kept for an absent session; 0 = no limit is known
	SessionExpiry  time.Duration // 0 = not known
	Persistence    string        // none | lazy | sync | unknown
	RedeliveryWait time.Duration // longest time until an unacknowledged message is sent again
}

// Defect is a known defect of the broker, as in the ability record of a report.
type Defect struct {
	Check, Condition, Doc, Reference, Versions string

	CheckPos, ConditionPos Pos // of the names, which other rooms know
}

// composedTarget is the schema of target files, with the words of the language.
var composedTarget = sync.OnceValues(func() (Schema, error) {
	base, err := jsonschema.UnmarshalJSON(bytes.NewReader(baseSchema))
	if err != nil {
		return Schema{}, err
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(targetSchema))
	if err != nil {
		return Schema{}, err
	}
	root := v.(map[string]any)
	words := at(base.(map[string]any), "$defs")
	root["$defs"] = map[string]any{"later": words["later"], "name": words["name"], "duration": words["duration"]}
	return compile(root, targetID)
})

// TargetSchemaJSON is the JSON Schema of target files, for editors.
func TargetSchemaJSON() ([]byte, error) {
	s, err := composedTarget()
	if err != nil {
		return nil, err
	}
	return s.JSON(), nil
}

// LoadTarget reads a target file, as strictly as Load reads a scenario: the
// error is an Errors with every mistake of the file. It looks for no secret.
func LoadTarget(name string, data []byte) (*Target, error) {
	schema, err := composedTarget()
	if err != nil {
		return nil, err
	}
	l := &loader{file: name, schema: schema, bad: map[*yaml.Node]bool{}}
	var t *Target
	if root := l.parse(data); root != nil {
		l.checkSchema(root)
		if root.Kind == yaml.MappingNode {
			t = l.target(newFields(name, root, l.bad, &l.errs))
		}
	}
	if len(l.errs) > 0 {
		return nil, l.errs.finish(name, data)
	}
	return t, nil
}

func (l *loader) target(f *Fields) *Target {
	limits := f.Sub("limits")
	t := &Target{
		Name: f.Text("name", ""), Version: f.Text("version", ""),
		Limits: TargetLimits{
			Queued: limits.Count("queued", 0), SessionExpiry: limits.Duration("session_expiry", 0),
			Persistence: limits.Text("persistence", "unknown"), RedeliveryWait: limits.Duration("redelivery_wait", 0),
		},
	}
	for _, a := range f.texts("addresses") {
		if err := checkAddress(a.node.Value); err != nil {
			a.Fail("", "address %s: %v", quote(a.node.Value), err)
		}
		t.Addresses = append(t.Addresses, a.node.Value)
	}
	l.command(f, t)
	if f.ok("auth") {
		a := f.Sub("auth")
		t.Auth = &Auth{Username: a.Text("username", ""), PasswordEnv: a.Text("password_env", ""), PasswordFile: a.Text("password_file", "")}
	}
	for _, d := range f.list("known_defects") {
		t.Defects = append(t.Defects, Defect{
			Check: d.Text("check", ""), Condition: d.Text("condition", ""), Doc: d.Text("doc", ""),
			Reference: d.Text("reference", ""), Versions: d.Text("versions", ""),
			CheckPos: d.pos("check"), ConditionPos: d.pos("condition"),
		})
	}
	return t
}

// The defaults and bounds of a command's times.
const (
	defaultReady, defaultStop = 10 * time.Second, 10 * time.Second

	minPatience, maxPatience = 100 * time.Millisecond, 10 * time.Minute
)

// command reads how the broker is started, if it is.
func (l *loader) command(f *Fields, t *Target) {
	if !f.ok("command") {
		return
	}
	t.Config, t.ReadyTimeout, t.StopTimeout = f.Text("config", ""), patience(f, "ready_timeout", defaultReady), patience(f, "stop_timeout", defaultStop)
	for i, arg := range f.texts("command") {
		text := arg.node.Value
		if i == 0 && text == "" {
			arg.Fail("", "the program has no name")
		}
		if i > 0 {
			checkPlaceholders(arg, t.Config != "")
		}
		t.Command = append(t.Command, text)
	}
	if all := strings.Join(t.Command, " ") + t.Config; len(t.Command) == len(f.vals["command"].Content) && !strings.Contains(all, "{port}") {
		f.at("command").Fail("", "neither command nor config has {port}: where is the broker to listen?")
	}
	for _, v := range f.texts("env") {
		name := v.node.Value
		if strings.HasPrefix(name, "REBOUND_") || strings.HasPrefix(name, "ALIBABA_CLOUD_") {
			v.Fail("", "env: %s is for rebound alone, no program gets it", name)
		}
		t.Env = append(t.Env, name)
	}
}

// patience reads a time within bounds.
func patience(f *Fields, key string, def time.Duration) time.Duration {
	d := f.Duration(key, def)
	if d < minPatience || d > maxPatience {
		f.refuse(key, "%s is %s: want %s to %s", key, d, minPatience, maxPatience)
	}
	return d
}

var (
	placeholder  = regexp.MustCompile(`\{[a-z]+\}`)
	placeholders = []string{"{host}", "{port}", "{dir}", "{config}"}
)

// checkPlaceholders refuses those of an argument that stand for nothing.
func checkPlaceholders(arg *Fields, config bool) {
	for _, p := range placeholder.FindAllString(arg.node.Value, -1) {
		switch {
		case !slices.Contains(placeholders, p):
			arg.hint("", suggest(p, placeholders), "%s stands for nothing, want one of %s", p, strings.Join(placeholders, ", "))
		case p == "{config}" && !config:
			arg.Fail("", "{config} is the path of the configuration, and there is no key config")
		}
	}
}

// IsTarget tells the text of a target file from that of a scenario, by its keys.
func IsTarget(data []byte) bool {
	var doc yaml.Node
	if yaml.Unmarshal(data, &doc) != nil || len(doc.Content) != 1 || doc.Content[0].Kind != yaml.MappingNode {
		return false
	}
	for i, key := range doc.Content[0].Content {
		if i%2 == 0 && (key.Value == "addresses" || key.Value == "command") {
			return true
		}
	}
	return false
}

// checkAddress refuses what no client of this version could dial.
func checkAddress(addr string) error {
	u, err := url.Parse(addr)
	if err != nil {
		return fmt.Errorf("want tcp://HOST:PORT")
	}
	switch u.Scheme {
	case "tcp":
	case "tls", "ssl", "mqtts", "ws", "wss":
		return fmt.Errorf("%s is %s", u.Scheme, later)
	default:
		return fmt.Errorf("want tcp://HOST:PORT")
	}
	host, port, err := net.SplitHostPort(u.Host)
	if err != nil || host == "" || u.Path != "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return fmt.Errorf("want tcp://HOST:PORT and nothing else")
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return fmt.Errorf("%s is no port", quote(port))
	}
	return nil
}
