package scenarios

import (
	"embed"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v4"
)

//go:embed library/*.yaml
var library embed.FS

// Shipped is one scenario of the library in this package.
type Shipped struct {
	Name    string
	Summary string
	Data    []byte // the file, with the comment that says what it stands for
}

// File is the name that positions in the shipped file show.
func (s Shipped) File() string { return s.Name + ".yaml" }

// Library gives the shipped scenarios in the order of their names.
func Library() []Shipped {
	entries, err := library.ReadDir("library")
	if err != nil {
		return nil // embedded: it is always there
	}
	var out []Shipped
	for _, e := range entries {
		data, err := library.ReadFile("library/" + e.Name())
		if err != nil {
			continue
		}
		var head struct{ Summary string }
		if err := yaml.Load(data, &head); err != nil {
			head.Summary = ""
		}
		out = append(out, Shipped{Name: strings.TrimSuffix(e.Name(), ".yaml"), Summary: head.Summary, Data: data})
	}
	return out
}

// Lookup finds a shipped scenario by name.
func Lookup(name string) (Shipped, error) {
	var names []string
	for _, s := range Library() {
		if s.Name == name {
			return s, nil
		}
		names = append(names, s.Name)
	}
	if meant := suggest(name, names); meant != "" {
		return Shipped{}, fmt.Errorf("%w: %s (did you mean %q?)", ErrUnknownScenario, quote(name), meant)
	}
	return Shipped{}, fmt.Errorf("%w: %s; there are %s", ErrUnknownScenario, quote(name), strings.Join(names, ", "))
}
