package notify

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/wardhq/ward/internal/base/clock"
	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/base/secret"
	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/wire"
)

// Limits of a try.
const (
	patience  = 15 * time.Second
	maxAnswer = 16 << 10 // bytes
	maxAfter  = time.Hour
)

// Channel tells somebody. Its error is a *Failure.
type Channel interface {
	Send(ctx context.Context, m *Message) error
}

// Way is how channels reach others.
type Way struct {
	Transport http.RoundTripper
	Dial      func(ctx context.Context, network, address string) (net.Conn, error)
	Clock     clock.Clock
}

// Failure is why a message wasn't taken, in words that help, without a secret or what the other side said.
type Failure struct {
	Text  string
	Again bool          // later it may be taken
	After time.Duration // as the other side asked for; 0 if it didn't
}

// Error implements error.
func (f *Failure) Error() string { return f.Text }

// newChannel makes a channel of a line of ward.yaml; files are those that it names. It returns the host that it tells.
func newChannel(n *model.Notify, files map[string][]byte, way Way) (c Channel, host string, err error) {
	key := line(files[n.KeyFile])
	if n.To == "mail" {
		return newMail(n, key, way)
	}
	where := n.URL
	if n.URLFile != "" {
		where = string(line(files[n.URLFile]).Reveal())
	}
	u, err := address(where)
	if err != nil {
		return nil, "", fmt.Errorf("%s: %w", n.To, err)
	}
	if n.URLFile != "" && !strings.EqualFold(strings.TrimSuffix(u.Host, ":443"), n.Host) {
		return nil, "", fmt.Errorf("%s: the URL in %s isn't one of %s, as host: says", n.To, n.URLFile, n.Host)
	}
	h := hook{url: u.String(), client: noRedirects(way.Transport), clock: way.Clock}
	empty := len(key.Reveal()) == 0
	switch n.To {
	case "slack":
		return slack{h}, u.Host, nil
	case "teams":
		return teams{h}, u.Host, nil
	case "ntfy":
		return ntfy{h, key}, u.Host, nil
	case "pagerduty":
		if empty {
			return nil, "", fmt.Errorf("pagerduty: there is no key in %s", n.KeyFile)
		}
		return pagerDuty{h, key}, u.Host, nil
	case "webhook":
		w := webhook{hook: h}
		if w.key, err = webhookKey(key); err != nil {
			return nil, "", fmt.Errorf("webhook: %s: %w", n.KeyFile, err)
		}
		return w, u.Host, nil
	}
	return nil, "", fmt.Errorf("%.40q is none of whom Ward can tell", n.To)
}

// line is the content of a file of one line.
func line(b []byte) secret.Bytes { return secret.New(bytes.TrimSpace(b)) }

// address is a URL that may be sent to: over TLS, or on this machine. An error doesn't show it: it may be a secret.
func address(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil || u.Hostname() == "" || u.User != nil || u.Fragment != "" {
		return nil, errors.New("where to send isn't a plain URL")
	}
	if u.Scheme != "https" && (u.Scheme != "http" || !loopback(u.Hostname())) {
		return nil, errors.New("the URL must begin with https")
	}
	return u, nil
}

func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// hook is a URL that takes messages.
type hook struct {
	url    string
	client *http.Client
	clock  clock.Clock
}

// post sends a body, as JSON unless it is text already.
func (h *hook) post(ctx context.Context, body any, header map[string]string) error {
	b, raw := body.([]byte)
	if !raw {
		b = []byte(marshal(body))
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, h.url, bytes.NewReader(b))
	if err != nil {
		return &Failure{Text: "the URL can't be used"}
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "ward")
	for name, value := range header {
		r.Header.Set(name, value)
	}
	return do(h.client, r, h.clock)
}

// do asks, and says what came of it.
func do(c *http.Client, r *http.Request, now clock.Clock) error {
	answer, err := c.Do(r)
	if err != nil {
		return unreached(err)
	}
	defer answer.Body.Close()
	_, _ = io.CopyN(io.Discard, answer.Body, maxAnswer) // so that the connection can be used again; what it says may hold what we sent
	code := answer.StatusCode
	if code/100 == 2 {
		return nil
	}
	f := &Failure{Text: fmt.Sprintf("the other side said %d (%s)", code, strings.ToLower(http.StatusText(code))), Again: true}
	switch {
	case code/100 == 3:
		f.Text += ": it leads elsewhere, where Ward doesn't go; write the final URL"
	case code == http.StatusUnauthorized || code == http.StatusForbidden:
		f.Text += ": the key, token or URL isn't accepted"
	case code == http.StatusNotFound || code == http.StatusGone:
		f.Text += ": nobody takes messages at this URL (any more)"
	case code == http.StatusTooManyRequests || code/100 == 5 || code == http.StatusRequestTimeout:
		f.After = min(retryAfter(answer.Header.Get("Retry-After"), now.Now()), maxAfter)
	default:
		f.Text, f.Again = f.Text+": it doesn't want this message", false
	}
	return f
}

// retryAfter is RFC 9110 §10.2.3: seconds, or a date; 0 for none.
func retryAfter(field string, now time.Time) time.Duration {
	if n, err := strconv.ParseUint(field, 10, 31); err == nil {
		return time.Duration(n) * time.Second
	}
	if at, err := http.ParseTime(field); err == nil {
		return max(0, at.Sub(now))
	}
	return 0
}

// unreached says why there was no answer.
func unreached(err error) *Failure {
	f := &Failure{Again: true}
	if e, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		f.Text = "its certificate isn't accepted: " + e.Err.Error()
		return f
	}
	if e, ok := errors.AsType[*fault.Error](err); ok { // the way out's
		f.Text = e.Public
		return f
	}
	if e, ok := errors.AsType[*net.DNSError](err); ok {
		f.Text = wire.Clip(e.Name) + " isn't found"
		return f
	}
	var slow net.Error
	if errors.As(err, &slow) && slow.Timeout() || errors.Is(err, context.DeadlineExceeded) {
		f.Text = "it didn't answer in time"
		return f
	}
	if e, ok := errors.AsType[*net.OpError](err); ok {
		f.Text = "it can't be reached: " + e.Err.Error()
		return f
	}
	f.Text = "it doesn't speak HTTP as it should, or over TLS"
	return f
}
