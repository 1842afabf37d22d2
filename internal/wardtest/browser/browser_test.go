package browser

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// site serves one page, and says what was asked for and sent.
func site(t *testing.T, html string, policy string) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", policy)
		w.Header().Set("Content-Type", "text/html")
		switch r.URL.Path {
		case "/":
			fmt.Fprint(w, html)
		case "/slow": // its picture comes late
			fmt.Fprint(w, `<title>slow</title><img src="/late.png" alt="">`)
		case "/late.png":
			time.Sleep(300 * time.Millisecond)
		default:
			w.WriteHeader(http.StatusTeapot)
			fmt.Fprintf(w, `<title>other</title><p>%s %s %s</p>`, r.FormValue("name"), r.Header.Get("Cookie"), r.Header.Get("Accept-Language"))
		}
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// TestWhatThereIsToComplainOf: whatever a page does wrong is noted, once, and by the page that did it.
func TestWhatThereIsToComplainOf(t *testing.T) {
	t.Parallel()
	p := Start(t).Open(t, Look{})
	for name, c := range map[string]struct{ html, policy, want string }{
		"an exception":     {`<script>null.x</script>`, "", "Cannot read properties of null"},
		"a broken promise": {`<script>Promise.reject(new Error("no"))</script>`, "", "Error: no"},
		"a broken policy":  {`<script>1</script>`, "script-src 'self'", "Content Security Policy"},
		"trusted types":    {`<script nonce=a>try { document.body.innerHTML = "x" } catch {}</script>`, "script-src 'nonce-a'; require-trusted-types-for 'script'", "TrustedHTML"},
		"an error":         {`<script>console.error("oh", {}, "dear")</script>`, "", "oh Object dear"},
		"a warning":        {`<script>console.warn("oh")</script>`, "", "oh"},
		"what isn't there": {`<img src=/nothing alt="">`, "", "418"},
		"a dialog":         {`<script>alert("hey")</script>`, "", "a dialog: hey"},
	} {
		p.Goto(site(t, "<!doctype html><html lang=en><link rel=icon href=data:,><title>x</title><body>"+c.html, c.policy))
		got := p.Problems()
		for end := time.Now().Add(10 * time.Second); len(got) == 0 && time.Now().Before(end); time.Sleep(10 * time.Millisecond) { // a rejection is told of after the page has loaded
			got = p.Problems()
		}
		if len(got) != 1 || !strings.Contains(got[0], c.want) {
			t.Errorf("%s: %q", name, got)
		}
		if again := p.Problems(); len(again) != 0 {
			t.Errorf("%s: again %q", name, again)
		}
	}
	p.Goto(site(t, `<link rel=icon href=data:,><script>console.log("fine")</script>`, ""))
	if got := p.Problems(); len(got) != 0 {
		t.Errorf("a page without fault: %q", got)
	}
}

// TestActsLikeAPerson: what a person couldn't hit isn't clicked, what is clicked leads on, and what is typed arrives.
func TestActsLikeAPerson(t *testing.T) {
	t.Parallel()
	b := Start(t)
	home := site(t, `<!doctype html><title>x</title><style>#lid { position: fixed; inset: 0 0 auto; height: 60px } #low { margin-top: 3000px }</style>
<a id=covered href=/other>covered</a><div id=lid></div><a id=hidden hidden href=/other>hidden</a><button id=off disabled>off</button><p style="height: 60px">
<p><a id=slow href=/slow>slow</a>
<form id=low action=/sent><input name=name value=before><button>send</button></form>`, "")
	for _, plain := range []bool{false, true} {
		p := b.Open(t, Look{Plain: plain, Language: "de"})
		p.Give(&http.Cookie{Name: "a", Value: "b"}, home)
		if status := p.Goto(home); status != http.StatusOK {
			t.Errorf("status %d", status)
		}
		for selector, want := range map[string]string{"#covered": "above it lies <div id=\"lid\"", "#hidden": "it isn't seen", "#off": "it is disabled", "#none": "there is none"} {
			if got := Ask[struct{ Why string }](p, aim, selector).Why; !strings.HasPrefix(got, want) {
				t.Errorf("%s: %q", selector, got)
			}
		}
		p.Fill("#low input", "after")
		p.Follow("#low button")
		if at := p.At(); at != home+"/sent?name=after" {
			t.Errorf("at %s", at)
		}
		if text := Ask[string](p, `() => document.body.innerText`); text != "after a=b de" && text != "after a=b de;q=0.9" {
			t.Errorf("sent %q", text)
		}
		p.Forget()
		if status := p.Goto(home + "/other"); status != http.StatusTeapot {
			t.Errorf("status %d", status)
		}
		if text := Ask[string](p, `() => document.body.innerText`); strings.Contains(text, "a=b") {
			t.Errorf("forgot nothing: %q", text)
		}
		p.Goto(home)
		p.Follow("#slow") // waits for the picture
		if !Ask[bool](p, `() => document.readyState === "complete"`) {
			t.Error("it didn't wait for all of the document")
		}
	}
}

