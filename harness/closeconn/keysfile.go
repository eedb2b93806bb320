package closeconn

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v4"
)

// maxKeysFile bounds a keys file, and a file with a secret, in bytes.
const maxKeysFile = 1 << 20

// LoadKeys reads a keys file:
//
//	keys:
//	  - id: testid
//	    secret: testsecret                  # or secret_env: NAME, or secret_file: PATH
//	    security_token: TOKEN               # of temporary credentials
//	    disabled: false
//	    actions: ["mq:CloseConnection"]     # default all
//	    instances: ["post-cn-test"]         # default any
//	    client_prefixes: ["GID_test@@@"]    # default any
//
// A secret_file is relative to the keys file. Files with a secret in them that
// others can read are warned of in log (nil = silent). The error wraps ErrKeys, has every mistake
// as FILE:LINE:COLUMN, and no secret.
func LoadKeys(path string, log *slog.Logger) (*Keys, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	f := &keysFile{path: path, log: log}
	data, open, err := readSecret(path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKeys, err)
	}
	keys, err := f.parse(data)
	if open && f.secrets {
		f.warn(path)
	}
	return keys, err
}

// keysFile reads one file, node by node. It does not decode into a struct: the
// errors of that quote the values, and these are secrets.
type keysFile struct {
	path    string
	log     *slog.Logger
	errs    []error
	secrets bool // it holds some itself, and not only where they are
}

func (f *keysFile) parse(data []byte) (*Keys, error) {
	var pairs []KeyPair
	if root := f.root(data); root != nil {
		f.mapping(root, map[string]func(*yaml.Node){
			"keys": func(n *yaml.Node) {
				for _, item := range f.list(n) {
					pairs = append(pairs, f.pair(item))
				}
			},
		})
	}
	seen := map[string]bool{}
	for _, pair := range pairs {
		if seen[pair.KeyID] && pair.KeyID != "" {
			f.errs = append(f.errs, fmt.Errorf("%s: %q is there twice", f.path, pair.KeyID))
		}
		seen[pair.KeyID] = true
	}
	if len(pairs) == 0 && len(f.errs) == 0 {
		f.errs = append(f.errs, fmt.Errorf("%s: there is no key", f.path))
	}
	if len(f.errs) > 0 {
		return nil, fmt.Errorf("%w: %w", ErrKeys, errors.Join(f.errs...))
	}
	return NewKeys(pairs...)
}

func (f *keysFile) fail(n *yaml.Node, format string, args ...any) {
	f.errs = append(f.errs, fmt.Errorf("%s:%d:%d: %w", f.path, n.Line, n.Column, fmt.Errorf(format, args...)))
}

// root gives the mapping of the one document.
func (f *keysFile) root(data []byte) *yaml.Node {
	var doc yaml.Node
	if err := yaml.Load(data, &doc, yaml.WithV4Defaults()); err != nil {
		at := &yaml.Node{Line: 1, Column: 1}
		if le := (*yaml.LoadError)(nil); errors.As(err, &le) {
			at.Line, at.Column = max(1, le.Mark.Line), max(1, le.Mark.Column)
		}
		f.fail(at, "not one YAML document") // its own words may quote a secret
		return nil
	}
	if doc.Kind == yaml.DocumentNode && len(doc.Content) == 1 {
		return doc.Content[0]
	}
	return &doc
}

// pair reads one key.
func (f *keysFile) pair(n *yaml.Node) KeyPair {
	var k KeyPair
	failed, sources := len(f.errs), 0
	secret := func(read func(*yaml.Node) string) func(*yaml.Node) {
		return func(n *yaml.Node) {
			sources++
			k.Secret = read(n)
		}
	}
	f.mapping(n, map[string]func(*yaml.Node){
		"id":              func(n *yaml.Node) { k.KeyID = f.text(n) },
		"secret":          secret(f.secret),
		"secret_env":      secret(f.fromEnv),
		"secret_file":     secret(f.fromFile),
		"security_token":  func(n *yaml.Node) { k.SecurityToken = f.secret(n) },
		"disabled":        func(n *yaml.Node) { k.Disabled = f.truth(n) },
		"actions":         func(n *yaml.Node) { k.Actions = f.texts(n) },
		"instances":       func(n *yaml.Node) { k.Instances = f.texts(n) },
		"client_prefixes": func(n *yaml.Node) { k.ClientPrefixes = f.texts(n) },
	})
	if len(f.errs) > failed {
		return k
	}
	if sources != 1 {
		f.fail(n, "want exactly one of secret, secret_env and secret_file")
	} else if err := k.check(); err != nil {
		f.fail(n, "%w", err)
	}
	return k
}

// mapping calls the reader of each of its keys, which are each there once.
func (f *keysFile) mapping(n *yaml.Node, readers map[string]func(*yaml.Node)) {
	if n.Kind != yaml.MappingNode {
		f.fail(n, "want key: value lines")
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		read := readers[key.Value]
		switch {
		case read == nil:
			f.fail(key, "unknown key %.40q", key.Value)
		case seen[key.Value]:
			f.fail(key, "%s is there twice", key.Value)
		default:
			read(n.Content[i+1])
		}
		seen[key.Value] = true
	}
}

func (f *keysFile) list(n *yaml.Node) []*yaml.Node {
	if n.Kind != yaml.SequenceNode || len(n.Content) == 0 {
		f.fail(n, "want a list with at least one item")
		return nil
	}
	return n.Content
}

func (f *keysFile) texts(n *yaml.Node) []string {
	var all []string
	for _, item := range f.list(n) {
		all = append(all, f.text(item))
	}
	return all
}

// text takes a scalar as it is written, so that a secret of digits stays one.
func (f *keysFile) text(n *yaml.Node) string {
	if n.Kind != yaml.ScalarNode || n.ShortTag() == "!!null" || n.Value == "" {
		f.fail(n, "want a text that is not empty")
		return ""
	}
	return n.Value
}

// secret is a text that nobody else is to read.
func (f *keysFile) secret(n *yaml.Node) string {
	f.secrets = true
	return f.text(n)
}

func (f *keysFile) truth(n *yaml.Node) bool {
	var b bool
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!bool" || n.Decode(&b) != nil {
		f.fail(n, "want true or false")
	}
	return b
}

func (f *keysFile) fromEnv(n *yaml.Node) string {
	name := f.text(n)
	value := os.Getenv(name)
	if name != "" && value == "" {
		f.fail(n, "the environment has no %s", name)
	}
	return value
}

func (f *keysFile) fromFile(n *yaml.Node) string {
	path := f.text(n)
	if path == "" {
		return ""
	}
	if !filepath.IsAbs(path) {
		path = filepath.Join(filepath.Dir(f.path), path)
	}
	data, open, err := readSecret(path)
	if err != nil {
		f.fail(n, "%w", err)
		return ""
	}
	if open {
		f.warn(path)
	}
	return strings.TrimSpace(string(data))
}

func (f *keysFile) warn(path string) {
	f.log.Warn("other users can read a file with secrets: chmod 600 it", "file", path)
}

// readSecret reads a file that may hold secrets; open = others can read it.
func readSecret(path string) (data []byte, open bool, err error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, false, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	info, err := file.Stat()
	if err != nil {
		return nil, false, err
	}
	data, err = io.ReadAll(io.LimitReader(file, maxKeysFile+1))
	if err == nil && len(data) > maxKeysFile {
		err = fmt.Errorf("%s has more than %d bytes", path, maxKeysFile)
	}
	return data, info.Mode().Perm()&0o044 != 0, err
}
