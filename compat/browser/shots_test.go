package browser

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"github.com/rebound-mqtt/rebound/internal/samples"
)

// screen writes a picture of what is seen at the top of an element.
func (p *tab) screen(name, selector string) {
	p.t.Helper()
	if *shots == "" {
		return
	}
	p.js(fmt.Sprintf(`document.querySelector(%q).scrollIntoView({behavior: "instant"})`, selector), nil)
	var b box
	p.js(`({x: scrollX, y: scrollY, width: innerWidth, height: innerHeight})`, &b)
	clip := &page.Viewport{X: b.X, Y: b.Y, Width: b.Width, Height: b.Height, Scale: 0.75}
	var png []byte
	p.do(chromedp.ActionFunc(func(ctx context.Context) (err error) {
		png, err = page.CaptureScreenshot().WithClip(clip).Do(ctx)
		return err
	}))
	if err := os.WriteFile(filepath.Join(*shots, name+".png"), png, 0o644); err != nil {
		p.t.Fatal(err)
	}
}

// TestPictures takes the pictures of the documentation into the folder of
// -shots, which somebody then looks at; in both themes each chart must have ink.
func TestPictures(t *testing.T) {
	base, next := sides(t, 5, 1.5)
	pages := []struct{ name, path, from string }{
		{"report", storm(t, samples.Size{Clients: 400, Waves: 3, Censored: 8}), "header"},
		{"recovery", storm(t, samples.Size{Clients: 400, Waves: 3, Censored: 8}), "#recovery"},
		{"compare", comparison(t, base, next), "#curve-2"},
	}
	for theme, dark := range themes {
		for _, x := range pages {
			p := open(t, x.path, look{dark: dark, width: 1200, height: 860})
			p.allDrawn(4)
			p.screen(x.name+"-"+theme, x.from)
		}
	}
}
