package browser

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// patience bounds each wait; nothing is judged by it.
const patience = 60 * time.Second

var shots = flag.String("shots", "", "write the screenshots of the documentation into this folder")

var (
	browserCtx context.Context // nil where there is no browser
	axe        string          // the source of axe-core, "" where it is not installed
)

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	if b, err := os.ReadFile(filepath.Join("node_modules", "axe-core", "axe.min.js")); err == nil {
		axe = string(b)
	}
	program := find()
	if program == "" {
		return m.Run()
	}
	profile, err := os.MkdirTemp("", "rebound-browser-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(profile) //nolint:errcheck // a temporary folder
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(program), chromedp.UserDataDir(profile), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-domain-reliability", true), chromedp.Flag("no-pings", true),
		chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND"), chromedp.Flag("proxy-server", "127.0.0.1:9"))
	allocator, stop := chromedp.NewExecAllocator(context.Background(), options...)
	defer stop()
	// A newer browser sends events that this version of the protocol does not
	// know; they are none of the page's.
	ctx, cancel := chromedp.NewContext(allocator, chromedp.WithErrorf(func(string, ...any) {}), chromedp.WithLogf(func(string, ...any) {}))
	defer cancel()
	if err := chromedp.Run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "chromium:", err)
		return 1
	}
	browserCtx = ctx
	return m.Run()
}

// find gives the path of a Chromium, "" where there is none.
func find() string {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
}

// missing ends a test for which something installable is not there: skipped on
// a developer's machine, failed in CI.
func missing(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("not installed in CI: %s", what)
	}
	t.Skipf("SKIPPED, not installed: %s", what)
}

// tab is one open page and what it complained of.
type tab struct {
	t   *testing.T
	ctx context.Context

	mu       sync.Mutex
	problems []string
}

type look struct {
	dark, noScript bool
	width, height  int64
	media          string // print
}

// open opens a page from disk with the network off.
func open(t *testing.T, path string, l look) *tab {
	t.Helper()
	if browserCtx == nil {
		missing(t, "a browser (apt-get install chromium)")
	}
	ctx, cancel := chromedp.NewContext(browserCtx)
	t.Cleanup(cancel)
	ctx, stop := context.WithTimeout(ctx, patience)
	t.Cleanup(stop)
	p := &tab{t: t, ctx: ctx}
	chromedp.ListenTarget(ctx, p.event)
	theme := "light"
	if l.dark {
		theme = "dark"
	}
	if l.width == 0 {
		l.width, l.height = 1360, 900
	}
	p.do(network.Enable(), log.Enable(), runtime.Enable(),
		network.EmulateNetworkConditions(true, 0, 0, 0),
		emulation.SetDeviceMetricsOverride(l.width, l.height, 1, false),
		emulation.SetEmulatedMedia().WithMedia(l.media).WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: theme}}),
		emulation.SetScriptExecutionDisabled(l.noScript),
		chromedp.Navigate("file://"+path))
	return p
}

// event notes whatever the page should not do.
func (p *tab) event(ev any) {
	note := func(format string, args ...any) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.problems = append(p.problems, fmt.Sprintf(format, args...))
	}
	switch e := ev.(type) {
	case *runtime.EventConsoleAPICalled:
		note("console.%s: %s", e.Type, e.Args[0].Value)
	case *runtime.EventExceptionThrown:
		note("exception: %s", e.ExceptionDetails.Error())
	case *log.EventEntryAdded:
		note("log %s: %s", e.Entry.Level, e.Entry.Text)
	case *network.EventRequestWillBeSent:
		if !strings.HasPrefix(e.Request.URL, "file://") {
			note("request for %s", e.Request.URL)
		}
	}
}

// quiet demands that the page did nothing that it should not.
func (p *tab) quiet() {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.problems {
		p.t.Error(s)
	}
}

func (p *tab) do(actions ...chromedp.Action) {
	p.t.Helper()
	if err := chromedp.Run(p.ctx, actions...); err != nil {
		p.t.Fatal(err)
	}
}

// js evaluates an expression, waits where it is a promise, and reads its value.
func (p *tab) js(expression string, out any) {
	p.t.Helper()
	p.do(chromedp.Evaluate(expression, out, func(e *runtime.EvaluateParams) *runtime.EvaluateParams { return e.WithAwaitPromise(true) }))
}

// until waits for a condition of the page.
func (p *tab) until(condition string) {
	p.t.Helper()
	var ok bool
	p.js(`new Promise(done => { const look = () => (`+condition+`) ? done(true) : setTimeout(look, 10); look(); })`, &ok)
}

type violation struct {
	ID, Help string
	Nodes    []string
}

// violations runs axe-core and gives what it finds, as JSON.
func (p *tab) violations() (found string) {
	p.t.Helper()
	if axe == "" {
		missing(p.t, "axe-core (cd compat/browser && npm ci)")
	}
	p.do(chromedp.Evaluate(axe+"\n;0", nil))
	p.js(`axe.run(document, {resultTypes: ["violations"]}).then(r => JSON.stringify(r.violations.map(v => ({id: v.id, help: v.help, nodes: v.nodes.slice(0, 4).map(n => n.html.slice(0, 200) + " :: " + n.failureSummary)}))))`, &found)
	return found
}

// check demands that axe-core finds nothing.
func (p *tab) check() {
	p.t.Helper()
	var found []violation
	if err := json.Unmarshal([]byte(p.violations()), &found); err != nil {
		p.t.Fatal(err)
	}
	for _, v := range found {
		p.t.Errorf("axe-core: %s: %s\n  %s", v.ID, v.Help, strings.Join(v.Nodes, "\n  "))
	}
}
