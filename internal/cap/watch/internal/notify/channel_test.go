package notify

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wardhq/ward/internal/base/clock"
	"github.com/wardhq/ward/internal/cap/watch/internal/inbox"
	"github.com/wardhq/ward/internal/finding"
	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/wardtest/need"
	"github.com/wardhq/ward/internal/wire"
)

// at is when tests send.
var at = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// stranger is text that somebody outside chose.
const stranger = "GET /<!channel>?a=1&b=<https://evil.example|log in>**x**[y](https://evil.example)"

func sample() *Message {
	return &Message{
		ID: "msg_1", Kind: Found, App: "shop", Key: "ward/shop/7", Rule: "denied-call", Severity: finding.High, Count: 1, Time: at,
		Items: []Item{{ID: 7, Rule: "denied-call", Severity: finding.High, Subject: "web", Object: "catalog", What: harmless("web called catalog: "+stranger, 500), Times: 3, Opened: at, Last: at}},
	}
}

// got is what a fake was asked.
type got struct {
	method string
	header http.Header
	body   string
}

// fake takes requests at a path, and answers with a status.
func fake(t *testing.T, answer http.HandlerFunc) (url string, requests chan got) {
	t.Helper()
	requests = make(chan got, 16)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		requests <- got{r.Method, r.Header, string(b)}
		answer(w, r)
	}))
	t.Cleanup(s.Close)
	return s.URL, requests
}

// way is the way out of this machine.
func way() Way {
	return Way{Transport: &http.Transport{DisableKeepAlives: true}, Dial: new(net.Dialer).DialContext, Clock: clock.Func(func() time.Time { return at })}
}

// open makes a channel that must be right.
func open(t *testing.T, n model.Notify, files map[string]string) Channel {
	t.Helper()
	c, _, err := newChannel(&n, bytesOf(files), way())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func bytesOf(files map[string]string) map[string][]byte {
	out := map[string][]byte{}
	for name, s := range files {
		out[name] = []byte(s + "\n")
	}
	return out
}

func host(url string) string { return strings.TrimPrefix(url, "http://") }

func read(t *testing.T, body string) (out map[string]any) {
	t.Helper()
	if err := json.Unmarshal([]byte(body), &out); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	return out
}

func TestSlackGetsBlocksThatNameNobody(t *testing.T) {
	url, requests := fake(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") })
	c := open(t, model.Notify{To: "slack", URLFile: "u", Host: host(url)}, map[string]string{"u": url + "/services/T/B/secret"})
	if err := c.Send(t.Context(), sample()); err != nil {
		t.Fatal(err)
	}
	r := <-requests
	m := read(t, r.body)
	blocks := m["blocks"].([]any)
	head, first := blocks[0].(map[string]any)["text"].(map[string]any), blocks[1].(map[string]any)["text"].(map[string]any)
	if r.header.Get("Content-Type") != "application/json" || head["type"] != "plain_text" || len([]rune(head["text"].(string))) > slackHeader || first["type"] != "mrkdwn" || first["verbatim"] != true || m["unfurl_links"] != false {
		t.Errorf("%s", r.body)
	}
	for _, s := range []string{m["text"].(string), first["text"].(string)} {
		if strings.ContainsAny(s, "<>") || strings.Contains(s, "://") || !strings.Contains(s, "&lt;!channel&gt;") {
			t.Errorf("%q", s)
		}
	}
	if err := c.Send(t.Context(), &Message{Kind: Resolved}); err != nil || len(requests) != 0 {
		t.Errorf("a closed finding was told: %v", err)
	}
}

func TestTeamsGetsACardWithoutMarkdown(t *testing.T) {
	url, requests := fake(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusAccepted) })
	c := open(t, model.Notify{To: "teams", URLFile: "u", Host: host(url)}, map[string]string{"u": url + "/workflows/1?sig=secret"})
	if err := c.Send(t.Context(), sample()); err != nil {
		t.Fatal(err)
	}
	r := <-requests
	m := read(t, r.body)
	a := m["attachments"].([]any)[0].(map[string]any)
	card := a["content"].(map[string]any)
	if m["type"] != "message" || a["contentType"] != "application/vnd.microsoft.card.adaptive" || card["type"] != "AdaptiveCard" || len(r.body) > 28<<10 {
		t.Errorf("%s", r.body)
	}
	for _, b := range card["body"].([]any) {
		if kind := b.(map[string]any)["type"]; kind != "RichTextBlock" { // a TextBlock would read Markdown
			t.Errorf("%s", kind)
		}
	}
}

