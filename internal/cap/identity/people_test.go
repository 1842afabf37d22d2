package identity

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wardhq/ward/internal/base/secret"
	"github.com/wardhq/ward/internal/cap/identity/internal/account"
	"github.com/wardhq/ward/internal/cap/identity/internal/message"
	browser "github.com/wardhq/ward/internal/demo/visitor"
	"github.com/wardhq/ward/internal/model/wardfile"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/store"
	"github.com/wardhq/ward/internal/wire"
)

const (
	pagesAt   = "https://id.localhost:8443"
	goodWord  = "tangled-umbrella-frost-71"
	usersYAML = `
app: shop
gateway: {listen: "127.0.0.1:8443"}
users:
  name: Harbour Books
  register: open
  second_factor: optional
  clients:
    notes: {public: true, redirects: ["https://notes.example/cb"], grants: [authorization_code, refresh_token], scopes: [openid, offline_access]}
%s
services:
  web: {run: ./web, listen: http://:8080, expose: [{routes: ["GET /**"], to: signed-in}]}
`
)

// society is all of an application's users, with the real parts: pages, provider, detectors, mail queue.
type society struct {
	*Users
	t     *testing.T
	clock *testClock
	inbox chan message.Message

	mu     sync.Mutex
	events []wire.Event // guarded by mu
}

func (s *society) record(e wire.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events = append(s.events, e)
}

func newSociety(t *testing.T, more string, files map[string][]byte) *society {
	t.Helper()
	s := &society{t: t, clock: newTestClock(), inbox: make(chan message.Message, 1000)}
	dir := t.TempDir()
	m, problems := wardfile.Parse("ward.yaml", strings.NewReader(fmt.Sprintf(usersYAML, more)))
	if problems.HasErrors() {
		t.Fatal(problems)
	}
	db, err := store.Open(t.Context(), store.Config{Path: filepath.Join(dir, "ward.db"), Clock: s.clock})
	if err != nil {
		t.Fatal(err)
	}
	s.Users, err = OpenUsers(t.Context(), UsersConfig{DB: db, Key: secret.New(bytes.Repeat([]byte{5}, secret.KeySize)), Clock: s.clock, Egress: wayOut(t, filepath.Join(dir, "egress")), Log: slog.New(slog.DiscardHandler), Record: s.record, RecordNow: func(_ context.Context, e wire.Event) error {
		s.record(e)
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.SetPlan(t.Context(), plan.Build(m), files); err != nil {
		t.Fatal(err)
	}
	s.parts.Load().mail.use(s)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { s.Run(ctx); close(ended) }()
	t.Cleanup(func() { stop(); <-ended; _ = db.Close() })
	return s
}

// wayOut is the agent's socket for connections to elsewhere; here, to the loopback.
func wayOut(t *testing.T, path string) string {
	t.Helper()
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			all.Go(func() { splice(c) })
		}
	})
	t.Cleanup(func() { _ = ln.Close() })
	return path
}

func splice(c net.Conn) {
	defer c.Close()
	var address []byte
	for one := make([]byte, 1); ; address = append(address, one[0]) {
		if _, err := c.Read(one); err != nil {
			return
		}
		if one[0] == '\n' {
			break
		}
	}
	out, err := net.Dial("tcp", string(address))
	if err != nil {
		_, _ = io.WriteString(c, "no\n")
		return
	}
	defer out.Close()
	_, _ = io.WriteString(c, "ok\n")
	go func() { _, _ = io.Copy(out, c); _ = out.Close() }()
	_, _ = io.Copy(c, out)
}

// Send takes mail.
func (s *society) Send(_ context.Context, m message.Message) error {
	s.inbox <- m
	return nil
}

// mailed waits for a mail to somebody whose subject has a word.
func (s *society) mailed(to, subject string) string {
	s.t.Helper()
	for {
		select {
		case m := <-s.inbox:
			if m.To == to && strings.Contains(m.Subject, subject) {
				return string(m.Text.Reveal())
			}
		case <-time.After(5 * time.Second):
			s.t.Fatalf("no mail to %s about %q", to, subject)
		}
	}
}

