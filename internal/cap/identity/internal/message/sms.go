package message

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/wardhq/ward/internal/base/clock"
	"github.com/wardhq/ward/internal/base/secret"
)

// Webhook sends short messages through the operator's own endpoint: a POST of {"to","text"} as JSON. The header
// Ward-Signature is "t=<unix seconds>,v1=<hex>", where v1 is the HMAC-SHA-256 of "<unix seconds>.<body>".
type Webhook struct {
	target *url.URL
	key    secret.Bytes
	clock  clock.Clock
	client *http.Client
}

// NewWebhook needs an https address (http only to this machine) and a key of at least 32 bytes.
func NewWebhook(address string, key secret.Bytes, c clock.Clock, transport http.RoundTripper) (*Webhook, error) {
	u, err := target(address)
	if err != nil {
		return nil, fmt.Errorf("configure SMS webhook: %w", err)
	}
	if len(key.Reveal()) < 32 {
		return nil, errors.New("configure SMS webhook: the key has less than 32 bytes")
	}
	return &Webhook{target: u, key: key, clock: c, client: httpClient(transport)}, nil
}

// Send implements Sender.
func (w *Webhook) Send(ctx context.Context, m Message) error {
	if err := m.checkSMS(); err != nil {
		return fmt.Errorf("send SMS: %w", err)
	}
	body, err := json.Marshal(map[string]string{"to": m.To, "text": string(m.Text.Reveal())})
	if err != nil {
		return errors.New("send SMS: the text can't be written as JSON")
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, w.target.String(), bytes.NewReader(body))
	if err != nil {
		return errors.New("send SMS: the address can't be used")
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Ward-Signature", sign(w.key, w.clock.Now(), body))
	return post(w.client, r)
}

func sign(key secret.Bytes, at time.Time, body []byte) string {
	t := strconv.FormatInt(at.Unix(), 10)
	mac := hmac.New(sha256.New, key.Reveal())
	_, _ = mac.Write([]byte(t + "."))
	_, _ = mac.Write(body)
	return "t=" + t + ",v1=" + hex.EncodeToString(mac.Sum(nil))
}

// TwilioConfig is an account at Twilio, or at a service with the same API.
type TwilioConfig struct {
	Base      string // empty: https://api.twilio.com
	Account   string // SID
	Token     secret.Bytes
	From      string // number as E.164, or alphanumeric sender
	Transport http.RoundTripper
}

// Twilio sends short messages by Twilio's Messages API (2010-04-01).
type Twilio struct {
	c      TwilioConfig
	target *url.URL
	client *http.Client
}

// NewTwilio checks the configuration.
func NewTwilio(c TwilioConfig) (*Twilio, error) {
	if c.Base == "" {
		c.Base = "https://api.twilio.com"
	}
	u, err := target(c.Base)
	if err != nil {
		return nil, fmt.Errorf("configure Twilio: %w", err)
	}
	if c.Account == "" || strings.ContainsFunc(c.Account, func(r rune) bool { return r < '0' || r > 'z' || r > '9' && r < 'A' || r > 'Z' && r < 'a' }) ||
		len(c.Token.Reveal()) == 0 || c.From == "" || hasControl(c.From) {
		return nil, errors.New("configure Twilio: it needs account, token and sender")
	}
	return &Twilio{c: c, target: u.JoinPath("2010-04-01", "Accounts", c.Account, "Messages.json"), client: httpClient(c.Transport)}, nil
}

// Send implements Sender.
func (t *Twilio) Send(ctx context.Context, m Message) error {
	if err := m.checkSMS(); err != nil {
		return fmt.Errorf("send SMS: %w", err)
	}
	form := url.Values{"To": {m.To}, "From": {t.c.From}, "Body": {string(m.Text.Reveal())}}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, t.target.String(), strings.NewReader(form.Encode()))
	if err != nil {
		return errors.New("send SMS: the address can't be used")
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth(t.c.Account, string(t.c.Token.Reveal()))
	return post(t.client, r)
}

func target(address string) (*url.URL, error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" {
		return nil, errors.New("the address isn't a plain URL") // the cause would show it, with what secret it may hold
	}
	if u.Scheme != "https" && (u.Scheme != "http" || !loopback(u.Hostname())) {
		return nil, errors.New("the address must begin with https")
	}
	return u, nil
}

func httpClient(transport http.RoundTripper) *http.Client {
	return &http.Client{
		Transport: transport,
		Timeout:   maxSending / 4,
		// Codes and credentials go where the operator said, and nowhere else.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func post(c *http.Client, r *http.Request) error {
	resp, err := c.Do(r)
	if err != nil {
		if e, ok := errors.AsType[*url.Error](err); ok {
			err = e.Err // without the address
		}
		return fmt.Errorf("send SMS: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	_, _ = io.CopyN(io.Discard, resp.Body, maxReply)
	switch {
	case resp.StatusCode >= 200 && resp.StatusCode < 300:
		return nil
	case resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode == http.StatusRequestTimeout || resp.StatusCode >= 500:
		return fmt.Errorf("send SMS: the service said %d", resp.StatusCode)
	default:
		return fmt.Errorf("send SMS: %w: the service said %d", ErrPermanent, resp.StatusCode)
	}
}