func TestPagerDutyOpensAndResolvesAnAlert(t *testing.T) {
	url, requests := fake(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusAccepted) })
	c := open(t, model.Notify{To: "pagerduty", URL: url + "/v2/enqueue", KeyFile: "k"}, map[string]string{"k": "routing-key"})
	for severity, word := range map[finding.Severity]string{finding.Low: "info", finding.Medium: "warning", finding.High: "error", finding.Critical: "critical"} {
		s := sample()
		s.Severity = severity
		if err := c.Send(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		m := read(t, (<-requests).body)
		p := m["payload"].(map[string]any)
		if m["routing_key"] != "routing-key" || m["event_action"] != "trigger" || m["dedup_key"] != "ward/shop/7" || p["severity"] != word || p["source"] != "shop" || p["class"] != "denied-call" || p["component"] != "web" || p["timestamp"] != "2026-11-22T12:00:00Z" {
			t.Errorf("%v", m)
		}
	}
	if err := c.Send(t.Context(), &Message{ID: "msg_2", Kind: Resolved, Key: "ward/shop/7"}); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(map[string]any{"routing_key": "routing-key", "event_action": "resolve", "dedup_key": "ward/shop/7", "client": "Ward"}, read(t, (<-requests).body)); d != "" {
		t.Error(d)
	}
}

func TestNtfyGetsTitlePriorityAndToken(t *testing.T) {
	url, requests := fake(t, func(http.ResponseWriter, *http.Request) {})
	c := open(t, model.Notify{To: "ntfy", URL: url + "/alerts", KeyFile: "k"}, map[string]string{"k": "tk_secret"})
	m := sample()
	m.Severity, m.Items[0].What = finding.Critical, strings.Repeat("Töpfe ", 100)
	if err := c.Send(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	r := <-requests
	title, err := new(mime.WordDecoder).DecodeHeader(r.header.Get("Title"))
	if err != nil || !strings.HasPrefix(title, "CRITICAL in shop: Töpfe") || r.header.Get("Priority") != "5" || r.header.Get("Authorization") != "Bearer tk_secret" || r.header.Get("Tags") != "rotating_light" || len(r.body) > 4096 || !strings.Contains(r.body, "ward findings 7") {
		t.Errorf("%q %v %v %s", title, err, r.header, r.body)
	}
}

func TestAWebhookIsSignedAsStandardWebhooksSays(t *testing.T) {
	python := need.Program(t, "python3")
	for name, key := range map[string]string{"as whsec_": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo=", "as it is": "0123456789abcdef0123456789abcdef"} {
		url, requests := fake(t, func(http.ResponseWriter, *http.Request) {})
		c := open(t, model.Notify{To: "webhook", URL: url, KeyFile: "k"}, map[string]string{"k": key})
		if err := c.Send(t.Context(), sample()); err != nil {
			t.Fatal(err)
		}
		r := <-requests
		verify := func(body string) string {
			cmd := exec.CommandContext(t.Context(), python, "testdata/verify.py")
			headers := map[string]string{}
			for name := range r.header {
				headers[name] = r.header.Get(name)
			}
			cmd.Stdin = strings.NewReader(marshal(map[string]any{"secret": key, "headers": headers, "body": body}))
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%v %s", err, out)
			}
			return strings.TrimSpace(string(out))
		}
		if said := verify(r.body); said != "ok" || r.header.Get("webhook-id") != "msg_1" || r.header.Get("webhook-timestamp") != fmt.Sprint(at.Unix()) {
			t.Errorf("%s: %s %v", name, said, r.header)
		}
		if said := verify(r.body + " "); said == "ok" {
			t.Errorf("%s: another body is accepted, too", name)
		}
		m := read(t, r.body)
		if m["type"] != "findings.open" || m["data"].(map[string]any)["message"].(map[string]any)["key"] != "ward/shop/7" {
			t.Errorf("%v", m)
		}
	}
}

