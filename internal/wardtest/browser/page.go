package browser

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/fetch"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// Page is a page that somebody looks at. Its methods fail the test if they can't do what they say.
type Page struct {
	t     testing.TB
	ctx   context.Context // chromedp's, which says which page; it ends with the test, or when the page is closed
	leave func()

	answering *sync.WaitGroup // who answers the browser's questions

	mu       sync.Mutex // guards what follows
	problems []string
	commits  int          // how often another document came
	at       string       // the document's address
	document cdp.LoaderID // the navigation that brought it
	loaded   cdp.LoaderID // the one that brought the last complete document
	status   int          // of the last answer that is a document
	posts    []*Post
	changed  chan struct{} // closed when any of it changes
}

// hear notes what the browser tells. It must not ask the browser anything.
func (p *Page) hear(event any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch e := event.(type) {
	case *runtime.EventConsoleAPICalled:
		if slices.Contains([]string{"error", "warning", "assert"}, string(e.Type)) {
			var words []string
			for _, a := range e.Args {
				words = append(words, strings.Trim(string(a.Value), `"`)+a.Description)
			}
			p.problems = append(p.problems, strings.Join(words, " "))
		}
	case *runtime.EventExceptionThrown:
		p.problems = append(p.problems, (&chromedp.ExceptionError{ExceptionDetails: e.ExceptionDetails}).Error())
	case *log.EventEntryAdded: // broken policies, and resources that didn't come
		if e.Entry.Level == log.EntryLevelError || e.Entry.Level == log.EntryLevelWarning {
			p.problems = append(p.problems, strings.TrimSpace(e.Entry.Text+" "+e.Entry.URL))
		}
	case *page.EventJavascriptDialogOpening:
		p.problems = append(p.problems, "a dialog: "+e.Message)
	case *network.EventRequestWillBeSent:
		p.answered(e.RequestID, e.RedirectResponse)
		if e.Request.Method == http.MethodPost {
			var body []byte
			for _, part := range e.Request.PostDataEntries {
				body = append(body, part.Bytes...)
			}
			form, _ := url.ParseQuery(string(body)) // what isn't a form has no fields
			p.posts = append(p.posts, &Post{id: e.RequestID, Form: form})
		}
	case *network.EventResponseReceived:
		p.answered(e.RequestID, e.Response)
		if e.Type == network.ResourceTypeDocument {
			p.status = int(e.Response.Status)
		}
	case *page.EventFrameNavigated:
		if e.Frame.ParentID == "" {
			p.commits++
			p.at, p.document = e.Frame.URL, e.Frame.LoaderID
		}
	case *page.EventLifecycleEvent:
		if e.Name == "load" && e.LoaderID == p.document {
			p.loaded = e.LoaderID
		}
	default:
		return
	}
	close(p.changed)
	p.changed = make(chan struct{})
}

// answered notes the status of a post. The caller holds the lock.
func (p *Page) answered(id network.RequestID, with *network.Response) {
	for _, x := range p.posts {
		if x.id == id && with != nil && x.Status == 0 {
			x.Status = int(with.Status)
		}
	}
}

// Post is a form that the page sent.
type Post struct {
	id     network.RequestID
	Form   url.Values
	Status int // of the answer, a redirect's too
}

// Posts returns what the page has sent and got an answer to since the last call.
func (p *Page) Posts() (out []Post) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, x := range p.posts {
		if x.Status != 0 {
			out = append(out, *x)
		}
	}
	p.posts = nil
	return out
}

// Always runs a script in each document that comes, before the document's own.
func (p *Page) Always(script string) {
	p.t.Helper()
	send(p, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: script})
}

// Refuse has the network answer whatever fits a pattern (* and ?) with 204, so that who goes there stays where they are. It goes on until the page is
// closed.
func (p *Page) Refuse(pattern string) {
	p.t.Helper()
	asked := chromedp.Events(p.ctx, fetch.RequestPaused)
	p.answering.Go(func() {
		for e, err := range asked {
			if err != nil {
				return
			}
			_, _ = chromedp.Call(p.ctx, fetch.FulfillRequest, fetch.FulfillRequestParams{RequestID: e.RequestID, ResponseCode: http.StatusNoContent}) // who still waits will say so
		}
	})
	send(p, fetch.Enable, fetch.EnableParams{Patterns: []*fetch.RequestPattern{{URLPattern: pattern}}})
}

// AskFrames calls a JavaScript function in each frame that the document itself holds, in their order.
func AskFrames[T any](p *Page, function string) (out []T) {
	p.t.Helper()
	for _, f := range send(p, page.GetFrameTree, cdp.Empty{}).FrameTree.ChildFrames {
		world := send(p, page.CreateIsolatedWorld, page.CreateIsolatedWorldParams{FrameID: f.Frame.ID, WorldName: "ask"}).ExecutionContextID
		out = append(out, run(p, "ask a frame "+function, chromedp.Evaluate[T]("("+function+")()", func(e *runtime.EvaluateParams) { e.ContextID = world })))
	}
	return out
}

