// Package docs holds README.md and docs/ against the code as a test: what they
// show must load, parse, exist and be complete.
package docs

import (
	"context"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/rebound-mqtt/rebound/harness"
	"github.com/rebound-mqtt/rebound/harness/broker"
	"github.com/rebound-mqtt/rebound/harness/check"
	"github.com/rebound-mqtt/rebound/harness/fault"
	"github.com/rebound-mqtt/rebound/harness/fleet"
	"github.com/rebound-mqtt/rebound/harness/measure"
	"github.com/rebound-mqtt/rebound/reports"
	"github.com/rebound-mqtt/rebound/scenarios"
)

const root = "../.."

// page is one Markdown file.
type page struct {
	path   string // from the root, with slashes
	blocks []block
	prose  []line // outside of blocks
}

type line struct {
	n    int
	text string
}

// block is one fenced block.
type block struct {
	lang  string
	lines []line
}

func (b block) text() string {
	var sb strings.Builder
	for _, l := range b.lines {
		sb.WriteString(l.text + "\n")
	}
	return sb.String()
}

func parse(path, text string) page {
	p := page{path: path}
	var open *block
	for i, text := range strings.Split(text, "\n") {
		fence, isFence := strings.CutPrefix(text, "```")
		switch {
		case isFence && open == nil:
			open = &block{lang: strings.TrimSpace(fence)}
		case isFence:
			p.blocks = append(p.blocks, *open)
			open = nil
		case open != nil:
			open.lines = append(open.lines, line{i + 1, text})
		default:
			p.prose = append(p.prose, line{i + 1, text})
		}
	}
	return p
}

