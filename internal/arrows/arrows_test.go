// Package arrows holds the import directions of the house as a test.
package arrows

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/rebound-mqtt/rebound/"

// arrows says which packages of this module each package may import. A
// package that is not in the table fails the test: a new room needs a row, so
// that its arrows are decided and not merely happen.
var arrows = map[string][]string{
	// the doors
	"cmd/rebound": {"harness", "scenarios", "reports"},
	"bench":       {"harness", "scenarios", "reports"},
	// the main path joins the rooms
	"harness": {"scenarios", "reports", "harness/*"},
	// rooms import leaves, and sideways only where the table says so
	"harness/broker":        {},
	"harness/closeconn":     {"harness/closeconn/acs"},
	"harness/closeconn/acs": {},
	"harness/wire":          {},
	"harness/netfault":      {},
	"harness/kernel":        {},
	"harness/fleet":         {"harness/protocol"},
	"harness/fault":         {"harness/netfault", "harness/kernel"},
	"harness/measure":       {},
	"harness/protocol":      {},
	"harness/ledger":        {},
	"harness/check":         {"harness/measure", "harness/ledger"},
	"harness/judge":         {"harness/measure", "harness/ledger", "harness/check"},
	// a tool of the house, which runs the command and reads its reports
	"internal/soundness": {"harness", "scenarios", "reports", "harness/timeline"},
	// tests only
	"internal/netns":   {"harness/kernel"},
	"internal/samples": {"reports"},
	"internal/arrows":  nil,
	"internal/docs":    nil,
}

// leaves may be imported by every room; each lists what it may import itself.
var leaves = map[string][]string{
	"scenarios":        {},
	"reports":          {"reports/svg"},
	"reports/svg":      {},
	"harness/mqtt":     {},
	"harness/timeline": {},
	"harness/target":   {"reports", "harness/timeline"},
}

// forbidden says which outside modules a package must not reach, even through
// others: judging needs files only.
var forbidden = map[string][]string{
	"harness/judge": {"github.com/eclipse/", "github.com/mochi-mqtt/", "github.com/nats-io/"},
}

// TestArrows parses the sources in this process, so that the test cache sees
// each file and a changed import is never answered from the cache.
func TestArrows(t *testing.T) {
	imports := parseTree(t, "../..")
	for pkg, list := range imports {
		for _, bad := range violations(pkg, list) {
			t.Error(bad)
		}
	}
	for pkg, prefixes := range forbidden {
		for reached := range reach(imports, pkg) {
			for _, prefix := range prefixes {
				if strings.HasPrefix(reached, prefix) {
					t.Errorf("%s reaches %s: judging must need files only", pkg, reached)
				}
			}
		}
	}
	for pkg := range arrows {
		if _, found := imports[pkg]; !found && pkg != "internal/arrows" {
			t.Errorf("the table has a row for %s, which does not exist: a package is made when its first capability lands", pkg)
		}
	}
}

// TestArrowsCatchesAPlantedImport shows that the rule can fail.
func TestArrowsCatchesAPlantedImport(t *testing.T) {
	for _, c := range []struct {
		pkg, imports string
		bad          bool
	}{
		{"harness/fleet", module + "harness/ledger", true},
		{"harness/fleet", module + "harness/timeline", false},
		{"harness/fault", module + "harness/netfault", false},
		{"harness/mqtt", module + "harness/timeline", true},
		{"cmd/rebound", module + "harness/broker", true},
		{"harness/shiny", "fmt", true},
		{"reports", "github.com/HdrHistogram/hdrhistogram-go", false},
	} {
		if got := len(violations(c.pkg, []string{c.imports})) > 0; got != c.bad {
			t.Errorf("%s importing %s: violation = %v, want %v", c.pkg, c.imports, got, c.bad)
		}
	}
}

func violations(pkg string, list []string) []string {
	allowed, isLeaf := leaves[pkg]
	if !isLeaf {
		row, known := arrows[pkg]
		if !known {
			return []string{pkg + ": no row in the table of arrows"}
		}
		allowed = slices.Clone(row)
		if strings.HasPrefix(pkg, "harness/") {
			for leaf := range leaves {
				allowed = append(allowed, leaf)
			}
		}
	}
	var bad []string
	for _, imp := range list {
		name, ours := strings.CutPrefix(imp, module)
		if !ours || slices.Contains(allowed, name) {
			continue
		}
		if slices.Contains(allowed, "harness/*") && strings.HasPrefix(name, "harness/") {
			continue
		}
		bad = append(bad, pkg+" must not import "+name)
	}
	return bad
}

// reach gives every import that pkg reaches inside the module, and the outside
// ones that those import.
func reach(imports map[string][]string, pkg string) map[string]bool {
	seen := map[string]bool{}
	var walk func(string)
	walk = func(p string) {
		for _, imp := range imports[p] {
			if seen[imp] {
				continue
			}
			seen[imp] = true
			if name, ours := strings.CutPrefix(imp, module); ours {
				walk(name)
			}
		}
	}
	walk(pkg)
	return seen
}

func parseTree(t *testing.T, root string) map[string][]string {
	t.Helper()
	imports := map[string][]string{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			name := d.Name()
			if path != root && (strings.HasPrefix(name, ".") || name == "testdata" || name == "node_modules") {
				return filepath.SkipDir
			}
			if path != root {
				if _, err := os.Stat(filepath.Join(path, "go.mod")); err == nil {
					return filepath.SkipDir // a module of its own
				}
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") {
			return nil
		}
		rel, err := filepath.Rel(root, filepath.Dir(path))
		if err != nil {
			return err
		}
		pkg := filepath.ToSlash(rel)
		if _, found := imports[pkg]; !found {
			imports[pkg] = []string{}
		}
		if strings.HasSuffix(path, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, spec := range file.Imports {
			name, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			imports[pkg] = append(imports[pkg], name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return imports
}
