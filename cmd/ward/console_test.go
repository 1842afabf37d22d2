package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/wardhq/ward/cmd/ward/internal/cli"
	"github.com/wardhq/ward/internal/wardtest"
)

// opened runs 'ward console' until the test ends, and returns its link.
func opened(t *testing.T, w *wardtest.World, args ...string) *url.URL {
	t.Helper()
	return openedWith(t, w, append([]string{"--no-open"}, args...)...)
}

func openedWith(t *testing.T, w *wardtest.World, args ...string) *url.URL {
	t.Helper()
	return printed(t, typing(t, w, strings.NewReader(""), args...))
}

// typing runs 'ward console' until the test ends, with what is typed, and returns what it prints.
func typing(t *testing.T, w *wardtest.World, in io.Reader, args ...string) *bufio.Reader {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	r, out := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		root := newRoot(cli.Env{In: in, Out: out, Err: io.Discard})
		root.SetArgs(append([]string{"console", "-f", w.File}, args...))
		_ = out.CloseWithError(root.ExecuteContext(ctx))
	}()
	t.Cleanup(func() { stop(); _ = r.Close(); <-done })
	return bufio.NewReader(r)
}

// printed is the link of the next line.
func printed(t *testing.T, r *bufio.Reader) *url.URL {
	t.Helper()
	line, err := r.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// TestTheConsoleShowsAndActs: a link, a browser's cookie, an attack on the map, and a service cut off from its page; all of it in the ledger.
func TestTheConsoleShowsAndActs(t *testing.T) {
	t.Parallel()
	w := wardtest.Start(t, twoServices, nil)
	u := opened(t, w)
	if !strings.HasPrefix(u.Host, "127.") || strings.HasPrefix(u.Host, "127.0.0.1:") {
		t.Errorf("at %s, where other programs' cookies are", u.Host)
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	browser := &http.Client{Jar: jar}
	base := "http://" + u.Host
	page := func(path string) string {
		resp, err := browser.Get(base + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(resp.StatusCode) + string(b)
	}
	if got := page("/"); !strings.HasPrefix(got, "403") || strings.Contains(got, "catalog") {
		t.Errorf("without a link: %.200s", got)
	}
	if got := page(u.RequestURI()); !strings.HasPrefix(got, "200") {
		t.Fatalf("by the link: %.200s", got)
	}
	for _, path := range []string{"/services/web", "/findings", "/traces", "/logs", "/audit", "/posture"} {
		if got := page(path); !strings.HasPrefix(got, "200") {
			t.Errorf("%s: %.300s", path, got)
		}
	}
	w.Get("/call?url=http://catalog:8080/books/1&url=http://catalog:8080/admin")
	wardtest.Eventually(t, "the refused call is on the map", func() bool { return strings.Contains(page("/"), "web → catalog: refused") })
	token := regexp.MustCompile(`name="token" value="([^"]+)"`).FindStringSubmatch(page("/services/catalog"))
	if token == nil {
		t.Fatal("no token on the page")
	}
	act := func(site string) int {
		r, err := http.NewRequest(http.MethodPost, base+"/answers/quarantine", strings.NewReader(url.Values{"token": {token[1]}, "service": {"catalog"}, "reason": {"a look"}}.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Sec-Fetch-Site", site)
		resp, err := browser.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		return resp.StatusCode
	}
	if got := act("cross-site"); got != 403 {
		t.Errorf("from another site: %d", got)
	}
	if _, out, _ := say("answers", "-f", w.File); strings.Contains(out, "catalog") {
		t.Errorf("another site cut it off: %s", out)
	}
	if got := act("same-origin"); got != 200 {
		t.Errorf("from its page: %d", got)
	}
	if _, out, _ := say("answers", "-f", w.File); !strings.Contains(out, "catalog") {
		t.Errorf("answers: %s", out)
	}
	for kind, who := range map[string]string{"console.link": "admin", "console.entered": "admin", "console.act": "admin", "console.refused": "admin"} {
		if _, out, _ := say("audit", "--kind", kind, "-f", w.File); !strings.Contains(out, who) {
			t.Errorf("%s isn't in the ledger: %s", kind, out)
		}
	}
}

// TestTheConsolesListenerLeadsNowhereElse: no other name, and nothing of the administrators' API, which asks for nobody.
func TestTheConsolesListenerLeadsNowhereElse(t *testing.T) {
	t.Parallel()
	w := wardtest.Start(t, twoServices, nil)
	if code, _, errs := say("console", "--listen", "0.0.0.0:0", "-f", w.File); code != 2 || !strings.Contains(errs, "an address of this machine alone") {
		t.Errorf("%d %s", code, errs)
	}
	if code, _, errs := say("console", "--no-open", "--role", "root", "-f", w.File); code == 0 || !strings.Contains(errs, "viewer, operator or administrator") {
		t.Errorf("%d %s", code, errs)
	}
	u := opened(t, w, "--role", "viewer")
	ask := func(target, host string) (int, string) {
		conn, err := net.Dial("tcp", u.Host)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_, _ = fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", target, host) // an error shows below
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body) // what came is enough
		return resp.StatusCode, string(b)
	}
	for _, host := range []string{"rebound.example", "rebound.example:80", "localhost.example", ""} {
		if code, _ := ask(u.RequestURI(), host); code != 421 {
			t.Errorf("asked as %q: %d", host, code)
		}
	}
	for _, target := range []string{"/v1/plan", "/../v1/plan", "/%2e%2e/v1/plan", "/..%2fv1/plan", "//v1/plan", "/static/../../v1/plan", "/console/../../v1/plan", "/./../v1/plan", `/..\v1\plan`} {
		if code, body := ask(target, "localhost"); code/100 == 2 || code/100 == 3 || strings.Contains(body, "trust_domain") {
			t.Errorf("%s: %d %.200s", target, code, body)
		}
	}
	if code, _ := ask(u.RequestURI(), "localhost"); code != 200 {
		t.Errorf("by the link: %d", code)
	}
	if code, _ := ask(u.RequestURI(), "localhost"); code != 403 {
		t.Errorf("by the link again: %d", code)
	}
}

// TestEnterMakesAnotherLink for the same listener, which takes the place of the session before.
func TestEnterMakesAnotherLink(t *testing.T) {
	t.Parallel()
	w := wardtest.Start(t, twoServices, nil)
	in, keys := io.Pipe()
	defer keys.Close()
	lines := typing(t, w, in, "--no-open")
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	browser := &http.Client{Jar: jar}
	var first *url.URL
	for range 2 {
		u := printed(t, lines)
		if first == nil {
			first = u
		} else if u.Host != first.Host || u.RawQuery == first.RawQuery {
			t.Errorf("first %s, then %s", first, u)
		}
		for _, path := range []string{u.RequestURI(), "/findings"} {
			resp, err := browser.Get("http://" + u.Host + path)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != http.StatusOK {
				t.Errorf("%s: status %d", path, resp.StatusCode)
			}
		}
		if _, err := io.WriteString(keys, "\n"); err != nil {
			t.Fatal(err)
		}
	}
}

// TestTheConsolesLinkIsInNoArgument: everybody on a machine can read the arguments of programs, and would be the first to use the link.
func TestTheConsolesLinkIsInNoArgument(t *testing.T) {
	w := wardtest.Start(t, twoServices, nil)
	bin := t.TempDir()
	seen := filepath.Join(bin, "seen")
	script := "#!/bin/sh\n{ printf '%s\\n' \"$@\"; stat -c %a \"$1\"; cat \"$1\"; } > " + seen + ".new && mv " + seen + ".new " + seen + "\n"
	if err := os.WriteFile(filepath.Join(bin, "xdg-open"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	var link *url.URL
	t.Run("open", func(t *testing.T) {
		link = openedWith(t, w)
		wardtest.Eventually(t, "a browser is opened", func() bool { _, err := os.Stat(seen); return err == nil })
	})
	b, err := os.ReadFile(seen)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitN(string(b), "\n", 3)
	if strings.Contains(lines[0], "link") || lines[1] != "600" || !strings.Contains(lines[2], link.Query().Get("link")) {
		t.Errorf("%q", lines)
	}
	if _, err := os.Stat(lines[0]); err == nil {
		t.Error("the file stays")
	}
}