// Close closes the page and its context; the end of the test does it at the latest.
func (p *Page) Close() { p.leave() }

// Problems returns what there was to complain of since the last call.
func (p *Page) Problems() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	defer func() { p.problems = nil }()
	return p.problems
}

// At is the address of the document.
func (p *Page) At() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.at
}

// Give gives the page a cookie for an address.
func (p *Page) Give(c *http.Cookie, address string) {
	p.t.Helper()
	send(p, network.SetCookie, network.SetCookieParams{Name: c.Name, Value: c.Value, URL: address})
}

// Forget takes all cookies away.
func (p *Page) Forget() {
	p.t.Helper()
	send(p, network.ClearBrowserCookies, cdp.Empty{})
}

// Goto opens an address, waits until all of the document is there, and returns the status of its answer.
func (p *Page) Goto(address string) int {
	p.t.Helper()
	p.Await(func() {
		p.t.Helper()
		if got := send(p, page.Navigate, page.NavigateParams{URL: address}); got.ErrorText != "" {
			p.fail("open "+address, errors.New(got.ErrorText))
		}
	})
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.status
}

// Follow clicks on what leads to another document, and waits until all of it is there.
func (p *Page) Follow(selector string) {
	p.t.Helper()
	p.Await(func() { p.t.Helper(); p.Click(selector) })
}

// Await does what leads to another document, and waits until all of it is there.
func (p *Page) Await(act func()) {
	p.t.Helper()
	p.mu.Lock()
	before := p.commits
	p.mu.Unlock()
	act()
	for late := time.After(patience); ; {
		p.mu.Lock()
		there, changed := p.commits > before && p.loaded == p.document, p.changed
		p.mu.Unlock()
		if there {
			return
		}
		select {
		case <-late:
			p.fail("wait for another document", context.DeadlineExceeded)
		case <-changed:
		}
	}
}

// Ask calls a JavaScript function in the page, awaits what it promises, and returns that.
func Ask[T any](p *Page, function string, args ...any) T {
	p.t.Helper()
	return run(p, "ask "+function, call[T](function, args...))
}

func call[T any](function string, args ...any) chromedp.Action[T] {
	words := make([]string, len(args))
	for i, a := range args {
		b, err := json.Marshal(a)
		if err != nil {
			return func(context.Context, *chromedp.Target) (zero T, _ error) { return zero, err }
		}
		words[i] = string(b)
	}
	return chromedp.Evaluate[T]("("+function+")("+strings.Join(words, ",")+")", chromedp.EvalAwaitPromise, func(e *runtime.EvaluateParams) { e.UserGesture = new(true) })
}

// Until waits until a JavaScript function says true, over documents that come meanwhile.
func (p *Page) Until(within time.Duration, function string, args ...any) {
	p.t.Helper()
	p.retry(within, "wait for "+function, func(ctx context.Context) error {
		ok, err := chromedp.Run(ctx, call[bool]("(...x) => !!("+function+")(...x)", args...))
		if err == nil && !ok {
			err = fmt.Errorf("it isn't so with %v", args)
		}
		return err
	})
}

// retry asks again until there is no error: a document that goes away takes its answers along.
func (p *Page) retry(within time.Duration, what string, ask func(context.Context) error) {
	p.t.Helper()
	ctx, stop := context.WithTimeout(p.ctx, within)
	defer stop()
	for {
		err := ask(ctx)
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			p.fail(what, err)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// Shoot writes a picture of the whole page, as PNG.
func (p *Page) Shoot(path string) {
	p.t.Helper()
	if err := os.WriteFile(path, run(p, "take a picture", chromedp.FullScreenshot(100)), 0o600); err != nil {
		p.t.Fatal(err)
	}
}

// run does a step, and fails the test if it fails or takes too long.
func run[T any](p *Page, what string, step chromedp.Action[T]) T {
	p.t.Helper()
	ctx, stop := context.WithTimeout(p.ctx, patience)
	defer stop()
	v, err := chromedp.Run(ctx, step)
	if err != nil {
		p.fail(what, err)
	}
	return v
}

// send sends a command of the protocol to the page.
func send[P, R any](p *Page, c cdp.Command[P, R], params P) R {
	p.t.Helper()
	return run(p, c.Method, func(ctx context.Context, t *chromedp.Target) (R, error) { return cdp.Call(ctx, t, c, params) })
}

// fail ends the test, and says what a person would have seen.
func (p *Page) fail(what string, err error) {
	p.t.Helper()
	ctx, stop := context.WithTimeout(p.ctx, time.Second)
	defer stop()
	seen, _ := chromedp.Run(ctx, chromedp.Evaluate[string](`document.body.innerText.slice(0, 500)`))
	p.t.Fatalf("%s: %v\nat %s: %q\n%s", what, err, p.At(), p.Problems(), seen)
}
