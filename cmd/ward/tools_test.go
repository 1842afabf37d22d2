package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"html"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wardhq/ward/internal/cap/sandbox"
	"github.com/wardhq/ward/internal/demo"
	"github.com/wardhq/ward/internal/demo/visitor"
	"github.com/wardhq/ward/internal/finding"
	"github.com/wardhq/ward/internal/wardtest"
	"github.com/wardhq/ward/internal/wardtest/need"
)

// The goals: what a tool does is found by its 25th request and within five seconds, and the tool is closed out within one more.
const (
	mostRequests = 25
	mostToFind   = 5 * time.Second
	mostToBlock  = time.Second
)

// relay is the only way from a tool's sandbox to the gateway. The tool has an address of its own there, and no more than mostRequests of its
// requests pass before it is found.
type relay struct {
	address string
	ln      net.Listener
	dial    func(context.Context) (net.Conn, error)
	counts  bool // requests can be told apart; otherwise bytes pass as they are
	found   chan struct{}
	passed  atomic.Int64
	first   atomic.Pointer[time.Time]
	all     sync.WaitGroup
}

// newRelay leads to a gateway from an address. With a host it ends the tool's TLS, to see its requests, and begins it anew to that host.
func newRelay(t *testing.T, gateway, address, host string) *relay {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}, Timeout: 5 * time.Second}
	r := &relay{address: address, ln: ln, counts: host != "", found: make(chan struct{}), dial: func(ctx context.Context) (net.Conn, error) { return d.DialContext(ctx, "tcp", gateway) }}
	if host != "" {
		s := httptest.NewTLSServer(nil) // for its certificate
		r.ln = tls.NewListener(ln, &tls.Config{Certificates: s.TLS.Certificates})
		s.Close()
		secure := tls.Dialer{NetDialer: d, Config: &tls.Config{InsecureSkipVerify: true, ServerName: host}}
		r.dial = func(ctx context.Context) (net.Conn, error) { return secure.DialContext(ctx, "tcp", gateway) }
	}
	ctx, cancel := context.WithCancel(t.Context())
	r.all.Go(func() {
		for {
			c, err := r.ln.Accept()
			if err != nil {
				return
			}
			r.all.Go(func() { r.pass(ctx, c) })
		}
	})
	t.Cleanup(func() {
		cancel()
		ln.Close()
		r.all.Wait()
	})
	return r
}

// let counts a request, and waits with one too many until the tool is found.
func (r *relay) let(ctx context.Context, b []byte) bool {
	if !bytes.Contains(b, []byte(" HTTP/1.")) || r.passed.Add(1) <= mostRequests {
		return true
	}
	select {
	case <-r.found:
		return true
	case <-ctx.Done():
		return false
	}
}

func (r *relay) port() int { return r.ln.Addr().(*net.TCPAddr).Port }

// pass leads one connection to the gateway.
func (r *relay) pass(ctx context.Context, c net.Conn) {
	defer c.Close()
	if tc, ok := c.(*tls.Conn); ok && tc.HandshakeContext(ctx) != nil {
		return // a look at the port alone
	}
	up, err := r.dial(ctx)
	if err != nil {
		return
	}
	defer up.Close()
	stop := context.AfterFunc(ctx, func() { c.Close(); up.Close() })
	defer stop()
	now := time.Now()
	r.first.CompareAndSwap(nil, &now)
	r.all.Go(func() {
		_, _ = io.Copy(c, up) // either side may go
		c.Close()
	})
	buf := make([]byte, 64<<10)
	for {
		n, err := c.Read(buf)
		for rest := buf[:n]; len(rest) > 0 && r.counts; {
			one := rest
			if end := bytes.Index(rest, []byte("\r\n\r\n")); end >= 0 {
				one = rest[:end+4]
			}
			rest = rest[len(one):]
			if !r.let(ctx, one) {
				return
			}
			if _, err := up.Write(one); err != nil {
				return
			}
			n = 0
		}
		if _, err2 := up.Write(buf[:n]); err != nil || err2 != nil {
			return
		}
	}
}

// inSandbox runs a tool where it reaches nothing but a port of this machine's loopback, until ctx ends.
func inSandbox(ctx context.Context, t *testing.T, words string, port int, argv []string, out io.Writer) {
	t.Helper()
	l := sandbox.NewLauncher()
	defer l.Close()
	_, err := l.RunJob(ctx, sandbox.Job{
		Name: "tool", Argv: argv, Dir: "/tmp", Env: []string{"PATH=/usr/bin:/bin", "HOME=/tmp", "PYTHONUNBUFFERED=1"}, Read: map[string]string{"/words": words},
		Reach: []string{fmt.Sprintf("127.0.0.1:%d", port)}, MemoryBytes: 2 << 30, Output: out,
	}, sandbox.JobHost(filepath.Join(t.TempDir(), "jobs")))
	if err != nil && ctx.Err() == nil {
		t.Errorf("%s: %v", argv[0], err)
	}
}

