package demo

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/html"
)

// password is every customer's: long enough to be one factor alone.
const password = "a harbour full of quiet boats"

// atWard signs somebody in as the pages ask: with an account that is made first if there is none yet, proof of work and
// mailed code included. Nothing here is a short cut that a browser hasn't.
func atWard(mail string) func(ctx context.Context, w *world, user string) error {
	return func(ctx context.Context, w *world, user string) error {
		page, err := w.get(ctx, "/account")
		if err != nil {
			return err
		}
		if page, err = w.fill(ctx, page, map[string]string{"identifier": user}); err != nil {
			return err
		}
		if page, err = w.fill(ctx, page, map[string]string{"password": password}); err != nil {
			return err
		}
		if w.isIn(page, user) {
			return nil
		}
		if err := w.anew().register(ctx, mail, user); err != nil {
			return fmt.Errorf("register: %w", err)
		}
		if page, err = w.fill(ctx, page, map[string]string{"password": password}); err != nil {
			return err
		}
		if !w.isIn(page, user) {
			return fmt.Errorf("status %d at %s: %s", page.status, page.url, words(page.body))
		}
		return nil
	}
}

// isIn tells whether a page is the shop's own about an account.
func (w *world) isIn(page reply, user string) bool {
	return page.status == http.StatusOK && strings.HasPrefix(page.url.String(), w.base+"/") && strings.Contains(page.body, user)
}

// register makes an account.
func (w *world) register(ctx context.Context, mail, user string) error {
	began := time.Now()
	u, err := url.Parse(w.base)
	if err != nil {
		return err
	}
	u.Host = "id." + u.Host
	w.base = u.String()
	page, err := w.get(ctx, "/register")
	if err != nil {
		return err
	}
	name, _, _ := strings.Cut(user, "@")
	if page, err = w.fill(ctx, page, map[string]string{"name": name, "email": user, "password": password}); err != nil {
		return err
	}
	code, err := mailedCode(ctx, mail, user, began)
	if err != nil {
		return err
	}
	_, err = w.fill(ctx, page, map[string]string{"code": code})
	return err
}

// mailedCode waits for the code that was mailed to somebody, in the folder where mail goes without a server.
func mailedCode(ctx context.Context, dir, to string, since time.Time) (string, error) {
	digits := regexp.MustCompile(`\b[0-9]{6,8}\b`)
	for {
		files, _ := filepath.Glob(filepath.Join(dir, "*"))
		for _, f := range files {
			st, err := os.Stat(f)
			if err != nil || st.ModTime().Before(since.Add(-time.Second)) {
				continue
			}
			b, err := os.ReadFile(f)
			if err != nil || !strings.Contains(string(b), to) {
				continue
			}
			_, text, _ := strings.Cut(string(b), "\n\n")
			if _, crlf, ok := strings.Cut(string(b), "\r\n\r\n"); ok {
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

// fill sends a page's form with what a person types, and follows where it leads.
func (w *world) fill(ctx context.Context, page reply, typed map[string]string) (reply, error) {
	f, err := formWith(page.body, typed)
	if err != nil {
		return reply{}, fmt.Errorf("%s (status %d): %w: %s", page.url, page.status, err, words(page.body))
	}
	to, err := page.url.Parse(f.action)
	if err != nil {
		return reply{}, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to.String(), strings.NewReader(f.values.Encode()))
	if err != nil {
		return reply{}, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Origin", to.Scheme+"://"+to.Host)
	r, err := w.do(req)
	for hops := 0; err == nil && hops < 5; hops++ {
		_, next, ok := strings.Cut(r.header.Get("Refresh"), "url=")
		if !ok {
			break
		}
		if req, err = http.NewRequestWithContext(ctx, http.MethodGet, next, nil); err == nil {
			req.Header.Set("Accept", "text/html")
			r, err = w.do(req)
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
			if in.Type == html.ElementNode && in.Data == "input" {
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
