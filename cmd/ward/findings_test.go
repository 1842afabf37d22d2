package main

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wardhq/ward/internal/cap/watch"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/wardtest"
)

// openToBlocks is twoServices with a gateway that may block addresses of this machine, but for the one that tests ask from.
const openToBlocks = twoServices + "watch: {never_block: 127.0.0.1}\n"

// from is a client with an address of its own.
func from(address string) *http.Client {
	d := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}, Timeout: 5 * time.Second}
	return &http.Client{
		Timeout: 10 * time.Second, Transport: &http.Transport{DialContext: d.DialContext, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// statusOf returns the status, 0 for no answer.
func statusOf(t *testing.T, c *http.Client, url string) int {
	t.Helper()
	resp, err := c.Get(url)
	if err != nil {
		t.Log(err)
		return 0
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}

// found are the open findings by rule.
func found(t *testing.T, file string) map[string]watch.Finding {
	t.Helper()
	code, out, errs := say("findings", "--json", "-f", file)
	var all []watch.Finding
	if err := json.Unmarshal([]byte(out), &all); err != nil || code != 0 {
		t.Fatalf("findings: %d %v %s %s", code, err, out, errs)
	}
	by := map[string]watch.Finding{}
	for _, f := range all {
		by[f.Rule] = f
	}
	return by
}

func TestWhatTheModelDoesntDeclareIsFound(t *testing.T) {
	t.Parallel()
	w := wardtest.Start(t, twoServices, nil)
	for range 3 {
		w.Get("/call?url=http://catalog:8080/admin")
	}
	var f watch.Finding
	wardtest.Eventually(t, "the undeclared call is found", func() bool {
		f = found(t, w.File)["denied-call"]
		return f.Count >= 3
	})
	if f.Subject != "web" || f.Object != "catalog GET /admin" || f.Severity.String() != "high" || len(f.Evidence) != 1 {
		t.Errorf("%+v", f)
	}
	wardtest.Eventually(t, "its trace is kept", func() bool { return len(found(t, w.File)["denied-call"].Traces) > 0 })
	if _, out, errs := say("traces", found(t, w.File)["denied-call"].Traces[0], "-f", w.File); !strings.Contains(out, "web → catalog") {
		t.Errorf("%s %s", out, errs)
	}
	if _, out, errs := say("top", "--once", "-f", w.File); !strings.HasPrefix(out, "1 finding open, the worst high: web called catalog: GET /admin.") {
		t.Errorf("%s %s", out, errs)
	}
	code, out, errs := say("findings", fmt.Sprint(f.ID), "-f", w.File)
	for _, want := range []string{"web faces the Internet", "GET /admin", "to allow it", "(record ", fmt.Sprintf("What to do if it is right: `ward findings allow %d`", f.ID), "ward answers quarantine web"} {
		if !strings.Contains(out, want) {
			t.Errorf("%d %s lacks %q in\n%s", code, errs, want, out)
		}
	}
	if _, out, errs := say("findings", "allow", fmt.Sprint(f.ID), "-f", w.File); !strings.Contains(out, "+    calls: {catalog: [GET /books/**, GET /exit, GET /admin]}") {
		t.Errorf("the change that allows it: %s %s", out, errs)
	}
	if code, _, errs := say("findings", "silence", fmt.Sprint(f.ID), "-f", w.File); code != 2 || !strings.Contains(errs, "reason") {
		t.Errorf("a silence without a reason: %d %s", code, errs)
	}
	if code, _, errs := say("findings", "silence", fmt.Sprint(f.ID), "--for", "1h", "--reason", "known", "-f", w.File); code != 0 {
		t.Fatal(errs)
	}
	if f = found(t, w.File)["denied-call"]; f.Silenced.IsZero() {
		t.Error("it isn't silenced")
	}
	if _, out, _ := say("findings", "-f", w.File); !strings.Contains(out, "(silenced) web called catalog") {
		t.Error(out)
	}
	if code, _, errs := say("findings", "close", fmt.Sprint(f.ID), "--note", "seen", "-f", w.File); code != 0 {
		t.Fatal(errs)
	}
	w.Get("/call?url=http://catalog:8080/admin")
	wardtest.Eventually(t, "it comes again as a new one", func() bool { return found(t, w.File)["denied-call"].ID > f.ID })
	if _, out, _ := say("audit", "--kind", "finding", "-f", w.File); !strings.Contains(out, "finding.closed") || !strings.Contains(out, "finding.silenced") {
		t.Error(out)
	}
}

func TestWhoSearchesForHolesIsBlocked(t *testing.T) {
	t.Parallel()
	for name, attack := range map[string]struct {
		path func(i int) string
		rule string
	}{
		"routes that are guessed":  {func(i int) string { return fmt.Sprintf("/guess-%d", i) }, "undeclared-routes"},
		"a file of secrets":        {func(int) string { return "/.env" }, "honey-path"},
		"SQL in a declared route":  {func(i int) string { return fmt.Sprintf("/call?id=%d%%27%%20OR%%201%%3D1--", i) }, "payload"},
		"a path out of the folder": {func(i int) string { return fmt.Sprintf("/x%d?file=../../../../etc/passwd", i) }, "payload"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := wardtest.Start(t, openToBlocks, nil)
			c := from("127.0.0.66")
			blocked := func() bool { return statusOf(t, c, w.URL+"/call") == http.StatusTooManyRequests }
			for i := range 25 {
				statusOf(t, c, w.URL+attack.path(i))
			}
			wardtest.Eventually(t, "the client is blocked", blocked)
			f := found(t, w.File)[attack.rule]
			if f.Subject != "outside" || len(f.Evidence) != 1 || f.Evidence[0].Client != "127.0.0.66/32" {
				t.Errorf("%+v", f)
			}
			if code, _ := w.Get("/call"); code == http.StatusTooManyRequests {
				t.Error("others are blocked too")
			}
			if _, out, _ := say("answers", "-f", w.File); !strings.Contains(out, "127.0.0.66 is blocked") {
				t.Fatal(out)
			}
			wardtest.Eventually(t, "the block is undone", func() bool {
				_, out, _ := say("answers", "-f", w.File)
				for _, id := range regexp.MustCompile(`(?m)^a-\S+`).FindAllString(out, -1) { // more than once, where some requests are looked at after the first time
					if code, _, errs := say("answers", "lift", id, "-f", w.File); code != 0 {
						t.Fatal(errs)
					}
				}
				return !blocked()
			})
			if _, out, _ := say("audit", "--kind", "answer", "-f", w.File); !strings.Contains(out, "answer.given") || !strings.Contains(out, "answer.lifted") {
				t.Error(out)
			}
		})
	}
}

// TestNobodyIsBlockedWhereNoneMayBe attacks with the answer off: by the rule's mode, and for addresses that are never blocked.
func TestNobodyIsBlockedWhereNoneMayBe(t *testing.T) {
	t.Parallel()
	for name, yaml := range map[string]string{
		"the rule observes":     twoServices + "watch: {never_block: 127.0.0.1, rules: {honey-path: observe}}\n",
		"the network is spared": twoServices + "watch: {never_block: 127.0.0.0/8}\n",
		"addresses are private": twoServices,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := wardtest.Start(t, yaml, nil)
			c := from("127.0.0.66")
			statusOf(t, c, w.URL+"/.env")
			wardtest.Eventually(t, "it is found", func() bool { return found(t, w.File)["honey-path"].Count > 0 })
			if _, out, _ := say("answers", "-f", w.File); !strings.Contains(out, "nobody is blocked") {
				t.Error(out)
			}
			_, rules, _ := say("findings", "rules", "-f", w.File)
			if observes := regexp.MustCompile(`honey-path +high +none \(observe\)`).MatchString(rules); observes != (name == "the rule observes") || !strings.Contains(rules, "This is in force.") {
				t.Error(rules)
			}
		})
	}
}