// TestLooks: what a page can learn of its reader is what was asked for.
func TestLooks(t *testing.T) {
	t.Parallel()
	b := Start(t)
	secure := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, `<title>x</title><script>globalThis.ran = true</script><p style="color: #eee">pale`)
	}))
	defer secure.Close()
	p := b.Open(t, Look{Trusting: true})
	p.Goto(secure.URL)
	const seen = `() => [innerWidth, matchMedia("(prefers-color-scheme: dark)").matches, matchMedia("(prefers-reduced-motion)").matches, document.hasFocus(), globalThis.ran === true].join()`
	if got := Ask[string](p, seen); got != "1280,false,false,true,true" {
		t.Errorf("at first: %s", got)
	}
	p.Wear(Look{Width: 375, Dark: true, Still: true, Trusting: true})
	if got := Ask[string](p, seen); got != "375,true,true,true,true" {
		t.Errorf("then: %s", got)
	}
	if got := strings.Join(p.Axe(), "\n"); !strings.Contains(got, "color-contrast: <p") || !strings.Contains(got, "html-has-lang") {
		t.Errorf("axe: %s", got)
	}
	plain := b.Open(t, Look{Plain: true, Trusting: true})
	plain.Goto(secure.URL)
	if got := Ask[string](plain, seen); got != "1280,false,false,true,false" {
		t.Errorf("without JavaScript: %s", got)
	}
}

// TestTheNetwork: what was sent is known with its answer, what is to be refused stays away, frames can be asked, and a script can come before the page's own.
func TestTheNetwork(t *testing.T) {
	t.Parallel()
	home := site(t, `<!doctype html><title>x</title><iframe src=/framed></iframe><a href=/other?name=refused>away</a><form method=post action=/sent><input name=name value=posted><button>send</button></form>
<script>document.title = typeof first</script>`, "")
	p := Start(t).Open(t, Look{})
	p.Always(`globalThis.first = 1`)
	p.Refuse("*name=refused")
	p.Goto(home)
	if got := Ask[string](p, `() => document.title`); got != "number" {
		t.Errorf("first is %s", got)
	}
	if got := AskFrames[string](p, `() => location.pathname`); len(got) != 1 || got[0] != "/framed" {
		t.Errorf("frames %q", got)
	}
	p.Click("a")
	p.Until(patience, `() => document.querySelector("a:focus")`)
	if p.At() != home+"/" {
		t.Errorf("at %s", p.At())
	}
	p.Follow("button")
	posts := p.Posts()
	if len(posts) != 1 || posts[0].Form.Get("name") != "posted" || posts[0].Status != http.StatusTeapot {
		t.Errorf("sent %+v", posts)
	}
	if again := p.Posts(); len(again) != 0 {
		t.Errorf("again %+v", again)
	}
}

// TestNothingIsLeft: of the browser there is neither a process nor a file after the test, however hard it was at work.
func TestNothingIsLeft(t *testing.T) {
	t.Parallel()
	var group int
	var home, socket string
	t.Run("a test", func(t *testing.T) {
		b := Start(t)
		for range 3 {
			b.Open(t, Look{}).Goto("data:text/html,<title>x</title>")
		}
		group, home = b.cmd.Process.Pid, b.home
		if left := running(group); len(left) < 3 {
			t.Errorf("its processes are %v", left)
		}
		var err error
		if socket, err = os.Readlink(filepath.Join(home, "SingletonSocket")); err != nil {
			t.Error(err)
		}
	})
	if left := running(group); len(left) != 0 {
		t.Errorf("its processes %v are left", left)
	}
	for _, path := range []string{home, filepath.Dir(socket)} {
		if _, err := os.Stat(path); !os.IsNotExist(err) {
			t.Errorf("%s is left (%v)", path, err)
		}
	}
}
