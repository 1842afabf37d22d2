package message

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wardhq/ward/internal/base/clock"
	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/base/secret"
)

func renderer(t testing.TB) *Renderer {
	t.Helper()
	r, err := NewRenderer()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func data() Data {
	return Data{Product: "Töpfe", Name: "Anna", Code: secret.New([]byte("123456")), Link: secret.New([]byte("https://shop.example/x?a=1&b=2")), Valid: 10 * time.Minute, Device: "Firefox on Linux", Place: "Berlin", Factor: "passkey", At: time.Unix(1_700_000_000, 0), Host: "shop.example"}
}

func TestEveryTextOfEveryLanguageIsSendable(t *testing.T) {
	r := renderer(t)
	for _, lang := range Languages() {
		for k := None + 1; int(k) < len(kindNames); k++ {
			for name, d := range map[string]Data{"full": data(), "bare": {Product: "Töpfe"}} {
				t.Run(lang+"/"+k.String()+"/"+name, func(t *testing.T) {
					m, err := r.Mail(k, lang, "anna@example.org", d)
					if err != nil {
						t.Fatal(err)
					}
					if err := m.checkMail(); err != nil {
						t.Fatal(err)
					}
					plain, page := string(m.Text.Reveal()), string(m.HTML.Reveal())
					for _, bad := range []string{"<no value>", "  ,", " .", "{{", "ZgotmplZ", "()"} {
						if strings.Contains(plain, bad) || strings.Contains(page, bad) || strings.Contains(m.Subject, bad) {
							t.Errorf("has %q:\n%s", bad, plain)
						}
					}
					if name == "full" {
						for _, want := range []string{"Anna", "123456", "https://shop.example/x?a=1&b=2", "Töpfe"} {
							if !strings.Contains(plain, want) {
								t.Errorf("%q isn't in the text:\n%s", want, plain)
							}
						}
						if !strings.Contains(page, `href="https://shop.example/x?a=1&amp;b=2"`) || !strings.Contains(page, `lang="`+lang+`"`) {
							t.Errorf("page:\n%s", page)
						}
					}
				})
			}
		}
		m, err := r.SMS(SignInCode, lang, "+493012345678", data())
		if err != nil || m.checkSMS() != nil || !strings.HasSuffix(string(m.Text.Reveal()), "\n\n@shop.example #123456") {
			t.Errorf("%s: %q %v", lang, m.Text.Reveal(), err)
		}
	}
	en, err := r.Mail(SignInCode, "fr", "a@example.org", data())
	if err != nil || !strings.Contains(en.Subject, "Your sign-in code") {
		t.Errorf("another language: %q %v", en.Subject, err)
	}
}

func TestLanguagesHaveTheSameTexts(t *testing.T) {
	r := renderer(t)
	names := func(lang string) (out map[string]bool) {
		out = map[string]bool{}
		for _, x := range r.texts[lang].Templates() {
			out[strings.TrimPrefix(x.Name(), lang)] = true
		}
		return out
	}
	for _, lang := range Languages()[1:] {
		if d := cmp.Diff(names(Languages()[0]), names(lang)); d != "" {
			t.Errorf("%s: %s", lang, d)
		}
	}
}

func TestStrangersCantWriteOurMails(t *testing.T) {
	r := renderer(t)
	for _, name := range []string{"<b>Anna</b>", "You won! https://evil.example", "www.evil.example", "evil.example", "a@evil.example", "call 0800 123", "Anna\r\n\r\nBuy", strings.Repeat("Anna ", 20), "{{.Code}}", "x\u202e"} {
		d := data()
		d.Name = name
		m, err := r.Mail(VerifyAddress, "en", "a@example.org", d)
		if err != nil {
			t.Fatal(err)
		}
		if text := string(m.Text.Reveal()); strings.Contains(text, "evil") || strings.Contains(text, "0800") || strings.Contains(text, "<b>") || strings.Contains(text, "\n\nBuy") || strings.Contains(text, "\u202e") {
			t.Errorf("%q made: %.60q", name, text)
		}
	}
	for _, name := range []string{"Anna", "J. R. Smith", "Jean-Luc O’Neill", "Зоя", "नेहा"} {
		if personName(name) != name {
			t.Errorf("%q isn't a name", name)
		}
	}
	d := data()
	d.Product, d.Device = "<script>alert(1)</script>", "\"><img src=x>\r\nBcc: eve@example.org"
	m, err := r.Mail(WasItYou, "en", "a@example.org", d)
	if err != nil || strings.Contains(string(m.HTML.Reveal()), "<script") || strings.Contains(string(m.HTML.Reveal()), "<img") || m.checkMail() != nil {
		t.Errorf("markup got through: %v", err)
	}
	for _, link := range []string{"javascript:alert(1)", "http://shop.example/", "//evil.example", "https://", "https://a b/", "https://shop.example/\r\n"} {
		d := data()
		d.Link = secret.New([]byte(link))
		if _, err := r.Mail(WasItYou, "en", "a@example.org", d); err == nil {
			t.Errorf("link %q taken", link)
		}
	}
	if _, err := r.Mail(None, "en", "a@example.org", data()); err == nil {
		t.Error("a message about nothing")
	}
	if _, err := r.SMS(WasItYou, "en", "+493012345678", Data{}); err == nil {
		t.Error("a short message without a code")
	}
}

func TestMessagesDontPrintTheirCodes(t *testing.T) {
	m, err := renderer(t).Mail(SignInCode, "en", "a@example.org", data())
	if err != nil {
		t.Fatal(err)
	}
	if s := fmt.Sprintf("%v %+v %#v %+v", m, m, m, data()); strings.Contains(s, "123456") {
		t.Error(s)
	}
}

func sms() Message {
	return Message{To: "+493012345678", Text: secret.New([]byte("123456 is your code"))}
}

func TestWebhookIsSigned(t *testing.T) {
	key := secret.New(bytes.Repeat([]byte{3}, 32))
	var got *http.Request
	var body []byte
	srv := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		got = r
		body, _ = io.ReadAll(r.Body)
	}))
	defer srv.Close()
	w, err := NewWebhook(srv.URL+"/hook", key, clock.Func(func() time.Time { return time.Unix(1_700_000_000, 0) }), srv.Client().Transport)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Send(t.Context(), sms()); err != nil {
		t.Fatal(err)
	}
	mac := hmac.New(sha256.New, key.Reveal())
	fmt.Fprintf(mac, "1700000000.%s", body)
	if want := "t=1700000000,v1=" + hex.EncodeToString(mac.Sum(nil)); got.Header.Get("Ward-Signature") != want || string(body) != `{"text":"123456 is your code","to":"+493012345678"}` || got.URL.Path != "/hook" {
		t.Errorf("%s %s %q", got.URL, body, got.Header)
	}
}