// TestBrowsersAndCrawlersArentFound asks for what programs ask for by themselves.
func TestBrowsersAndCrawlersArentFound(t *testing.T) {
	t.Parallel()
	w := wardtest.Start(t, openToBlocks, nil)
	c := from("127.0.0.66")
	for _, path := range []string{
		"/favicon.ico", "/robots.txt", "/sitemap.xml", "/apple-touch-icon.png", "/apple-touch-icon-precomposed.png", "/.well-known/security.txt", "/.well-known/change-password", "/manifest.json",
		"/browserconfig.xml", "/feed", "/index.html", "/ads.txt", "/app.js.map", "/typo", "/typo", "/old-link", "/call?q=rock+%26+roll", "/call?q=it%27s+me+%28again%29", "/call?q=O%27Brien+%2B+1", "/call?q=a%3Cb+or+c%3Ed",
		"/call?q=select+a+book+from+the+shelf", "/call?next=https%3A%2F%2Fexample.com%2Fa", "/call?q=%22union+jack%22", "/call?date=2026-01-01T00:00:00%2B02:00",
	} {
		statusOf(t, c, w.URL+path)
	}
	for range 5 { // an image on somebody's page
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.URL+"/.env", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Sec-Fetch-Site", "cross-site")
		resp, err := c.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
	statusOf(t, c, w.URL+"/.env") // and this one is found
	wardtest.Eventually(t, "the last one is found", func() bool { return len(found(t, w.File)) > 0 })
	if all := found(t, w.File); len(all) != 1 || all["honey-path"].Count != 1 {
		t.Errorf("%+v", all)
	}
}

func TestAServiceInQuarantineReachesNobody(t *testing.T) {
	t.Parallel()
	w := wardtest.Start(t, twoServices, nil)
	call := "/call?url=http://catalog:8080/books/1"
	works := func() bool {
		code, a := w.Get(call)
		return code == http.StatusOK && strings.Contains(fmt.Sprint(a), "catalog")
	}
	wardtest.Eventually(t, "web may call catalog", works)
	if code, _, errs := say("answers", "quarantine", "nobody", "-f", w.File); code == 0 || !strings.Contains(errs, "no service of this name") {
		t.Errorf("%d %s", code, errs)
	}
	code, out, errs := say("answers", "quarantine", "catalog", "--reason", "it behaves oddly", "-f", w.File)
	if code != 0 {
		t.Fatal(errs)
	}
	start := time.Now()
	wardtest.Eventually(t, "nobody reaches it", func() bool {
		_, a := w.Get(call)
		return strings.Contains(fmt.Sprint(a), "quarantine")
	})
	if took := time.Since(start); took > time.Second {
		t.Logf("it took %s until the quarantine was in force", took)
	}
	id, _, _ := strings.Cut(out, " ")
	if code, _, errs := say("answers", "lift", id, "-f", w.File); code != 0 {
		t.Fatal(errs)
	}
	wardtest.Eventually(t, "web may call catalog again", works)
	if code, _, errs := say("answers", "quarantine", "web", "--reason", "it, too", "-f", w.File); code != 0 {
		t.Fatal(errs)
	}
	var said string
	wardtest.Eventually(t, "the outside doesn't reach web", func() bool {
		status, body := ask(t, w, "/")
		said = body
		return status == http.StatusServiceUnavailable
	})
	if strings.Contains(said, "quarantine") || strings.Contains(said, "web") || !strings.Contains(said, "available") {
		t.Errorf("a stranger hears %q", said)
	}
}

// TestAnswersOutliveControl, and so does what was found.
func TestAnswersOutliveControl(t *testing.T) {
	t.Parallel()
	w := wardtest.Start(t, openToBlocks, nil)
	c := from("127.0.0.66")
	statusOf(t, c, w.URL+"/.git/config")
	wardtest.Eventually(t, "the client is blocked", func() bool { return statusOf(t, c, w.URL+"/call") == http.StatusTooManyRequests })
	f := found(t, w.File)["honey-path"]
	for _, r := range w.Status().Roles {
		if r.Name == "control" {
			if err := syscall.Kill(r.PID, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
		}
	}
	wardtest.Eventually(t, "control is back", func() bool {
		code, out, _ := say("answers", "-f", w.File)
		return code == 0 && strings.Contains(out, "127.0.0.66 is blocked")
	})
	if code := statusOf(t, from("127.0.0.66"), w.URL+"/call"); code != http.StatusTooManyRequests {
		t.Errorf("it is let in: %d", code)
	}
	if got := found(t, w.File)["honey-path"]; got.ID != f.ID {
		t.Errorf("finding %d became %d", f.ID, got.ID)
	}
}

// TestAConnectionPastWardIsFound with its address, whatever the port: those that the service may use, and others.
func TestAConnectionPastWardIsFound(t *testing.T) {
	t.Parallel()
	w := wardtest.Start(t, twoServices, nil)
	w.Get("/call?url=http://catalog:8080/books/1") // what is declared is no sign
	if f, ok := found(t, w.File)["direct-connect"]; ok {
		t.Errorf("%+v", f)
	}
	addresses := []string{"192.0.2.1:8080", "192.0.2.1:4443", "[2001:db8::1]:8080", "127.0.0.1:6379"}
	for _, a := range addresses {
		w.Get("/call?url=http://" + a + "/")
	}
	wardtest.Eventually(t, "they are found", func() bool {
		_, out, _ := say("audit", "--kind", "flag.connect", "-f", w.File)
		return !slices.ContainsFunc(addresses, func(a string) bool { return !strings.Contains(out, a) })
	})
	wardtest.Eventually(t, "it is a finding", func() bool {
		_, out, _ := say("findings", "-f", w.File)
		return strings.Contains(out, "web wanted to connect to [2001:db8::1]:8080, past Ward") && strings.Contains(out, "web wanted to connect to 127.0.0.1:6379, where nothing")
	})
	if _, out, _ := say("answers", "-f", w.File); !strings.Contains(out, "nobody is blocked") {
		t.Error(out)
	}
}

// TestADatagramPastWardIsFound by the kernel's count of missing routes.
func TestADatagramPastWardIsFound(t *testing.T) {
	t.Parallel()
	w := wardtest.Start(t, strings.Replace(twoServices, "GET /call,", "GET /call, GET /send,", 1), nil)
	if status, said := ask(t, w, "/send", "to", "192.0.2.1:53"); status != http.StatusUnprocessableEntity {
		t.Errorf("it isn't refused: %d %s", status, said)
	}
	wardtest.Eventually(t, "it is found", func() bool {
		f := found(t, w.File)["direct-connect"]
		return f.Subject == "web" && f.Severity.String() == "high" && strings.Contains(f.What, "which one isn't known")
	})
}

// TestAWriteToWhatIsReadOnlyIsFound: a program of the service's, by its name and by a link to it. What the service may write is no sign.
func TestAWriteToWhatIsReadOnlyIsFound(t *testing.T) {
	t.Parallel()
	w := wardtest.Start(t, strings.Replace(twoServices, "GET /call,", "GET /call, GET /write,", 1), nil)
	write := func(path string) int {
		status, _ := ask(t, w, "/write", "path", path)
		return status
	}
	got := []int{write("/tmp/mine"), write("/dev/null"), write("/nowhere/at/all")}
	if !slices.Equal(got, []int{http.StatusOK, http.StatusOK, http.StatusNotFound}) {
		t.Error(got)
	}
	if _, out, _ := say("audit", "--kind", "flag.write", "-f", w.File); strings.Contains(out, "flag.write") {
		t.Errorf("what may be written, or isn't there, is a sign:\n%s", out)
	}
	if got := []int{write("./toy"), write("index.html")}; !slices.Equal(got, []int{http.StatusUnprocessableEntity, http.StatusUnprocessableEntity}) {
		t.Errorf("they aren't refused: %d", got)
	}
	wardtest.Eventually(t, "it is found", func() bool {
		f := found(t, w.File)["denied-write"]
		return f.Subject == "web" && f.Count == 2 && f.Severity.String() == "medium" && strings.Contains(f.What, "/index.html, which web may only read")
	})
}

// TestAnAttemptToLeaveTheSandboxIsFound within five seconds: another process, a mount, raw packets.
func TestAnAttemptToLeaveTheSandboxIsFound(t *testing.T) {
	w := wardtest.Start(t, strings.Replace(twoServices, "GET /call,", "GET /call, GET /intrude,", 1), nil)
	w.Get("/call?url=http://catalog:8080/books/1") // an ordinary start, of which nothing is found
	if f, ok := found(t, w.File)["bypass"]; ok {
		t.Errorf("a Go service tried %+v", f)
	}
	start := time.Now()
	resp, err := wardtest.Client().Get(w.URL + "/intrude")
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if want := "operation not permitted, operation not permitted, protocol not supported\n"; err != nil || string(b) != want {
		t.Errorf("the intruder hears %q %v", b, err)
	}
	tried := func() (n int) {
		_, out, _ := say("findings", "-f", w.File)
		return strings.Count(out, "A program in web asked the kernel for ")
	}
	wardtest.Eventually(t, "all are found", func() bool { return tried() == 3 })
	took := time.Since(start)
	if t.Logf("found after %s", took); took > mostToFind {
		t.Error("that is too late")
	}
	if f := found(t, w.File)["bypass"]; f.Subject != "web" || f.Severity.String() != "high" || !strings.Contains(f.What, "web asked the kernel for ") {
		t.Errorf("%+v", f)
	}
	_, out, _ := say("audit", "--kind", "flag.syscall", "-f", w.File)
	for _, what := range []string{"ptrace: another process", "mount: other files", "socket: raw packets"} {
		if strings.Count(out, what) != 1 {
			t.Errorf("%q isn't once in the audit trail:\n%s", what, out)
		}
	}
}

// TestWhoKeepsAnswersWaitingIsFound: slowhttptest -X as it looks to the gateway, for the tool's own small window doesn't outlive the way out of its
// sandbox.
func TestWhoKeepsAnswersWaitingIsFound(t *testing.T) {
	w := wardtest.Start(t, strings.Replace(openToBlocks, "GET /call,", "GET /call, GET /file,", 1), nil)
	keep := func(address string, window, n int) {
		d := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}, NetDialer: &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}, Control: func(_, _ string, c syscall.RawConn) error {
			return c.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, window) }) // with another, the test fails
		}}}
		var all sync.WaitGroup
		for range n {
			all.Go(func() {
				c, err := d.DialContext(t.Context(), "tcp", strings.TrimPrefix(w.URL, "https://"))
				if err != nil {
					t.Error(err)
					return
				}
				t.Cleanup(func() { c.Close() })
				if _, err := fmt.Fprintf(c, "GET /file?path=toy HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
					t.Error(err)
				}
				if _, err := io.ReadFull(c, make([]byte, 5)); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
	}
	keep("127.0.0.67", 1<<20, 25) // browsers that have stopped a film
	keep("127.0.0.68", 1, 15)     // some slow ones
	keep("127.0.0.66", 1, 25)     // which takes seconds itself: so small a window makes TLS slow
	start := time.Now()
	wardtest.Eventually(t, "the client is blocked", func() bool { return statusOf(t, from("127.0.0.66"), w.URL+"/call") == http.StatusTooManyRequests })
	if took := time.Since(start); took > mostToFind+mostToBlock {
		t.Errorf("it was closed out after %s", took)
	}
	if f := found(t, w.File)["slow-requests"]; len(f.Evidence) != 1 || f.Evidence[0].Client != "127.0.0.66/32" {
		t.Errorf("%+v", f)
	}
}

// TestTheTrapIsFound: a program in a sandbox uses what it finds in its environment.
func TestTheTrapIsFound(t *testing.T) {
	t.Parallel()
	open := strings.Replace(twoServices, "GET /call,", "GET /call, GET /env,", 1)
	for name, tt := range map[string]struct{ yaml, rule, answers string }{
		"by default": {open, "canary", "web is in quarantine"},
		"off":        {open + "watch: {canaries: off}\n", "undeclared-name", "nobody is blocked"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := wardtest.Start(t, tt.yaml, nil)
			resp, err := wardtest.Client().Get(w.URL + "/env?name=" + plan.CanaryEnv)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			url, _ := io.ReadAll(resp.Body)
			if tt.rule == "canary" != strings.Contains(string(url), "@"+plan.CanaryPrefix) || strings.Contains(string(url), "backup_admin:") && !strings.Contains(string(url), "backup_admin:****") {
				t.Errorf("the environment, as it left: %s", url)
			}
			_, host, _ := strings.Cut(string(url), "@")
			if tt.rule != "canary" {
				host = plan.CanaryPrefix + "guessed" + plan.CanarySuffix + ":5432/backup"
			}
			w.Get("/call?url=http://" + strings.TrimSuffix(host, "\n"))
			wardtest.Eventually(t, "the lookup is found, and answered", func() bool {
				_, out, _ := say("answers", "-f", w.File)
				return found(t, w.File)[tt.rule].Count > 0 && strings.Contains(out, tt.answers)
			})
		})
	}
}