// flagged is the event of a red flag, which has to be there: it is recorded before the answer is sent.
func (s *society) flagged(name string) wire.Event {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	var kinds []string
	for i := len(s.events) - 1; i >= 0; i-- {
		if e := s.events[i]; e.Kind == "flag."+name {
			if late := s.clock.Now().Sub(e.Time); late > time.Second {
				s.t.Errorf("%s was flagged %v ago", name, late)
			}
			return e
		}
		kinds = append(kinds, s.events[i].Kind)
	}
	s.t.Fatalf("no flag %s: %v", name, kinds)
	return wire.Event{}
}

// count is how many events of a kind there are.
func (s *society) count(kind string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.events {
		if e.Kind == kind {
			n++
		}
	}
	return n
}

// person makes somebody with a password.
func (s *society) person(email string) string {
	s.t.Helper()
	accounts := s.parts.Load().accounts
	encoded, err := accounts.Hasher.Hash(s.t.Context(), secret.New([]byte(goodWord)))
	if err != nil {
		s.t.Fatal(err)
	}
	p, err := accounts.Create(s.t.Context(), account.NewPerson{Email: email, Name: "Ada", Verified: true, Password: encoded})
	if err != nil {
		s.t.Fatal(err)
	}
	return p.ID
}

// from is a browser somewhere.
type from struct {
	*browser.Browser
	s         *society
	ip, print string
}

func (s *society) browser(ip string) *from {
	b := &from{s: s, ip: ip, print: "print of " + ip}
	b.Browser = browser.New(b, "")
	return b
}

// RoundTrip is the gateway: it says where the browser is. Other hosts are answered with nothing.
func (b *from) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	in := r.Clone(r.Context())
	in.RequestURI, in.Host = r.URL.RequestURI(), r.URL.Host
	if in.Body == nil {
		in.Body = http.NoBody
	}
	in.Header.Set("X-Forwarded-For", b.ip)
	in.Header.Set("X-Ward-Fingerprint", b.print)
	if r.URL.Scheme+"://"+r.URL.Host == pagesAt {
		b.s.Pages().ServeHTTP(w, in)
	} else if strings.HasSuffix(r.URL.Hostname(), "localhost") && r.URL.Hostname() != "id.localhost" && r.URL.Scheme == "http" {
		return http.DefaultTransport.RoundTrip(r)
	}
	answer := w.Result()
	answer.Request = r
	return answer, nil
}

func (b *from) open(path string) browser.Page {
	b.s.t.Helper()
	if strings.HasPrefix(path, "/") {
		path = pagesAt + path
	}
	p, err := b.Get(b.s.t.Context(), path)
	if err != nil {
		b.s.t.Fatal(err)
	}
	return p
}

// fill sends the form of a page; fields are names and values.
func (b *from) fill(on browser.Page, fields ...string) browser.Page {
	b.s.t.Helper()
	typed := map[string]string{}
	for i := 0; i < len(fields); i += 2 {
		typed[fields[i]] = fields[i+1]
	}
	p, err := b.Fill(b.s.t.Context(), on, typed)
	if err != nil {
		b.s.t.Fatal(err)
	}
	return p
}

func (b *from) signIn(email, password string) browser.Page {
	b.s.t.Helper()
	on := b.fill(b.open("/sign-in"), "identifier", email)
	if on.Status != http.StatusOK {
		return on
	}
	return b.fill(on, "password", password)
}

// post sends a form to an endpoint for programs.
func (b *from) post(path string, form url.Values) (int, string) {
	b.s.t.Helper()
	r, err := b.Client.PostForm(pagesAt+path, form)
	if err != nil {
		b.s.t.Fatal(err)
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		b.s.t.Fatal(err)
	}
	return r.StatusCode, string(body)
}

func at(t *testing.T, p browser.Page, status int, path string) browser.Page {
	t.Helper()
	if p.Status != status || p.URL.Path != path {
		t.Fatalf("%d at %s, want %d at %s:\n%s", p.Status, p.URL, status, path, plainText(p.Body))
	}
	return p
}

func plainText(body string) string {
	return strings.Join(strings.Fields(regexp.MustCompile(`(?s)<[^>]*>`).ReplaceAllString(body, " ")), " ")
}

func part(t *testing.T, pattern, text string) string {
	t.Helper()
	m := regexp.MustCompile(pattern).FindStringSubmatch(text)
	if m == nil {
		t.Fatalf("no %s in:\n%s", pattern, text)
	}
	return m[1]
}