func TestTwilioRequest(t *testing.T) {
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, token, _ := r.BasicAuth()
		if r.URL.Path != "/2010-04-01/Accounts/AC12/Messages.json" || user != "AC12" || token != "tok" || r.PostFormValue("To") != "+493012345678" || r.PostFormValue("From") != "Shop" || r.PostFormValue("Body") != "123456 is your code" {
			w.WriteHeader(http.StatusTeapot)
			return
		}
		w.WriteHeader(http.StatusCreated)
	}))
	defer srv.Close()
	tw, err := NewTwilio(TwilioConfig{Base: srv.URL, Account: "AC12", Token: secret.New([]byte("tok")), From: "Shop", Transport: srv.Client().Transport})
	if err != nil {
		t.Fatal(err)
	}
	if err := tw.Send(t.Context(), sms()); err != nil {
		t.Error(err)
	}
	for name, c := range map[string]TwilioConfig{
		"http":            {Base: "http://api.example", Account: "AC12", Token: secret.New([]byte("tok")), From: "Shop"},
		"path in account": {Account: "../x", Token: secret.New([]byte("tok")), From: "Shop"},
		"no token":        {Account: "AC12", From: "Shop"},
	} {
		if _, err := NewTwilio(c); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

func TestSMSServiceAnswers(t *testing.T) {
	const key = "0123456789abcdef0123456789abcdef"
	stolen := 0
	thief := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { stolen++ }))
	defer thief.Close()
	status := 0
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", thief.URL)
		w.WriteHeader(status)
		_, _ = w.Write([]byte("echo 123456 " + key))
	}))
	defer srv.Close()
	w, err := NewWebhook(srv.URL+"/?token=hidden", secret.New([]byte(key)), clock.System{}, srv.Client().Transport)
	if err != nil {
		t.Fatal(err)
	}
	for code, permanent := range map[int]bool{400: true, 401: true, 301: true, 307: true, 308: true, 429: false, 408: false, 500: false, 503: false} {
		status = code
		err := w.Send(t.Context(), sms())
		if err == nil || errors.Is(err, ErrPermanent) != permanent {
			t.Errorf("%d: %v", code, err)
		}
	}
	srv.Close()
	err = w.Send(t.Context(), sms())
	if err == nil || strings.Contains(err.Error(), "hidden") || strings.Contains(err.Error(), "123456") {
		t.Errorf("closed: %v", err)
	}
	if stolen > 0 {
		t.Error("a redirect was followed")
	}
	for name, address := range map[string]string{"http": "http://example.org/", "no host": "https:///x", "password": "https://a:b@example.org/", "file": "file:///etc/passwd", "name of this machine": "http://localhost/"} {
		if _, err := NewWebhook(address, secret.New([]byte(key)), clock.System{}, nil); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	if _, err := NewWebhook("https://example.org/", secret.New([]byte("short")), clock.System{}, nil); err == nil {
		t.Error("a short key")
	}
}

