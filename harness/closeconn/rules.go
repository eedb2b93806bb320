package closeconn

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"time"

	"go.yaml.in/yaml/v4"
)

const (
	maxRulesFile = 1 << 20
	// maxDelay leaves an answer time to be sent before the server's own bound.
	maxDelay = 50 * time.Second
)

// Rule injects a fault into the calls that it matches, for tests of other
// people's tools. The first matching rule decides, also when it lets a call
// pass; one that has had its Times matches no more.
type Rule struct {
	Operation    string        `yaml:"operation"`     // "" = any
	ClientPrefix string        `yaml:"client_prefix"` // of a ClientId of the call; "" = any, also of calls that name no client
	Skip         int           `yaml:"skip"`          // matching calls that pass first
	Times        int           `yaml:"times"`         // matching calls that are hit then; 0 = all further
	Share        float64       `yaml:"share"`         // of those, by chance (seeded), in (0, 1]; 0 = all
	Delay        time.Duration `yaml:"delay"`         // before the answer, at most 50 s
	Code         string        `yaml:"code"`          // a documented error code; "" = only the delay
	AfterEffect  bool          `yaml:"after_effect"`  // the operation takes effect and the answer lies (a lost answer)
}

// LoadRules reads rules from a YAML file, {rules: [{operation: …, code: …}]},
// with a rule's fields in snake case. It is strict; its errors wrap ErrRules.
func LoadRules(path string) ([]Rule, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRules, err)
	}
	rules, err := parseRules(raw)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrRules, path, err)
	}
	return rules, nil
}

type rulesFile struct {
	Rules []Rule `yaml:"rules"`
}

var errNoRules = errors.New("it holds no rules")

func parseRules(raw []byte) ([]Rule, error) {
	if len(raw) > maxRulesFile {
		return nil, fmt.Errorf("the file has %d bytes, the limit is %d", len(raw), maxRulesFile)
	}
	var file rulesFile
	if len(bytes.TrimSpace(raw)) == 0 {
		return nil, errNoRules
	}
	if err := yaml.Load(raw, &file, yaml.WithKnownFields()); err != nil { // two documents are an error too
		return nil, err
	}
	if len(file.Rules) == 0 {
		return nil, errNoRules
	}
	for i, rule := range file.Rules {
		if err := rule.check(); err != nil {
			return nil, fmt.Errorf("rule %d: %w", i+1, err)
		}
	}
	return file.Rules, nil
}

// check finds rules that could never do what they say.
func (r Rule) check() error {
	if r.Operation != "" && !knownOperation(r.Operation) {
		return fmt.Errorf("operation %q is unknown; the operations offered are %s", r.Operation, strings.Join(offered(), ", "))
	}
	if _, known := documented(r.Code); r.Code != "" && !known {
		return fmt.Errorf("code %q is unknown; the codes are %s", r.Code, strings.Join(documentedCodes(), ", "))
	}
	switch {
	case r.Skip < 0 || r.Times < 0:
		return fmt.Errorf("skip %d, times %d: want 0 or more", r.Skip, r.Times)
	case !(r.Share >= 0 && r.Share <= 1): // NaN too
		return fmt.Errorf("share %v: want more than 0 and at most 1, or 0 for all", r.Share)
	case r.Delay < 0 || r.Delay > maxDelay:
		return fmt.Errorf("delay %v: want 0 to %v", r.Delay, maxDelay)
	case r.Code == "" && r.Delay == 0:
		return errors.New("it has neither a code nor a delay, so it does nothing")
	}
	return nil
}

// documentedCodes are the codes that a rule may have, for its error text.
func documentedCodes() []string {
	var codes []string
	for _, e := range documentedErrors {
		codes = append(codes, e.Code)
	}
	return append(codes, prefixMissing+"NAME", prefixInvalidParameter+"NAME")
}

// injector decides for each call whether a rule hits it. It is safe for
// concurrent use; with calls one after the other, the same seed gives the same
// hits.
type injector struct {
	mu    sync.Mutex
	rules []*ruleState
}

type ruleState struct {
	Rule
	seen   int // matching calls so far
	chance *rand.Rand
}

func newInjector(rules []Rule, seed uint64) *injector {
	in := &injector{}
	for i, rule := range rules {
		in.rules = append(in.rules, &ruleState{Rule: rule, chance: rand.New(rand.NewPCG(seed, uint64(i)))})
	}
	return in
}

// hit returns the rule that hits a call, nil if none does.
func (in *injector) hit(r request) *Rule {
	if len(in.rules) == 0 {
		return nil
	}
	clientIDs := r.clientIDs()
	in.mu.Lock()
	defer in.mu.Unlock()
	for _, rule := range in.rules {
		if !rule.matches(r.action, clientIDs) || rule.Times > 0 && rule.seen >= rule.Skip+rule.Times {
			continue
		}
		rule.seen++
		if rule.seen <= rule.Skip || rule.Share > 0 && rule.chance.Float64() >= rule.Share {
			return nil
		}
		return &rule.Rule
	}
	return nil
}

func (r *ruleState) matches(action string, clientIDs []string) bool {
	if r.Operation != "" && r.Operation != action {
		return false
	}
	if r.ClientPrefix == "" {
		return true
	}
	for _, id := range clientIDs {
		if strings.HasPrefix(id, r.ClientPrefix) {
			return true
		}
	}
	return false
}

// inject runs a call under the rule that hits it. A caller that goes away ends
// the delay, and what would have come after it; ending ends the delay only.
func (r *Rule) inject(ctx context.Context, ending <-chan struct{}, call func() (outcome, *APIError)) (out outcome, fail *APIError) {
	defer func() { out.injected = r.header() }()
	if r.AfterEffect {
		out, fail = call()
	}
	if !pause(ctx, ending, r.Delay) {
		return out, errInternal() // nobody is there to read it
	}
	switch {
	case r.Code != "":
		fail, _ = documented(r.Code)
		return out, fail
	case r.AfterEffect:
		return out, fail
	}
	return call()
}

// header is how an answer says what was injected.
func (r *Rule) header() string {
	if r.Code != "" {
		return r.Code
	}
	return "delay"
}

// pause waits, until ending at most; false = ctx ended first.
func pause(ctx context.Context, ending <-chan struct{}, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ending:
		return true
	case <-ctx.Done():
		return false
	}
}
