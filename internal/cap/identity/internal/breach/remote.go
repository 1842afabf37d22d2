package breach

import (
	"bufio"
	"context"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/wardhq/ward/internal/base/secret"
)

const (
	rangeDigits = 5       // of the SHA-1, that the API learns
	rangeAnswer = 1 << 20 // bytes; a padded answer has some 60 KB
	rangeTime   = 2 * time.Second
)

// Range asks an API like that of Have I Been Pwned (k-anonymity, version 3).
type Range struct {
	base   *url.URL
	client *http.Client
}

// NewRange needs the API's https address, as "https://api.pwnedpasswords.com"; transport may be nil.
func NewRange(base string, transport http.RoundTripper) (*Range, error) {
	u, err := url.Parse(base)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" {
		return nil, errors.New("configure breach API: the address must be a plain https one")
	}
	return &Range{base: u, client: &http.Client{
		Transport: transport, Timeout: rangeTime,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// Contains asks whether the password is known.
func (r *Range) Contains(ctx context.Context, password secret.Bytes) (bool, error) {
	sum := sha1.Sum(password.Reveal())
	digits := strings.ToUpper(hex.EncodeToString(sum[:]))
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.base.JoinPath("range", digits[:rangeDigits]).String(), nil)
	if err != nil {
		return false, errors.New("ask breach API: the address can't be used")
	}
	req.Header.Set("Add-Padding", "true") // so that the answer's length doesn't tell the range
	req.Header.Set("User-Agent", "ward")
	resp, err := r.client.Do(req)
	if err != nil {
		if e, ok := errors.AsType[*url.Error](err); ok {
			err = e.Err // without the address, which has the digits
		}
		return false, fmt.Errorf("ask breach API: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return false, fmt.Errorf("ask breach API: it said %d", resp.StatusCode)
	}
	found, err := findSuffix(resp.Body, digits[rangeDigits:])
	if err != nil {
		return false, fmt.Errorf("ask breach API: %w", err)
	}
	return found, nil
}

// findSuffix looks for "SUFFIX:count" with a count above 0; the others are padding.
func findSuffix(body io.Reader, suffix string) (bool, error) {
	limited := &io.LimitedReader{R: body, N: rangeAnswer}
	lines := bufio.NewScanner(limited)
	found := false
	for lines.Scan() {
		s, count, ok := strings.Cut(strings.TrimSpace(lines.Text()), ":")
		if !ok || len(s) != 2*sha1.Size-rangeDigits || count == "" || strings.Trim(count, "0123456789") != "" {
			return false, errors.New("the answer isn't a list of hashes")
		}
		found = found || strings.EqualFold(s, suffix) && strings.Trim(count, "0") != ""
	}
	if lines.Err() != nil || limited.N == 0 {
		return false, errors.New("the answer is broken off or too long")
	}
	return found, nil
}

// Remote is a source that may not answer. *Range is one.
type Remote interface {
	Contains(ctx context.Context, password secret.Bytes) (bool, error)
}

// Checker asks the filter first, and then, where there is one, the remote source.
type Checker struct {
	Filter *Filter
	Remote Remote // may be nil
	Log    *slog.Logger

	unanswered atomic.Int64
}

// Breached reports whether the password is known to be public. It never fails: without the remote source's answer
// the filter's stands. It takes at most two seconds.
func (c *Checker) Breached(ctx context.Context, password secret.Bytes) bool {
	if c.Filter.Contains(password) {
		return true
	}
	if c.Remote == nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, rangeTime)
	defer cancel()
	known, err := c.Remote.Contains(ctx, password)
	if err != nil {
		c.unanswered.Add(1)
		c.Log.Warn("breach api not answered", "error", err)
		return false
	}
	return known
}

// Unanswered is how often the remote source gave no answer.
func (c *Checker) Unanswered() int64 { return c.unanswered.Load() }
