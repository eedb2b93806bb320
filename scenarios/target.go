package scenarios

import (
	"bytes"
	_ "embed"
	"fmt"
	"net"
	"net/url"
	"strconv"
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

// Target is a target file: a broker that already runs, and what it promises.
// It names where secrets are and holds none.
type Target struct {
	Name      string
	Addresses []string // tcp://HOST:PORT; client i uses address i mod n
	Auth      *Auth    // nil = clients do not log in
	Limits    TargetLimits
	Defects   []Defect
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
		Name: f.Text("name", ""),
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