// wordlist is what a search for routes tries; none of it is a trap.
const wordlist = "about account admin api app archive assets auth backup beta blog cache cart catalog checkout config contact css data debug demo dev docs download edit export files forum help home images img import " +
	"include index info install intranet js login logout mail manage media mobile news old order panel pay portal private profile public report search secret secure service shop static status store support system temp test " +
	"tmp tools upload user users v1 v2 web wiki"

// tool is one attack. In argv URL stands for the gateway's, and PORT for its port.
type tool struct {
	name, rule string
	host       string // that is attacked; "" for bytes as they are, where what matters isn't in the requests
	argv       []string
}

func toolsOfOthers() []tool {
	return []tool{
		{"ffuf", "undeclared-routes", "localhost", []string{"ffuf", "-s", "-t", "4", "-w", "/words/routes", "-u", "URL/FUZZ"}},
		{"gobuster", "undeclared-routes", "localhost", []string{"gobuster", "dir", "-k", "-q", "-z", "--no-error", "-t", "4", "-w", "/words/routes", "-u", "URL"}},
		{"sqlmap", "payload", "localhost", []string{"sqlmap", "--batch", "--disable-coloring", "--level", "1", "--retries", "0", "--timeout", "5", "--output-dir", "/tmp/out", "-p", "id", "-u", "URL/call?id=1"}},
		{"wapiti", "payload", "localhost", []string{"wapiti", "-u", "URL/call?id=1", "--scope", "url", "-v", "0", "--no-bugreport", "--verify-ssl", "0", "-f", "json", "-o", "/tmp/report", "--store-session", "/tmp/s", "--store-config", "/tmp/c"}},
		{"nmap", "honey-path", "localhost", []string{"nmap", "-n", "-Pn", "-sT", "--unprivileged", "-p", "PORT", "--script", "+http-enum", "127.0.0.1"}},
		{"slowhttptest", "slow-requests", "", []string{"slowhttptest", "-H", "-c", "25", "-r", "200", "-i", "10", "-l", "10", "-u", "URL/call"}},
		{"slowhttptest", "slow-requests", "", []string{"slowhttptest", "-B", "-c", "25", "-r", "200", "-i", "10", "-l", "10", "-u", "URL/take"}},
	}
}

// guessing is hydra at the password of somebody. It knows no forms' tokens: somebody has begun the sign-in for it by hand, and gives it that browser's
// cookies, token and address.
func guessing(t *testing.T, w *wardtest.World) tool {
	t.Helper()
	person(t, w, "ada@example.com")
	b := visitor.New(visitor.Transport(w.Roots()), "")
	page, err := b.Fill(t.Context(), get(t, b, pagesOf(w.URL)+"/sign-in"), map[string]string{"identifier": "ada@example.com"})
	if err != nil {
		t.Fatal(err)
	}
	token := regexp.MustCompile(`name="csrf" value="([^"]+)"`).FindStringSubmatch(page.Body)
	if token == nil || !strings.Contains(page.Body, `name="password"`) {
		t.Fatalf("no form for a password:\n%s", page.Body)
	}
	var cookies []string
	for _, c := range b.Client.Jar.Cookies(page.URL) {
		cookies = append(cookies, c.String())
	}
	form := strings.Join([]string{
		page.URL.RequestURI(), "csrf=" + token[1] + "&password=^PASS^", "g=", `H=Host\: ` + strings.ReplaceAll(page.URL.Host, ":", `\:`), `H=Cookie\: ` + strings.Join(cookies, "; "), "S=__Host-ward-id",
	}, ":")
	return tool{"hydra", "failed-sign-ins", page.URL.Hostname(), []string{"hydra", "-I", "-q", "-t", "4", "-l", "ada", "-P", "/words/passwords", "-s", "PORT", "127.0.0.1", "https-post-form", form}}
}

