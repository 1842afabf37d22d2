package main

import (
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wardhq/ward/internal/demo/visitor"
	"golang.org/x/crypto/argon2"
)

const password = "a harbour full of quiet boats"

// hashOf is as Ward makes them: argon2id, 19 MiB, two passes.
var hashOf = func() func(string) string {
	salt := []byte("sixteen bytes of")
	key := argon2.IDKey([]byte(password), salt, 2, 19<<10, 1, 32)
	encode := base64.RawStdEncoding.EncodeToString
	encoded := "$argon2id$v=19$m=19456,t=2,p=1$" + encode(salt) + "$" + encode(key)
	return func(string) string { return encoded }
}()

// browser is somebody else's each time: from an address in a network of its own.
func browser(n int64) *visitor.Browser {
	from := net.IPv4(127, byte(1+n>>16), byte(n>>8), byte(n))
	return visitor.New(&http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DialContext: resolve(from), MaxIdleConnsPerHost: 1,
	}, "")
}

// signInFor has people sign in, some at a time, and returns how long each password took.
func signInFor(length time.Duration, atOnce int, next *atomic.Int64) []time.Duration {
	var all sync.WaitGroup
	var mu sync.Mutex
	var took []time.Duration
	end := time.Now().Add(length)
	for range atOnce {
		all.Go(func() {
			for time.Now().Before(end) {
				s := before(next.Add(1))
				if s == nil {
					continue
				}
				began := time.Now()
				p, err := s.b.Fill(ctx, s.page, map[string]string{"password": password})
				if err != nil || p.Status != http.StatusOK || !strings.HasPrefix(p.URL.String(), pages+"/account") {
					fmt.Fprintln(os.Stderr, "sign-in:", p.Status, p.URL, err)
					continue
				}
				mu.Lock()
				took = append(took, time.Since(began))
				mu.Unlock()
				s.b.Client.CloseIdleConnections()
			}
		})
	}
	all.Wait()
	return took
}

// standing is somebody who is asked for their password.
type standing struct {
	b    *visitor.Browser
	page visitor.Page
}

func before(n int64) *standing {
	b := browser(n)
	page, err := b.Get(ctx, pages+"/sign-in")
	if err == nil {
		page, err = b.Fill(ctx, page, map[string]string{"identifier": fmt.Sprintf("p%d@example.org", n%4000)})
	}
	if err != nil || page.Status != http.StatusOK {
		fmt.Fprintln(os.Stderr, "before the password:", page.Status, err)
		return nil
	}
	return &standing{b, page}
}

// prepare leads n people to their password.
func prepare(n int, next *atomic.Int64) []*standing {
	var all sync.WaitGroup
	var mu sync.Mutex
	var out []*standing
	for range 8 {
		all.Go(func() {
			for range n / 8 {
				if s := before(next.Add(1)); s != nil {
					mu.Lock()
					out = append(out, s)
					mu.Unlock()
				}
			}
		})
	}
	all.Wait()
	return out
}

// flood sends the passwords at a rate, whether or not they are answered.
func flood(ready []*standing, rate int) string {
	var all sync.WaitGroup
	var mu sync.Mutex
	answers, retry := map[int]int{}, 0
	tick := time.NewTicker(time.Second / time.Duration(rate))
	defer tick.Stop()
	for _, s := range ready {
		<-tick.C
		all.Go(func() {
			p, err := s.b.Fill(ctx, s.page, map[string]string{"password": password})
			if err != nil {
				p.Status = 0
			}
			mu.Lock()
			defer mu.Unlock()
			answers[p.Status]++
			if p.Status == http.StatusTooManyRequests && p.Header.Get("Retry-After") != "" {
				retry++
			}
			s.b.Client.CloseIdleConnections()
		})
	}
	all.Wait()
	return fmt.Sprintf("status and number %v, of the 429 %d with Retry-After", answers, retry)
}

// tokens asks for tokens and introspects them, 40 of each a second, and tells the latencies.
func tokens(length time.Duration) string {
	c := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DialContext: resolve(net.IPv4(127, 0, 0, 1)), MaxIdleConnsPerHost: 64}}
	var all sync.WaitGroup
	var mu sync.Mutex
	var got [2][]time.Duration
	bad := map[int]int{}
	tick := time.NewTicker(25 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(length); time.Now().Before(end); {
		<-tick.C
		all.Go(func() {
			token := ""
			for i, form := range []url.Values{{"grant_type": {"client_credentials"}}, {}} {
				path := "/token"
				if i == 1 {
					path = "/introspect"
					form.Set("token", token)
				}
				began := time.Now()
				status, body := post(c, pages+path, form)
				took := time.Since(began)
				var answer struct {
					Access string `json:"access_token"`
					Active bool
				}
				_ = json.Unmarshal(body, &answer)
				token = answer.Access
				mu.Lock()
				if status == http.StatusOK && (i == 0 || answer.Active) {
					got[i] = append(got[i], took)
				} else {
					bad[status]++
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
	return fmt.Sprintf("token p50 %s p99 %s, introspection p50 %s p99 %s, %d of each, others %v",
		percentile(got[0], 50), percentile(got[0], 99), percentile(got[1], 50), percentile(got[1], 99), len(got[0]), bad)
}

func post(c *http.Client, to string, form url.Values) (int, []byte) {
	req, err := http.NewRequest(http.MethodPost, to, strings.NewReader(form.Encode()))
	if err != nil {
		return 0, nil
	}
	req.SetBasicAuth("reports", secret)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := c.Do(req)
	if err != nil {
		return 0, nil
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, b
}

func percentile(d []time.Duration, p int) time.Duration {
	if len(d) == 0 {
		return 0
	}
	slices.Sort(d)
	return d[min(len(d)-1, len(d)*p/100)].Round(100 * time.Microsecond)
}
