// Package forge opens, refreshes and merges proposals on GitHub and GitLab.
//
// Guarantee: the token goes to the forge's own host alone, over TLS but for loopback, and is never in an error; a merge names the commit
// that was tried, so that what was pushed since isn't merged. Not guaranteed: that a forge's own rules allow it.
package forge

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/base/secret"
)

// Proposal is what somebody is asked to merge.
type Proposal struct {
	Branch, Base string // from, into
	Title, Body  string // Body is Markdown
}

// Request is a proposal on a forge: a pull request, or a merge request.
type Request struct {
	Number int
	URL    string
	Branch string
	Title  string
}

// Forge is where proposals are opened. Implementations are safe for concurrent use.
type Forge interface {
	// List returns the open ones whose branch begins with a prefix.
	List(ctx context.Context, prefix string) ([]Request, error)
	// Propose opens a proposal, or brings the open one of its branch up to date.
	Propose(ctx context.Context, p Proposal) (Request, error)
	// Merge merges one as soon as the forge's own checks have passed, if its head is still commit. fault.Unavailable: not yet.
	Merge(ctx context.Context, r Request, commit string) error
}

// Config says which project on which forge.
type Config struct {
	API     string // base URL; "" for the public one of Kind
	Project string // "owner/name"; on GitLab also with groups
	Token   secret.Bytes
	Client  *http.Client // nil for one with a limit of 30 seconds
}

// Limits of what a forge may answer.
const (
	maxAnswer = 8 << 20
	maxPages  = 50
)

// client speaks JSON with one host.
type client struct {
	base   *url.URL
	http   *http.Client
	header func(http.Header)
}

func newClient(c Config, public string, header func(http.Header)) (*client, error) {
	base := c.API
	if base == "" {
		base = public
	}
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || u.User != nil {
		return nil, fault.New(fault.Invalid, "the forge's address must be a URL such as "+public)
	}
	if u.Scheme != "https" && !loopback(u.Hostname()) {
		return nil, fault.New(fault.Invalid, "the forge's address must be https: the token would be read on the way")
	}
	if len(c.Token.Reveal()) == 0 {
		return nil, fault.New(fault.Usage, "there is no token for the forge")
	}
	h := c.Client
	if h == nil {
		h = &http.Client{Timeout: 30 * time.Second}
	}
	own := *h
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse } // the token isn't for others
	return &client{base: u, http: &own, header: header}, nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// errStatus is an answer that isn't a success.
type errStatus struct {
	status  int
	message string
}

func (e *errStatus) Error() string {
	return fmt.Sprintf("the forge answers %d: %s", e.status, e.message)
}

// call sends body as JSON, reads the answer into out (nil for none), and returns the header.
func (c *client) call(ctx context.Context, method, p string, body, out any) (http.Header, error) {
	u := *c.base
	raw, query, _ := strings.Cut(p, "?")
	u.RawQuery = query
	u.RawPath = path.Join(u.EscapedPath(), raw)
	var err error
	if u.Path, err = url.PathUnescape(u.RawPath); err != nil {
		return nil, fmt.Errorf("call forge: %w", err)
	}
	var r io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return nil, fmt.Errorf("call forge: %w", err)
		}
		r = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, u.String(), r)
	if err != nil {
		return nil, fmt.Errorf("call forge: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "ward")
	c.header(req.Header)
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, "the forge can't be reached", err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, "the forge's answer can't be read", err)
	}
	if resp.StatusCode/100 != 2 {
		return nil, refusal(resp.StatusCode, b)
	}
	if out != nil {
		if err := json.Unmarshal(b, out); err != nil {
			return nil, fault.Wrap(fault.Unavailable, "the forge's answer isn't understood", err)
		}
	}
	return resp.Header, nil
}

// refusal says what to do about an answer.
func refusal(status int, body []byte) error {
	var said struct {
		Message json.RawMessage `json:"message"`
		Errors  []struct {
			Message string `json:"message"`
		} `json:"errors"`
	}
	_ = json.Unmarshal(body, &said) // what isn't JSON says nothing
	text := strings.Trim(string(said.Message), `"`)
	for _, e := range said.Errors {
		text += "; " + e.Message
	}
	if len(text) > 500 {
		text = text[:500]
	}
	err := &errStatus{status, text}
	switch {
	case status == http.StatusUnauthorized:
		return fault.Wrap(fault.Refused, "the forge doesn't know the token", err)
	case status == http.StatusForbidden || status == http.StatusTooManyRequests:
		return fault.Wrap(fault.Refused, "the forge refuses: the token may not do this, or has called too often", err)
	case status == http.StatusNotFound:
		return fault.Wrap(fault.NotFound, "the forge knows no such project, or doesn't show it to this token", err)
	}
	return err
}

// is tells whether an error is an answer with a status.
func is(err error, status int) bool {
	e, ok := errors.AsType[*errStatus](err)
	return ok && e.status == status
}

// ProjectOf reads a git remote's URL: the host, and the project's path.
func ProjectOf(remote string) (host, project string, err error) {
	text := remote
	if rest, ok := strings.CutPrefix(text, "git@"); ok && !strings.Contains(text, "://") { // git's own short form of ssh
		h, p, _ := strings.Cut(rest, ":")
		text = "ssh://" + h + "/" + p
	}
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" {
		return "", "", fault.New(fault.Invalid, "the remote isn't one of a forge: it must be a URL such as https://github.com/owner/name")
	}
	project = strings.TrimSuffix(strings.Trim(u.Path, "/"), ".git")
	if parts := strings.Split(project, "/"); len(parts) < 2 || path.Clean(project) != project || strings.ContainsAny(project, "?#%\\ ") {
		return "", "", fault.New(fault.Invalid, "the remote names no project: it must end in owner/name")
	}
	return u.Hostname(), project, nil
}