func TestFolderHoldsReadableFiles(t *testing.T) {
	f := &Folder{Path: filepath.Join(t.TempDir(), ".ward", "mail"), Clock: clock.System{}}
	m, err := renderer(t).Mail(SignInCode, "de", "anna@example.org", data())
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Send(t.Context(), m), f.Send(t.Context(), sms())); err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir(f.Path)
	if err != nil || len(files) != 2 {
		t.Fatal(files, err)
	}
	for _, x := range files {
		info, err := x.Info()
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%v %v", info.Mode(), err)
		}
		b, err := os.ReadFile(filepath.Join(f.Path, x.Name()))
		if err != nil || !strings.Contains(string(b), "123456") || strings.HasSuffix(x.Name(), ".eml") && !strings.Contains(string(b), "https://shop.example/x?a=1&b=2") {
			t.Errorf("%s: %s %v", x.Name(), b, err)
		}
	}
}

// fake is a Sender that does what it's told.
type fake struct {
	mu   sync.Mutex // guards sent
	sent []time.Time
	do   func(attempt int) error
}

func (f *fake) Send(context.Context, Message) error {
	f.mu.Lock()
	f.sent = append(f.sent, time.Now())
	n := len(f.sent)
	f.mu.Unlock()
	return f.do(n)
}

func run(t *testing.T, f *fake, size int) (*Queue, func(), *bytes.Buffer) {
	t.Helper()
	var log bytes.Buffer
	q := NewQueue(QueueConfig{Sender: f, Clock: clock.System{}, Log: slog.New(slog.NewTextHandler(&log, nil)), Size: size, Concurrent: 2})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { q.Run(ctx); close(done) }()
	return q, func() { cancel(); <-done }, &log
}

func TestQueueTriesAgainWithGrowingPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{do: func(n int) error {
			if n < 4 {
				return errors.New("busy")
			}
			return nil
		}}
		q, stop, log := run(t, f, 10)
		begin := time.Now()
		if err := q.Put(sms()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		stop()
		var at []time.Duration
		for _, s := range f.sent {
			at = append(at, s.Sub(begin))
		}
		if d := cmp.Diff([]time.Duration{0, 2 * time.Second, 10 * time.Second, 40 * time.Second}, at); d != "" {
			t.Error(d)
		}
		if d := cmp.Diff(Counts{Sent: 1}, q.Counts()); d != "" {
			t.Error(d)
		}
		if s := log.String(); strings.Contains(s, "123456") || strings.Contains(s, "4930") {
			t.Errorf("log: %s", s)
		}
	})
}

func TestQueueGivesUp(t *testing.T) {
	for name, c := range map[string]struct {
		err     error
		expires time.Duration
		tries   int
		want    Counts
	}{
		"refused for good":       {fmt.Errorf("x: %w", ErrPermanent), 0, 1, Counts{Failed: 1}},
		"busy for ever":          {errors.New("busy"), 0, 6, Counts{Failed: 1}},
		"out of date":            {errors.New("busy"), 9 * time.Second, 2, Counts{Dropped: 1}},
		"out of date from start": {nil, -time.Second, 0, Counts{Dropped: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &fake{do: func(int) error { return c.err }}
				q, stop, _ := run(t, f, 10)
				m := sms()
				if c.expires != 0 {
					m.Expires = time.Now().Add(c.expires)
				}
				if err := q.Put(m); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Hour)
				stop()
				if d := cmp.Diff(c.want, q.Counts()); d != "" || len(f.sent) != c.tries {
					t.Errorf("%d tries, %s", len(f.sent), d)
				}
			})
		})
	}
}

func TestQueueIsBoundedAndStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		free := make(chan struct{})
		f := &fake{do: func(int) error { <-free; return nil }}
		q, stop, _ := run(t, f, 5)
		for range 5 {
			if err := q.Put(sms()); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if len(f.sent) != 2 {
			t.Errorf("%d at once", len(f.sent))
		}
		if err := q.Put(sms()); fault.KindOf(err) != fault.Exhausted {
			t.Errorf("full: %v", err)
		}
		stopped := make(chan struct{})
		go func() { stop(); close(stopped) }()
		synctest.Wait()
		select {
		case <-stopped:
			t.Error("stopped in the middle of an attempt")
		default:
		}
		close(free)
		<-stopped
		if c := q.Counts(); c.Sent+c.Dropped != 6 || c.Sent < 2 {
			t.Errorf("%+v", c)
		}
		if err := q.Put(sms()); fault.KindOf(err) != fault.Unavailable {
			t.Errorf("afterwards: %v", err)
		}
	})
}

func FuzzParseAddress(f *testing.F) {
	for _, s := range []string{"anna@example.org", "Eve <a@b>", "\"a b\"@c", "a@[127.0.0.1]", "ä@ö.example", "a@b\r\nBcc: c@d"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := ParseAddress(s)
		if err == nil && (got != s || strings.ContainsAny(s, "\r\n\x00 <>,;") || strings.Count(s, "@") != 1) {
			t.Errorf("%q", s)
		}
	})
}

func FuzzParsePhone(f *testing.F) {
	f.Add("+493012345678")
	f.Fuzz(func(t *testing.T, s string) {
		if got, err := ParsePhone(s); err == nil && (got != s || len(s) > 16 || s[0] != '+') {
			t.Errorf("%q", s)
		}
	})
}

func FuzzTexts(f *testing.F) {
	f.Add("Anna", "<b>", "Firefox")
	r := renderer(f)
	f.Fuzz(func(t *testing.T, name, product, device string) {
		m, err := r.Mail(WasItYou, "de", "a@example.org", Data{Product: product, Name: name, Device: device})
		if err == nil && (strings.ContainsAny(m.Subject, "\r\n") || strings.Contains(string(m.HTML.Reveal()), "<script")) {
			t.Errorf("%q", m.Subject)
		}
	})
}
