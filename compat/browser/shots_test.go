package browser

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
)

// shot writes a picture of an element into the folder of -shots; without the
// flag it does nothing.
func (p *tab) shot(name, selector string) {
	p.t.Helper()
	if *shots == "" {
		return
	}
	var b box
	p.js(fmt.Sprintf(`(b => ({x: b.x + scrollX, y: b.y + scrollY, width: b.width, height: b.height}))(document.querySelector(%q).getBoundingClientRect())`, selector), &b)
	var png []byte
	p.do(chromedp.ActionFunc(func(ctx context.Context) (err error) {
		png, err = page.CaptureScreenshot().WithCaptureBeyondViewport(true).WithClip(&page.Viewport{X: b.X, Y: b.Y, Width: b.Width, Height: b.Height, Scale: 1}).Do(ctx)
		return err
	}))
	if err := os.WriteFile(filepath.Join(*shots, name+".png"), png, 0o644); err != nil {
		p.t.Fatal(err)
	}
}

// shotSections pictures the head and each section of a page.
func (p *tab) shotSections(prefix string) {
	p.t.Helper()
	if *shots == "" {
		return
	}
	p.shot(prefix+"-head", "header")
	var ids []string
	p.js(`[...document.querySelectorAll("section")].map(s => s.id)`, &ids)
	for _, id := range ids {
		p.shot(prefix+"-"+id, "#"+id)
	}
}
