package judge

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestEnvRoundTrip(t *testing.T) {
	want := newFolder().env
	want.SchemaVersion = EnvVersion
	var b bytes.Buffer
	if err := WriteEnv(&b, want); err != nil {
		t.Fatal(err)
	}
	got, err := ReadEnv(&b)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestEnvRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"nothing":       "",
		"no object":     "[]",
		"no version":    "{}",
		"newer version": `{"schema_version": 3}`,
		"too large":     `{"schema_version": 1, "x": "` + strings.Repeat("x", maxEnv) + `"}`,
	} {
		if _, err := ReadEnv(strings.NewReader(text)); !errors.Is(err, ErrEnv) {
			t.Errorf("%s: %v, want ErrEnv", name, err)
		}
	}
}

// FuzzReadEnv: nothing from outside makes it panic, and what it takes it
// writes and reads back as the same.
func FuzzReadEnv(f *testing.F) {
	var b bytes.Buffer
	if err := WriteEnv(&b, newFolder().env); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Add([]byte(`{"schema_version":1,"target":{"abilities":{"known_defects":[{"check":"x"}]}}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		first, err := ReadEnv(bytes.NewReader(data))
		if err != nil {
			return
		}
		var out bytes.Buffer
		if err := WriteEnv(&out, first); err != nil {
			t.Fatal(err)
		}
		again, err := ReadEnv(&out)
		if err != nil {
			t.Fatal(err)
		}
		var one, two bytes.Buffer
		if err := errors.Join(WriteEnv(&one, first), WriteEnv(&two, again)); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(one.Bytes(), two.Bytes()) {
			t.Errorf("%s\n%s", one.Bytes(), two.Bytes())
		}
	})
}
