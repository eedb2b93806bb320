package judge

import (
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/rebound-mqtt/rebound/"

// TestJudgingNeedsFilesOnly follows every import of this package through the
// module: no client library, no broker and no network may be reached, so that
// any folder can be judged anywhere. The sources are parsed in this process,
// so that the test cache sees each file.
func TestJudgingNeedsFilesOnly(t *testing.T) {
	for path, by := range reached(t, "harness/judge") {
		if why := foreign(path); why != "" {
			t.Errorf("%s (by %s): %s", path, by, why)
		}
	}
}

func TestArrowCanFail(t *testing.T) {
	for path, bad := range map[string]bool{
		"github.com/eclipse/paho.mqtt.golang": true,
		"github.com/mochi-mqtt/server/v2":     true,
		module + "harness/fleet":              true,
		module + "harness/measure":            false,
		"net/http":                            true,
		"encoding/json":                       false,
	} {
		if (foreign(path) != "") != bad {
			t.Errorf("%s: %q", path, foreign(path))
		}
	}
}

// foreign says why judging must not reach an import; "" = it may.
func foreign(path string) string {
	for _, prefix := range []string{"github.com/eclipse/", "github.com/mochi-mqtt/", "github.com/nats-io/"} {
		if strings.HasPrefix(path, prefix) {
			return "a client library or a broker"
		}
	}
	if path == "net/http" {
		return "judging asks nobody"
	}
	rooms := []string{"broker", "closeconn", "wire", "netfault", "fleet", "fault"}
	if room, ours := strings.CutPrefix(path, module+"harness/"); ours && slices.Contains(rooms, room) {
		return "an engine room"
	}
	return ""
}

// reached gives all imports that a package of this module reaches through the
// module, each with a package that imports it.
func reached(t *testing.T, root string) map[string]string {
	t.Helper()
	by := map[string]string{}
	todo := []string{root}
	for len(todo) > 0 {
		pkg := todo[0]
		todo = todo[1:]
		for _, path := range importsOf(t, filepath.Join("..", "..", filepath.FromSlash(pkg))) {
			if _, seen := by[path]; seen {
				continue
			}
			by[path] = pkg
			if next, ours := strings.CutPrefix(path, module); ours {
				todo = append(todo, next)
			}
		}
	}
	return by
}

func importsOf(t *testing.T, dir string) (paths []string) {
	t.Helper()
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if !strings.HasSuffix(f.Name(), ".go") || strings.HasSuffix(f.Name(), "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(dir, f.Name()), nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, spec := range file.Imports {
			path, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			paths = append(paths, path)
		}
	}
	return paths
}
