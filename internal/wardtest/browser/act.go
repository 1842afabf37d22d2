package browser

import (
	"context"
	"errors"
	"fmt"

	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"
)

// Spot is a place in the window, in pixels from its upper left corner.
type Spot struct{ X, Y float64 }

// aim is where a click on an element would hit it, or why it wouldn't: a person sees it, it takes clicks, and nothing lies above.
const aim = `(selector) => {
	const e = document.querySelector(selector);
	if (!e) return { why: "there is none" };
	if (!e.checkVisibility({ visibilityProperty: true })) return { why: "it isn't seen" };
	if (e.matches(":disabled")) return { why: "it is disabled" };
	const out = (r) => r.top < 0 || r.left < 0 || r.bottom > innerHeight || r.right > innerWidth;
	if (out(e.getBoundingClientRect())) e.scrollIntoView({ block: "center", inline: "center", behavior: "instant" });
	const r = e.getClientRects()[0], x = r.x + r.width / 2, y = r.y + r.height / 2, hit = document.elementFromPoint(x, y);
	if (!hit || !(e.contains(hit) || hit.closest("label")?.control === e)) return { why: "above it lies " + (hit?.outerHTML ?? "nothing").slice(0, 120) };
	return { x, y };
}`

// spot waits until a click would hit the first element of a selector, which is at rest, and returns where.
func (p *Page) spot(selector string) Spot {
	p.t.Helper()
	type aimed struct {
		Spot
		Why string
	}
	var was, is aimed
	p.retry(patience, "click "+selector, func(ctx context.Context) (err error) {
		was = is
		is, err = chromedp.Run(ctx, call[aimed](aim, selector))
		switch {
		case err != nil:
			return err
		case is.Why != "":
			return errors.New(is.Why)
		case is != was:
			return errors.New("it moves")
		}
		return nil
	})
	return is.Spot
}

// Click clicks on the first element of a selector.
func (p *Page) Click(selector string) {
	p.t.Helper()
	at := p.spot(selector)
	p.Point(at)
	run(p, "click "+selector, chromedp.MouseClickXY(at.X, at.Y))
}

// Point moves the mouse to a place.
func (p *Page) Point(at Spot) {
	p.t.Helper()
	run(p, "point", chromedp.MouseEvent(chromedp.MouseMoved, at.X, at.Y))
}

// Drag presses the mouse at a place and lets it go at another.
func (p *Page) Drag(from, to Spot) {
	p.t.Helper()
	p.Point(from)
	run(p, "press", chromedp.MouseEvent(chromedp.MousePressed, from.X, from.Y, chromedp.ButtonLeft, chromedp.ClickCount(1)))
	const moves = 5
	for i := 1.0; i <= moves; i++ {
		run(p, "drag", chromedp.MouseEvent(chromedp.MouseMoved, from.X+(to.X-from.X)*i/moves, from.Y+(to.Y-from.Y)*i/moves, chromedp.ButtonLeft))
	}
	run(p, "let go", chromedp.MouseEvent(chromedp.MouseReleased, to.X, to.Y, chromedp.ButtonLeft, chromedp.ClickCount(1)))
}

// Keys presses and releases keys, each a character or one of those of chromedp's package kb.
func (p *Page) Keys(keys string) {
	p.t.Helper()
	run(p, "press keys", chromedp.KeyEvent(keys))
}

// Fill writes into the first field of a selector, in place of what stood there.
func (p *Page) Fill(selector, text string) {
	p.t.Helper()
	p.spot(selector)
	Ask[any](p, `(selector) => { const e = document.querySelector(selector); e.focus(); e.select(); }`, selector)
	send(p, input.InsertText, input.InsertTextParams{Text: text})
	if got := Ask[string](p, `(selector) => document.querySelector(selector).value`, selector); got != text {
		p.fail("fill "+selector, fmt.Errorf("it has %q", got))
	}
}
