// Package visitor signs people up and in at Ward's pages as a browser does, without one: it fills in the forms, does the proof of
// work, reads mailed codes, and follows where it is led.
//
// It takes no short cut that a browser hasn't. It runs no script, so passkeys are beyond it.
package visitor

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/html"
)

// Browser is one person's.
type Browser struct {
	Client *http.Client // with a jar
	Mail   string       // the folder where mail goes without a server
}

// Page is an answer, read to its end.
type Page struct {
	Status int
	Header http.Header
	Body   string
	URL    *url.URL
}

// New returns a browser without any cookie.
func New(transport http.RoundTripper, mail string) *Browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		panic(err) // New fails on options only, and there are none
	}
	return &Browser{Client: &http.Client{Jar: jar, Timeout: 20 * time.Second, Transport: transport}, Mail: mail}
}

// Transport trusts roots, and finds every name that ends in localhost on this machine, as browsers do (RFC 6761 §6.3).
func Transport(roots *x509.CertPool) *http.Transport {
	return &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13},
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			if host, port, err := net.SplitHostPort(address); err == nil && strings.HasSuffix(host, ".localhost") {
				address = net.JoinHostPort("127.0.0.1", port)
			}
			var d net.Dialer
			return d.DialContext(ctx, network, address)
		},
	}
}

func (b *Browser) do(req *http.Request) (Page, error) {
	resp, err := b.Client.Do(req)
	if err != nil {
		return Page{}, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	return Page{resp.StatusCode, resp.Header, string(text), resp.Request.URL}, err
}

// Get asks for a page; fields are names and values in turn.
func (b *Browser) Get(ctx context.Context, address string, fields ...string) (Page, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return Page{}, err
	}
	req.Header.Set("Accept", "text/html")
	for i := 0; i+1 < len(fields); i += 2 {
		req.Header.Set(fields[i], fields[i+1])
	}
	return b.do(req)
}

// SignIn opens an address of the application, signs in with a password where the pages ask, and returns what it is
// led to.
func (b *Browser) SignIn(ctx context.Context, address, user, password string) (Page, error) {
	page, err := b.Get(ctx, address)
	if err != nil {
		return Page{}, err
	}
	if page, err = b.Fill(ctx, page, map[string]string{"identifier": user}); err != nil {
		return Page{}, err
	}
	return b.Fill(ctx, page, map[string]string{"password": password})
}

// Register makes an account at the pages' origin.
func (b *Browser) Register(ctx context.Context, pages, user, password string) (Page, error) {
	began := time.Now()
	page, err := b.Get(ctx, pages+"/register")
	if err != nil {
		return Page{}, err
	}
	name, _, _ := strings.Cut(user, "@")
	if page, err = b.Fill(ctx, page, map[string]string{"name": name, "email": user, "password": password}); err != nil {
		return Page{}, err
	}
	code, err := b.MailedCode(ctx, user, began)
	if err != nil {
		return Page{}, err
	}
	return b.Fill(ctx, page, map[string]string{"code": code})
}

// clip is the beginning of a page's text.
func clip(body string) string {
	text := strings.Join(strings.Fields(regexp.MustCompile(`(?s)<style.*?</style>|<[^>]*>`).ReplaceAllString(body, " ")), " ")
	return text[:min(len(text), 300)]
}

// mailWait is how long a mailed code may take.
const mailWait = 30 * time.Second

// MailedCode waits for a code that was mailed to somebody since a time, in the folder where mail goes without a server. Files' names there begin
// with when they were sent; what the file system says is up to a tick of the kernel's clock earlier.
func (b *Browser) MailedCode(ctx context.Context, to string, since time.Time) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, mailWait)
	defer cancel()
	digits := regexp.MustCompile(`\b[0-9]{6,8}\b`)
	first := since.UTC().Format("20060102T150405.000000")
	for {
		files, _ := filepath.Glob(filepath.Join(b.Mail, "*"))
		for _, f := range files {
			if filepath.Base(f) < first {
				continue
			}
			mail, err := os.ReadFile(f)
			if err != nil || !strings.Contains(string(mail), to) {
				continue
			}
			_, text, _ := strings.Cut(string(mail), "\n\n")
			if _, crlf, ok := strings.Cut(string(mail), "\r\n\r\n"); ok {
				text = crlf
			}
			if code := digits.FindString(text); code != "" {
				return code, nil
			}
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return "", fmt.Errorf("no mail came to %s: %w", to, ctx.Err())
		}
	}
}

// Fill sends a page's form with what a person types, and follows where it leads.
func (b *Browser) Fill(ctx context.Context, page Page, typed map[string]string) (Page, error) {
	f, err := formWith(page.Body, typed)
	if err != nil {
		return Page{}, fmt.Errorf("%s (status %d): %w: %s", page.URL, page.Status, err, clip(page.Body))
	}
	to, err := page.URL.Parse(f.action)
	if err != nil {
		return Page{}, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to.String(), strings.NewReader(f.values.Encode()))
	if err != nil {
		return Page{}, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Origin", to.Scheme+"://"+to.Host)
	r, err := b.do(req)
	for hops := 0; err == nil && hops < 5; hops++ {
		_, next, ok := strings.Cut(r.Header.Get("Refresh"), "url=")
		if !ok {
			break
		}
		if req, err = http.NewRequestWithContext(ctx, http.MethodGet, next, nil); err == nil {
			req.Header.Set("Accept", "text/html")
			r, err = b.do(req)
		}
	}
	return r, err
}

type form struct {
	action string
	values url.Values
}

// formWith is the first form that has all the fields.
func formWith(page string, typed map[string]string) (form, error) {
	root, err := html.Parse(strings.NewReader(page))
	if err != nil {
		return form{}, err
	}
	for n := range root.Descendants() {
		if n.Type != html.ElementNode || n.Data != "form" {
			continue
		}
		f := form{action: attribute(n, "action"), values: url.Values{}}
		for in := range n.Descendants() {
			if in.Type == html.ElementNode && (in.Data == "input" || in.Data == "button" && attribute(in, "value") == typed[attribute(in, "name")]) {
				f.values.Set(attribute(in, "name"), attribute(in, "value"))
			}
		}
		has := true
		for name, value := range typed {
			has = has && f.values.Has(name)
			f.values.Set(name, value)
		}
		if !has {
			continue
		}
		if challenge := attribute(n, "data-work"); challenge != "" {
			work, err := solve(challenge)
			if err != nil {
				return form{}, err
			}
			f.values.Set("work", work)
		}
		return f, nil
	}
	return form{}, errors.New("no such form")
}

func attribute(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

// solve does the work that registration asks of a browser.
func solve(challenge string) (string, error) {
	var c struct {
		Algorithm string `json:"algorithm"`
		Challenge string `json:"challenge"`
		MaxNumber int64  `json:"maxnumber"`
		Salt      string `json:"salt"`
		Signature string `json:"signature"`
		Number    int64  `json:"number"`
	}
	if err := json.Unmarshal([]byte(challenge), &c); err != nil {
		return "", fmt.Errorf("read the work: %w", err)
	}
	for ; c.Number <= c.MaxNumber; c.Number++ {
		sum := sha256.Sum256([]byte(c.Salt + strconv.FormatInt(c.Number, 10)))
		if hex.EncodeToString(sum[:]) == c.Challenge {
			b, err := json.Marshal(c)
			return base64.StdEncoding.EncodeToString(b), err
		}
	}
	return "", errors.New("the work has no solution")
}
