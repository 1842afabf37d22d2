package browser

import (
	"context"
	"os"
	"path/filepath"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/wardhq/ward/internal/wardtest/npm"
)

// Axe returns axe-core's violations in the page as it looks now, each with its rule and the first elements that break it.
//
// It runs in a world of its own, past the page's policy, which rightly lets no foreign script in.
func (p *Page) Axe() []string {
	p.t.Helper()
	axe, err := os.ReadFile(filepath.Join(npm.Modules(p.t), "axe-core", "axe.min.js"))
	if err != nil {
		p.t.Fatal(err)
	}
	frame := send(p, page.GetFrameTree, cdp.Empty{}).FrameTree.Frame.ID
	world := send(p, page.CreateIsolatedWorld, page.CreateIsolatedWorldParams{FrameID: frame, WorldName: "axe"}).ExecutionContextID
	there := func(e *runtime.EvaluateParams) { e.ContextID = world }
	return run(p, "run axe", func(ctx context.Context, t *chromedp.Target) ([]string, error) {
		known, err := chromedp.Evaluate[bool](`typeof axe !== "undefined"`, there)(ctx, t)
		if err == nil && !known { // the document's second time finds it
			_, err = chromedp.Evaluate[chromedp.Void](string(axe), there)(ctx, t)
		}
		if err != nil {
			return nil, err
		}
		return chromedp.Evaluate[[]string](`axe.run(document, { resultTypes: ["violations"] }).then((r) =>
			r.violations.map((v) => v.id + ": " + v.nodes.slice(0, 3).map((n) => n.html.slice(0, 160) + " " + (n.any[0]?.message || "")).join(" | ")))`, there, chromedp.EvalAwaitPromise)(ctx, t)
	})
}