// TestNobodyMakesAMessageTooLarge: one that a channel refuses for its size would be told nobody.
func TestNobodyMakesAMessageTooLarge(t *testing.T) {
	url, requests := fake(t, func(http.ResponseWriter, *http.Request) {})
	files := map[string]string{"u": url + "/x", "k": "routing-key"}
	for _, sign := range []string{`"`, `\`, "<", "&", "ü", "😀"} {
		var all []*inbox.Finding
		for i := range 100 {
			all = append(all, &inbox.Finding{ID: int64(i + 1), Rule: "denied-call", Severity: finding.High, Subject: strings.Repeat(sign, 1000), Object: strings.Repeat(sign, 1000), Count: 1000, Opened: at, Body: inbox.Body{What: strings.Repeat(sign, 1000)}})
		}
		m := NewPolicy(Terms{App: "shop"}, nil).message(all[:50], all[50:], at)
		for _, items := range [][]Item{m.Items, m.Also} {
			for i := range items {
				r := wire.Restriction{ID: "a-abcdefghijklm", Service: strings.Repeat("s", 63), Until: at}
				items[i].Done, items[i].Link = done([]wire.Restriction{r, r, r, r}), "https://console."+strings.Repeat("h", 60)+".example.com/findings/1"
			}
		}
		for _, tt := range []struct {
			notify model.Notify
			most   int
		}{
			{model.Notify{To: "teams", URLFile: "u", Host: host(url)}, 28 << 10},
			{model.Notify{To: "slack", URLFile: "u", Host: host(url)}, 100 << 10},
			{model.Notify{To: "pagerduty", URL: url, KeyFile: "k"}, 512 << 10},
			{model.Notify{To: "ntfy", URL: url}, 4096},
		} {
			if err := open(t, tt.notify, files).Send(t.Context(), &m); err != nil {
				t.Fatal(err)
			}
			r := <-requests
			if len(r.body) > tt.most {
				t.Errorf("%d bytes of %s for %s", len(r.body), sign, tt.notify.To)
			}
			if tt.notify.To != "slack" {
				continue
			}
			blocks := read(t, r.body)["blocks"].([]any)
			for _, b := range blocks {
				if text := b.(map[string]any)["text"].(map[string]any)["text"].(string); len([]rune(text)) > slackSection || len(blocks) > 50 {
					t.Errorf("%d characters of %s", len(text), sign)
				}
			}
		}
	}
}

func TestWhatIsntRightIsRefusedBeforeItIsUsed(t *testing.T) {
	const good = "https://hooks.slack.com/services/T/B/secret"
	for name, tt := range map[string]struct {
		notify model.Notify
		file   string
	}{
		"a URL of another host":      {model.Notify{To: "slack", URLFile: "f", Host: "hooks.slack.com"}, "https://evil.example/secret"},
		"a host with another ending": {model.Notify{To: "slack", URLFile: "f", Host: "hooks.slack.com"}, "https://hooks.slack.com.evil.example/secret"},
		"a URL in clear":             {model.Notify{To: "slack", URLFile: "f", Host: "hooks.slack.com"}, strings.Replace(good, "https", "http", 1)},
		"a name in the URL":          {model.Notify{To: "slack", URLFile: "f", Host: "hooks.slack.com"}, "https://secret@hooks.slack.com/"},
		"no URL":                     {model.Notify{To: "slack", URLFile: "f", Host: "hooks.slack.com"}, "secret"},
		"a short key":                {model.Notify{To: "webhook", URL: good, KeyFile: "f"}, "secret"},
		"a long key":                 {model.Notify{To: "webhook", URL: good, KeyFile: "f"}, strings.Repeat("secret", 20)},
		"a key that isn't base64":    {model.Notify{To: "webhook", URL: good, KeyFile: "f"}, "whsec_secret-secret-secret-secret-secret"},
		"no routing key":             {model.Notify{To: "pagerduty", URL: good, KeyFile: "f"}, ""},
		"a password in clear":        {model.Notify{To: "mail", SMTP: "smtp://127.0.0.1:25", User: "u", From: "a@b.example", Address: "c@d.example", KeyFile: "f"}, "secret"},
		"a header in the address":    {model.Notify{To: "mail", SMTP: "smtp://127.0.0.1:25", From: "a@b.example", Address: "c@d.example\r\nBcc: e@f.example"}, "secret"},
		"an unknown kind":            {model.Notify{To: "fax", URL: good}, "secret"},
	} {
		_, _, err := newChannel(&tt.notify, bytesOf(map[string]string{"f": tt.file}), way())
		if err == nil || strings.Contains(strings.ReplaceAll(err.Error(), tt.notify.URL, ""), "secret") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestFailuresHelpAndShowNothing asks servers that answer with trouble, and with what they were sent.
func TestFailuresHelpAndShowNothing(t *testing.T) {
	status := func(code int, header ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			for i := 0; i < len(header); i += 2 {
				w.Header().Set(header[i], header[i+1])
			}
			w.WriteHeader(code)
			_, _ = io.WriteString(w, "you sent "+r.URL.String()+strings.Repeat("x", 1<<20))
		}
	}
	elsewhere, asked := fake(t, status(200))
	for name, tt := range map[string]struct {
		answer http.HandlerFunc
		text   string
		again  bool
		after  time.Duration
	}{
		"a wrong token":            {status(401), "isn't accepted", true, 0},
		"a URL that was withdrawn": {status(404), "nobody takes messages", true, 0},
		"a message that it can't":  {status(400), "doesn't want this message", false, 0},
		"too many":                 {status(429, "Retry-After", "90"), "429", true, 90 * time.Second},
		"too many, until a time":   {status(429, "Retry-After", at.Add(5*time.Minute).Format(http.TimeFormat)), "429", true, 5 * time.Minute},
		"too many, for a year":     {status(429, "Retry-After", "31536000"), "429", true, maxAfter},
		"out of order":             {status(503), "503", true, 0},
		"one that leads elsewhere": {status(307, "Location", elsewhere+"/x"), "leads elsewhere", true, 0},
		"one that hangs up":        {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "", true, 0},
		"one that doesn't speak HTTP": {func(w http.ResponseWriter, _ *http.Request) {
			c, _, _ := w.(http.Hijacker).Hijack()
			_, _ = io.WriteString(c, "220 mail.example ESMTP secret\r\n")
			c.Close()
		}, "", true, 0},
	} {
		t.Run(name, func(t *testing.T) {
			url, _ := fake(t, tt.answer)
			err := open(t, model.Notify{To: "slack", URLFile: "u", Host: host(url)}, map[string]string{"u": url + "/secret"}).Send(t.Context(), sample())
			checkFailure(t, err, tt.text, tt.again, tt.after)
		})
	}
	if len(asked) != 0 {
		t.Error("a redirect was followed")
	}
}

func checkFailure(t *testing.T, err error, text string, again bool, after time.Duration) {
	t.Helper()
	f, ok := err.(*Failure)
	if !ok || !strings.Contains(f.Text, text) || f.Again != again || f.After != after || strings.Contains(f.Text, "secret") || len(f.Text) > 300 {
		t.Errorf("%T %+v", err, err)
	}
}

func TestWhatCantBeReachedIsSaid(t *testing.T) {
	secure := httptest.NewUnstartedServer(http.NotFoundHandler())
	secure.Config.ErrorLog = nil
	secure.StartTLS()
	defer secure.Close()
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	for name, tt := range map[string]struct{ url, text string }{
		"a certificate of nobody that is trusted": {secure.URL, "certificate isn't accepted"},
		"nobody listens": {gone.URL, "can't be reached"},
		"nobody answers": {"http://" + silent.Addr().String(), "didn't answer in time"},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, stop := context.WithCancel(t.Context())
			if tt.url == "http://"+silent.Addr().String() {
				ctx, stop = context.WithTimeout(t.Context(), 200*time.Millisecond)
			}
			defer stop()
			err := open(t, model.Notify{To: "ntfy", URL: tt.url + "/secret"}, nil).Send(ctx, sample())
			checkFailure(t, err, tt.text, true, 0)
		})
	}
	checkFailure(t, unreached(&net.DNSError{Name: "nobody.example", Err: "no such host"}), "nobody.example isn't found", true, 0)
	checkFailure(t, unreached(&tls.CertificateVerificationError{Err: fmt.Errorf("expired")}), "expired", true, 0)
}