// pages reads README.md, CHANGELOG.md and everything under docs/.
func pages(t *testing.T) map[string]page {
	t.Helper()
	out := map[string]page{}
	for _, top := range []string{"README.md", "CHANGELOG.md", "docs"} {
		err := filepath.WalkDir(filepath.Join(root, top), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || filepath.Ext(path) != ".md" {
				return err
			}
			rel, err := filepath.Rel(root, path)
			if err != nil {
				return err
			}
			rel = filepath.ToSlash(rel)
			out[rel] = parse(rel, read(t, rel))
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return out
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestScenarioBlocks: each yaml block is a whole scenario that loads and plans,
// or a target file.
func TestScenarioBlocks(t *testing.T) {
	tables, n := harness.DefaultTables(), 0
	for _, p := range pages(t) {
		for _, b := range p.blocks {
			if b.lang != "yaml" {
				continue
			}
			n++
			file := filepath.Join(t.TempDir(), "block.yaml")
			if err := os.WriteFile(file, []byte(b.text()), 0o600); err != nil {
				t.Fatal(err)
			}
			if harness.HoldsTarget(file) {
				if _, _, err := harness.LoadTarget(file); err != nil {
					t.Errorf("%s:%d: %v", p.path, b.lines[0].n, err)
				}
				continue
			}
			sc, _, err := harness.LoadScenario(file, tables)
			if err == nil {
				_, err = harness.NewPlan(sc, harness.PlanOptions{Tables: tables})
			}
			if err != nil {
				t.Errorf("%s:%d: %v", p.path, b.lines[0].n, err)
			}
		}
	}
	if n == 0 {
		t.Error("no page shows a scenario")
	}
}

// TestCommandBlocks: each command in a sh block is one that there is, with
// flags that its help names.
func TestCommandBlocks(t *testing.T) {
	cli := build(t)
	targets := makeTargets(read(t, "Makefile"))
	n := 0
	for _, p := range pages(t) {
		for _, b := range p.blocks {
			if b.lang != "sh" {
				continue
			}
			for _, l := range b.lines {
				if strings.TrimSpace(l.text) == "" {
					continue
				}
				n++
				if why := wrong(l.text, cli.help, targets); why != "" {
					t.Errorf("%s:%d: %s: %s", p.path, l.n, l.text, why)
				}
			}
		}
	}
	if n == 0 {
		t.Error("no page shows a command")
	}
}

// TestCommandTable: the README names each subcommand with the words of its help.
func TestCommandTable(t *testing.T) {
	readme := read(t, "README.md")
	for name, short := range build(t).commands() {
		if name != "help" && (!strings.Contains(readme, "| `rebound "+name) || !strings.Contains(readme, "| "+short+" |")) {
			t.Errorf("README.md has no row for %s: %s", name, short)
		}
	}
}

// wrong says what is wrong with a command line; "" = nothing.
func wrong(text string, help func(sub string) string, targets []string) string {
	text, _, _ = strings.Cut(text, " #")
	text, _, _ = strings.Cut(text, " >")
	words := strings.Fields(text)
	switch words[0] {
	case "make":
		for _, target := range words[1:] {
			if !slices.Contains(targets, target) {
				return "no make target " + target
			}
		}
		return ""
	case "go":
		for _, w := range words {
			if file, ok := strings.CutPrefix(w, "-modfile="); ok {
				if _, err := os.Stat(filepath.Join(root, file)); err != nil {
					return err.Error()
				}
			}
		}
		return ""
	case "rebound", "bin/rebound":
	default:
		return "neither make, go nor rebound"
	}
	if len(words) < 2 {
		return "no subcommand"
	}
	usage := help(words[1])
	if usage == "" {
		return "no subcommand " + words[1]
	}
	for _, w := range words[2:] {
		flag, _, _ := strings.Cut(w, "=")
		if strings.HasPrefix(flag, "-") && !regexp.MustCompile(`(?m)^ .*`+regexp.QuoteMeta(flag)+`[ ,\n]`).MatchString(usage) {
			return "no flag " + flag
		}
	}
	return ""
}

func makeTargets(makefile string) []string {
	var out []string
	for _, m := range regexp.MustCompile(`(?m)^([a-z-]+):`).FindAllStringSubmatch(makefile, -1) {
		out = append(out, m[1])
	}
	return out
}

// binary is the built command.
type binary struct {
	t     *testing.T
	path  string
	cache map[string]string
}

func build(t *testing.T) *binary {
	t.Helper()
	// Read here so that the test cache knows on what the binary depends.
	sources, err := filepath.Glob(filepath.Join(root, "cmd/rebound/*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range sources {
		if _, err := os.ReadFile(s); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(t.TempDir(), "rebound")
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", "build", "-o", path, "./cmd/rebound")
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return &binary{t: t, path: path, cache: map[string]string{}}
}

// help gives the help of a subcommand, "" if there is none.
func (b *binary) help(sub string) string {
	if text, known := b.cache[sub]; known {
		return text
	}
	args := []string{sub, "--help"}
	if sub == "" {
		args = args[1:]
	}
	ctx, cancel := context.WithTimeout(b.t.Context(), time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, b.path, args...).Output()
	if err != nil || sub != "" && !strings.Contains(string(out), "rebound "+sub) {
		out = nil
	}
	b.cache[sub] = string(out)
	return b.cache[sub]
}

// commands gives the subcommands with their short words.
func (b *binary) commands() map[string]string {
	_, list, _ := strings.Cut(b.help(""), "Available Commands:\n")
	list, _, _ = strings.Cut(list, "\n\n")
	out := map[string]string{}
	for row := range strings.Lines(list) {
		name, short, _ := strings.Cut(strings.TrimSpace(row), " ")
		out[name] = strings.TrimSpace(short)
	}
	if len(out) == 0 {
		b.t.Fatal("the help names no commands")
	}
	return out
}

var (
	link = regexp.MustCompile(`\[[^\]]*\]\(([^)\s]+)\)`)
	code = regexp.MustCompile("`[^`]*`")
)

// TestLinks: each relative link leads to a file, and each anchor to a heading.
func TestLinks(t *testing.T) {
	all := pages(t)
	for _, p := range all {
		for _, l := range p.prose {
			for _, m := range link.FindAllStringSubmatch(code.ReplaceAllString(l.text, "code"), -1) {
				if why := broken(p, m[1], all); why != "" {
					t.Errorf("%s:%d: %s: %s", p.path, l.n, m[1], why)
				}
			}
		}
	}
}

// broken says why a link of a page leads nowhere; "" = it does not.
func broken(p page, to string, all map[string]page) string {
	if strings.Contains(to, "://") {
		return ""
	}
	file, anchor, _ := strings.Cut(to, "#")
	target := p.path
	if file != "" {
		target = filepath.ToSlash(filepath.Join(filepath.Dir(p.path), file))
		if _, err := os.Stat(filepath.Join(root, target)); err != nil {
			return "no such file"
		}
	}
	if anchor == "" {
		return ""
	}
	if q, found := all[target]; !found || !slices.Contains(q.anchors(), anchor) {
		return "no such heading in " + target
	}
	return ""
}

// anchors gives the anchors of a page's headings.
func (p page) anchors() []string {
	var out []string
	for _, l := range p.prose {
		if head := strings.TrimLeft(l.text, "#"); head != l.text && strings.HasPrefix(head, " ") {
			out = append(out, slug(head))
		}
	}
	return out
}

// slug is the anchor of a heading: lower case, letters, digits, - and _ kept,
// blanks to -.
func slug(head string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case unicode.IsLetter(r), unicode.IsDigit(r), r == '-', r == '_':
			return unicode.ToLower(r)
		}
		return -1
	}, strings.TrimSpace(strings.ReplaceAll(head, "`", "")))
}

// TestEachPageIsLinked: every page can be reached from the README.
func TestEachPageIsLinked(t *testing.T) {
	all := pages(t)
	seen := map[string]bool{"README.md": true}
	todo := []string{"README.md"}
	for len(todo) > 0 {
		p := all[todo[0]]
		todo = todo[1:]
		for _, l := range p.prose {
			for _, m := range link.FindAllStringSubmatch(l.text, -1) {
				file, _, _ := strings.Cut(m[1], "#")
				to := filepath.ToSlash(filepath.Join(filepath.Dir(p.path), file))
				if _, known := all[to]; known && !seen[to] {
					seen[to] = true
					todo = append(todo, to)
				}
			}
		}
	}
	for path := range all {
		if !seen[path] {
			t.Errorf("%s can not be reached from README.md", path)
		}
	}
}

// TestRowsAreDocumented: each row of each table has a row on its page.
func TestRowsAreDocumented(t *testing.T) {
	measuring, readme := read(t, "docs/measuring.md"), read(t, "README.md")
	units := map[string]string{"": "number", "s": "s", "%": "%"}
	for _, m := range measure.Metrics() {
		if !strings.Contains(measuring, "| `"+m.Name+"` | "+units[m.Unit]+" | "+string(m.Scope)+" |") {
			t.Errorf("docs/measuring.md has no row for metric %s (%s, %s)", m.Name, units[m.Unit], m.Scope)
		}
	}
	_, live, _ := strings.Cut(measuring, "*Live* ones")
	live, _, _ = strings.Cut(live, "\n\n")
	for _, m := range measure.Metrics() {
		if strings.Contains(live, "`"+m.Name+"`") != m.Live {
			t.Errorf("docs/measuring.md: metric %s is live: %t", m.Name, m.Live)
		}
	}
	for _, part := range measure.WaterfallParts() {
		wants(t, "docs/measuring.md", measuring, "waterfall part", part)
	}
	for _, c := range check.Table() {
		wants(t, "docs/measuring.md", measuring, "check", c.Name)
	}
	for _, k := range fault.Kinds() {
		wants(t, "docs/measuring.md", measuring, "fault", k.Name)
	}
	for _, f := range reports.Formats() {
		wants(t, "docs/measuring.md", measuring, "format", f.Name)
		if f.Files == nil {
			wants(t, "README.md", readme, "file", f.File)
		}
	}
	for _, r := range broker.Rows() {
		wants(t, "docs/measuring.md", measuring, "target", r.Name)
		if !strings.Contains(readme, "`"+r.Name+"`") {
			t.Errorf("README.md does not name target %s", r.Name)
		}
	}
	for _, d := range fleet.Drivers() {
		if !strings.Contains(readme, d.Info().Name) {
			t.Errorf("README.md does not name driver %s", d.Info().Name)
		}
	}
	for _, s := range scenarios.Library() {
		if !strings.Contains(readme, "`"+s.Name+"`") {
			t.Errorf("README.md does not name scenario %s", s.Name)
		}
	}
}

func wants(t *testing.T, path, text, what, name string) {
	t.Helper()
	if !strings.Contains(text, "\n| `"+name+"` |") {
		t.Errorf("%s has no row for %s %s", path, what, name)
	}
}

// TestKnownDefectsAreProved: each known defect's reference is a heading, and
// its make target is there.
func TestKnownDefectsAreProved(t *testing.T) {
	all := pages(t)
	tables := map[string][]reports.KnownDefect{}
	for _, r := range broker.Rows() {
		tables["target "+r.Name] = r.Abilities.KnownDefects
	}
	for _, d := range fleet.Drivers() {
		tables["driver "+d.Info().Name] = d.Info().KnownDefects
	}
	for whose, table := range tables {
		for _, d := range table {
			if why := broken(page{path: "README.md"}, d.Reference, all); why != "" {
				t.Errorf("%s: %s: %s", whose, d.Reference, why)
			}
			_, name, _ := strings.Cut(d.Reference, "#")
			if !slices.Contains(makeTargets(read(t, "Makefile")), "repro-"+name) {
				t.Errorf("no make target repro-%s", name)
			}
		}
	}
}

// TestPackagesAreDocumented: docs/architecture.md has a row for each package.
func TestPackagesAreDocumented(t *testing.T) {
	architecture := read(t, "docs/architecture.md")
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && path != root && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || d.Name() == "runs") {
			return filepath.SkipDir
		}
		if filepath.Ext(path) != ".go" {
			return nil
		}
		dir, err := filepath.Rel(root, filepath.Dir(path))
		if err == nil && !strings.Contains(architecture, "\n| ["+filepath.ToSlash(dir)+"](") {
			t.Errorf("docs/architecture.md has no row for package %s", dir)
			return filepath.SkipDir
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestRulesCanFail shows that the rules of this file can fail.
func TestRulesCanFail(t *testing.T) {
	help := func(sub string) string {
		if sub != "run" {
			return ""
		}
		return "Flags:\n      --seed S               seed\n  -q, --quiet                no progress\n"
	}
	for text, ok := range map[string]bool{
		"rebound run x --seed 7 -q > out.txt": true,
		"bin/rebound run x --seed=7  # words": true,
		"rebound run x --sead 7":              false,
		"rebound run x --see 7":               false,
		"rebound walk":                        false,
		"rebound":                             false,
		"make test":                           true,
		"make tests":                          false,
		"go tool -modfile=tools/go.mod x":     true,
		"go tool -modfile=none/go.mod x":      false,
		"curl http://127.0.0.1/":              false,
	} {
		if got := wrong(text, help, []string{"test"}) == ""; got != ok {
			t.Errorf("%s: ok = %v, want %v", text, got, ok)
		}
	}
	p := parse("README.md", "# A `b`: c-d\n```text\n# no heading\n```\n[x](#a-b-c-d)\n")
	all := map[string]page{"README.md": p}
	for to, ok := range map[string]bool{
		"#a-b-c-d": true, "README.md#a-b-c-d": true, "#no-heading": false, "none.md": false,
		"go.mod": true, "https://example.org/x#y": true,
	} {
		if got := broken(p, to, all) == ""; got != ok {
			t.Errorf("%s: ok = %v, want %v", to, got, ok)
		}
	}
}
