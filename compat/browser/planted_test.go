package browser

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/rebound-mqtt/rebound/internal/samples"
)

// TestPlanted shows that what the other tests look for would be found: a page
// with a script that its policy does not allow, one that reaches out, one that
// complains, and text that cannot be read.
func TestPlanted(t *testing.T) {
	path := storm(t, samples.Size{Clients: 20, Waves: 1})
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	policy := string(good)
	policy = policy[strings.Index(policy, `<meta http-equiv`):]
	policy = policy[:strings.Index(policy, ">")+1]
	for name, c := range map[string]struct{ from, to, want string }{
		"forbidden script": {"</main>", "<script>document.title = 1</script></main>", "Content Security Policy"},
		"forbidden style":  {"</main>", `<p style="color:red">x</p></main>`, "Content Security Policy"},
		"reaches out":      {policy, `<link rel="stylesheet" href="http://127.0.0.2:1/x.css">`, "request for http://127.0.0.2"},
		"complains":        {policy, `<script>console.error("planted")</script>`, "planted"},
		"throws":           {policy, `<script>throw new Error("planted")</script>`, "exception"},
	} {
		t.Run(name, func(t *testing.T) {
			bad := strings.Replace(string(good), c.from, c.to, 1)
			if bad == string(good) {
				t.Fatal("nothing planted")
			}
			if err := os.WriteFile(path, []byte(bad), 0o600); err != nil {
				t.Fatal(err)
			}
			p := open(t, path, look{})
			p.until(`document.readyState === "complete"`)
			p.mu.Lock()
			defer p.mu.Unlock()
			if all := strings.Join(p.problems, "\n"); !strings.Contains(all, c.want) {
				t.Errorf("no %q in %q", c.want, all)
			}
		})
	}
	t.Run("cannot be read", func(t *testing.T) {
		if axe == "" {
			missing(t, "axe-core (cd compat/browser && npm ci)")
		}
		bad := strings.NewReplacer("--dim:light-dark(#545d69", "--dim:light-dark(#b5bdc9", policy, "").Replace(string(good))
		if err := os.WriteFile(path, []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		var found []violation
		p := open(t, path, look{})
		if err := json.Unmarshal([]byte(p.violations()), &found); err != nil {
			t.Fatal(err)
		}
		if len(found) != 1 || found[0].ID != "color-contrast" {
			t.Errorf("found %v, want the contrast", found)
		}
	})
}