// TestToolsOfOthersAreFoundAndClosedOut runs attack tools, as Debian ships them, against a gateway.
func TestToolsOfOthersAreFoundAndClosedOut(t *testing.T) {
	model := strings.Replace(peopleModel, "GET /token, GET /call", "GET /token, GET /call, POST /take", 1)
	w := wardtest.Start(t, model+"watch: {never_block: 127.0.0.1}\n", nil)
	words := t.TempDir()
	routes := strings.ReplaceAll(wordlist, " ", "\n") + "\n"
	for name, text := range map[string]string{"routes": routes, "passwords": routes} {
		if err := os.WriteFile(filepath.Join(words, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for i, x := range append(toolsOfOthers(), tool{name: "hydra"}) {
		t.Run(strings.Join(append([]string{x.name}, x.argv...)[1:min(len(x.argv)+1, 3)], " "), func(t *testing.T) {
			need.Program(t, x.name)
			if x.argv == nil {
				x = guessing(t, w)
			}
			address := fmt.Sprintf("127.0.0.%d", 66+i)
			attackWith(t, w, newRelay(t, strings.Replace(w.URL, "https://localhost", "127.0.0.1", 1), address, x.host), words, x)
		})
	}
}

// attackWith runs one tool until it is closed out, or the time is up.
func attackWith(t *testing.T, w *wardtest.World, r *relay, words string, x tool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*mostToFind)
	defer cancel()
	url := fmt.Sprintf("https://127.0.0.1:%d", r.port())
	argv := slices.Clone(x.argv)
	for i := range argv {
		argv[i] = strings.NewReplacer("URL", url, "PORT", fmt.Sprint(r.port())).Replace(argv[i])
	}
	var out wardtest.Log
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		inSandbox(ctx, t, words, r.port(), argv, &out)
	}()
	defer func() {
		cancel()
		<-ended
		if t.Failed() {
			t.Logf("%d requests passed; found: %+v; %s says:\n%.4000s", r.passed.Load(), found(t, w.File), x.name, out.String())
		}
	}()
	found := until(ctx, func() bool { return slices.Contains(clientsOf(t, w, x.rule), r.address) })
	if found.IsZero() {
		t.Fatalf("it isn't found by %s", x.rule)
	}
	passed := min(r.passed.Load(), mostRequests)
	close(r.found)
	c := from(r.address)
	blocked := until(ctx, func() bool { return statusOf(t, c, w.URL+"/call") == http.StatusTooManyRequests })
	if blocked.IsZero() {
		t.Fatal("it isn't closed out")
	}
	t.Logf("%s: found as %s after %d requests and %s, closed out %s later", x.name, x.rule, passed, found.Sub(*r.first.Load()).Round(10*time.Millisecond), blocked.Sub(found).Round(10*time.Millisecond))
	if took := found.Sub(*r.first.Load()); took > mostToFind {
		t.Errorf("it was found after %s", took)
	}
	if took := blocked.Sub(found); took > mostToBlock {
		t.Errorf("it was closed out %s later", took)
	}
}

// until waits for f and returns when it was true; zero when ctx ended before.
func until(ctx context.Context, f func() bool) time.Time {
	for ; ctx.Err() == nil; time.Sleep(10 * time.Millisecond) {
		if f() {
			return time.Now()
		}
	}
	return time.Time{}
}

// clientsOf are the addresses that a rule's finding names.
func clientsOf(t *testing.T, w *wardtest.World, rule string) (out []string) {
	t.Helper()
	for _, e := range found(t, w.File)[rule].Evidence {
		if p, err := netip.ParsePrefix(e.Client); err == nil {
			out = append(out, p.Addr().String())
		}
	}
	return out
}

// crawl follows a site's links, as a search engine does, and returns how many pages it has seen. Some links are broken.
func crawl(t *testing.T, c *http.Client, base string) int {
	t.Helper()
	link := regexp.MustCompile(`(?:href|src|action)="([^"#]+)"`)
	queue := []string{"/robots.txt", "/sitemap.xml", "/favicon.ico", "/", "/docs", "/books/404", "/books/quiet-harbour", "/static/missing.css", "/blog", "/index.php", "/cover?book=1", "/.well-known/security.txt"}
	seen := map[string]bool{}
	for len(queue) > 0 && len(seen) < 100 {
		path := queue[0]
		queue = queue[1:]
		if seen[path] {
			continue
		}
		seen[path] = true
		resp, err := c.Get(base + path)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
		resp.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllStringSubmatch(string(b), -1) {
			if to, err := resp.Request.URL.Parse(html.UnescapeString(m[1])); err == nil && to.Host == resp.Request.URL.Host {
				queue = append(queue, to.RequestURI())
			}
		}
	}
	return len(seen)
}

// TestTheShopsOrdinaryUseIsNoAlarm: customers buy, and a crawler looks at everything, broken links among it.
func TestTheShopsOrdinaryUseIsNoAlarm(t *testing.T) {
	program, err := exec.LookPath("ward")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	err = demo.Peace(t.Context(), demo.Config{Program: program, Dir: dir, Out: io.Discard, Notes: io.Discard}, func(file, url string) {
		if n := crawl(t, from("127.0.0.80"), url); n < 15 {
			t.Errorf("the crawler saw %d pages", n)
		}
		statusOf(t, from("127.0.0.81"), url+"/.env") // after which all before has been looked at
		wardtest.Eventually(t, "the last one is found", func() bool { return found(t, file)["honey-path"].Count > 0 })
		all := found(t, file)
		delete(all, "honey-path")
		if all["leak"].Subject == "payments" {
			delete(all, "leak") // one of the shop's own holes: payments prints cards, whoever buys
		}
		for _, f := range all {
			t.Logf("%s: %s", f.Severity, f.What)
			if f.Severity >= finding.High {
				t.Errorf("%s is an alarm", f.Rule)
			}
		}
		if len(all) > 1 {
			t.Errorf("%d findings", len(all))
		}
	})
	if err != nil {
		t.Fatal(err)
	}
}
