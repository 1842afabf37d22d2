// Package registry asks the places that parts are published at which releases there are, and what a tag stands for.
//
// Guarantee: an answer is complete or an error; each answer, archive and list is bounded in bytes, number and time; nothing goes to a
// place that the ecosystem's own configuration doesn't name, and an https address never leads to http. Not guaranteed: that times are true
// (Release.Claimed says whose word they are), and that private registries with credentials answer: Ward has none for them.
package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/wardhq/ward/internal/base/fault"
)

// Release is one published version.
type Release struct {
	Version   string    `json:"version"`
	Published time.Time `json:"published"`         // zero if nobody says
	Claimed   bool      `json:"claimed,omitempty"` // Published is its publisher's word, not the registry's
	// Retracted says why its publisher took it back, Deprecated what to use instead; "" if neither.
	Retracted  string            `json:"retracted,omitempty"`
	Deprecated string            `json:"deprecated,omitempty"`
	Scripts    bool              `json:"scripts,omitempty"`   // it runs code when it is installed
	Publisher  string            `json:"publisher,omitempty"` // who uploaded it; "" where the registry doesn't say
	Integrity  string            `json:"integrity,omitempty"` // W3C Subresource Integrity
	Requires   map[string]string `json:"requires,omitempty"`  // the parts that it asks for, with their ranges
}

// Registry lists what is published of one ecosystem. Implementations are safe for concurrent use.
type Registry interface {
	// Releases are the releases of a part from a version on, itself included where it is known, lowest first; from "" are all.
	Releases(ctx context.Context, name, from string) ([]Release, error)
	// Archive is what was published: a Go module zip, or an npm tarball whose integrity was checked.
	Archive(ctx context.Context, name, version string) ([]byte, error)
}

// Pinner tells what a name that can move stands for now: an image's tag, an action's branch or tag.
type Pinner interface {
	Pin(ctx context.Context, name, tag string) (string, error)
}

// Limits of what a registry may answer.
const (
	maxAnswer   = 96 << 20 // npm's full documents hold every version's description
	maxSmall    = 1 << 20
	maxArchive  = 128 << 20
	maxReleases = 1000
	patience    = 60 * time.Second
	maxLeads    = 5 // redirects
)

// errAbsent is an answer that the thing isn't there, which another place may have.
var errAbsent = errors.New("not there")

// web fetches over HTTP.
type web struct{ client *http.Client }

func newWeb(c *http.Client) web {
	own := http.Client{Timeout: patience}
	if c != nil {
		own = *c
	}
	own.CheckRedirect = func(r *http.Request, via []*http.Request) error {
		if len(via) > maxLeads {
			return errors.New("too many redirects")
		}
		if via[0].URL.Scheme == "https" && r.URL.Scheme != "https" {
			return errors.New("a redirect leads from https to " + r.URL.Scheme)
		}
		return nil
	}
	return web{&own}
}

// get reads a URL of scheme https, http or file whole.
func (w web) get(ctx context.Context, address string, limit int64, header ...string) ([]byte, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, fmt.Errorf("ask registry: %w", err)
	}
	if u.Scheme == "file" {
		return readFile(u, limit)
	}
	resp, err := w.do(ctx, http.MethodGet, address, header)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	return readAll(resp.Body, limit, u.Redacted())
}

// do asks, and turns every status but 200 into an error.
func (w web) do(ctx context.Context, method, address string, header []string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, address, nil)
	if err != nil {
		return nil, fmt.Errorf("ask registry: %w", err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := w.client.Do(req)
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, "the registry at "+req.URL.Host+" doesn't answer", err)
	}
	switch resp.StatusCode {
	case http.StatusOK:
		return resp, nil
	case http.StatusNotFound, http.StatusGone:
		err = fault.Wrap(fault.NotFound, "the registry at "+req.URL.Host+" doesn't have it", errAbsent)
	case http.StatusUnauthorized, http.StatusForbidden:
		err = &refusal{fault.New(fault.Refused, "the registry at "+req.URL.Host+" asks for credentials, which Ward doesn't have"), resp.Header.Get("Www-Authenticate")}
	default:
		err = fault.New(fault.Unavailable, fmt.Sprintf("the registry at %s answers %d", req.URL.Host, resp.StatusCode))
	}
	resp.Body.Close()
	return nil, err
}

// refusal is an answer that asks for credentials, with its challenge.
type refusal struct {
	err       *fault.Error
	challenge string
}

func (r *refusal) Error() string { return r.err.Error() }
func (r *refusal) Unwrap() error { return r.err }

func readAll(r io.Reader, limit int64, from string) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, "the answer of "+from+" ended too early", err)
	}
	if int64(len(b)) > limit {
		return nil, fault.New(fault.Exhausted, fmt.Sprintf("the answer of %s is larger than %d MB", from, limit>>20))
	}
	return b, nil
}

func readFile(u *url.URL, limit int64) ([]byte, error) {
	if u.Host != "" || !filepath.IsAbs(u.Path) {
		return nil, fault.New(fault.Invalid, u.String()+" isn't a file of this machine")
	}
	f, err := os.Open(u.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.Wrap(fault.NotFound, u.Path+" doesn't exist", errAbsent)
	}
	if err != nil {
		return nil, fmt.Errorf("ask registry: %w", err)
	}
	defer f.Close()
	return readAll(f, limit, u.Path)
}
