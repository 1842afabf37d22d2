package wire

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/wardhq/ward/internal/base/fault"
)

// MaxBody bounds request and reply bodies, in bytes.
const MaxBody = 64 << 20

// Handle adds a JSON call to mux: the body is decoded into In, the result encoded. An
// error becomes its kind's status with its public text; the whole error goes to the log.
func Handle[In, Out any](mux *http.ServeMux, pattern string, f func(context.Context, In) (Out, error)) {
	mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		var in In
		if r.Method != http.MethodGet {
			d := json.NewDecoder(http.MaxBytesReader(w, r.Body, MaxBody))
			if err := d.Decode(&in); err != nil {
				WriteError(w, fault.Wrap(fault.Invalid, "the body is not the JSON that this call takes", err))
				return
			}
		} else if q, ok := any(&in).(queryReader); ok {
			if err := q.readQuery(r.URL.Query().Get); err != nil {
				WriteError(w, err)
				return
			}
		}
		out, err := f(r.Context(), in)
		if err != nil {
			WriteError(w, err)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(out) // the caller has gone
	})
}

// queryReader is an In that comes in the query of a GET.
type queryReader interface {
	readQuery(get func(string) string) error
}

// Have asks for something newer than what the caller has; it waits for up to half a minute.
type Have struct{ Revision string }

func (h *Have) readQuery(get func(string) string) error {
	h.Revision = get("have")
	return nil
}

// errorBody is an error on the wire.
type errorBody struct {
	Kind  string `json:"kind"`
	Error string `json:"error"`
	// Message is the sentence where Error is the kind, as in the administrators' REST API.
	Message string `json:"message,omitempty"`
}

// WriteError answers with err's public face, and logs the rest.
func WriteError(w http.ResponseWriter, err error) {
	k := fault.KindOf(err)
	if k == fault.Internal {
		slog.Error("call failed", "error", err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(k.Status())
	_ = json.NewEncoder(w).Encode(errorBody{Kind: k.String(), Error: fault.PublicText(err)}) // the caller has gone
}

// ErrNoAnswer is in the chain of a call's error if nobody answered at all.
var ErrNoAnswer = errors.New("no answer")

// Client calls an API on a Unix socket, or wherever dial leads. Safe for concurrent use.
type Client struct {
	http *http.Client
	dial func(context.Context) (net.Conn, error)
}

// NewClient returns a client of the API on a Unix socket.
func NewClient(socket string) *Client {
	return NewClientDial(func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", socket)
	})
}

// NewClientDial returns a client whose connections dial makes.
func NewClientDial(dial func(context.Context) (net.Conn, error)) *Client {
	return &Client{dial: dial, http: &http.Client{Transport: &http.Transport{
		DialContext:     func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) },
		IdleConnTimeout: 30 * time.Second,
	}}}
}

// Call sends in as JSON (nil: no body) and decodes the reply into out (nil: dropped). An error
// reply comes back as a *fault.Error of the same kind.
func (c *Client) Call(ctx context.Context, method, path string, in, out any) error {
	resp, err := c.Do(ctx, method, path, in)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if out == nil {
		_, err = io.Copy(io.Discard, resp.Body)
	} else {
		err = json.NewDecoder(io.LimitReader(resp.Body, MaxBody)).Decode(out)
	}
	if err != nil {
		return fmt.Errorf("call %s: %w", path, err)
	}
	return nil
}

// Upload sends a body as it is, and decodes the reply into out.
func (c *Client) Upload(ctx context.Context, path string, body io.Reader, out any) error {
	resp, err := c.send(ctx, http.MethodPost, path, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(io.LimitReader(resp.Body, MaxBody)).Decode(out); err != nil {
		return fmt.Errorf("call %s: %w", path, err)
	}
	return nil
}

// Do is Call for a reply that is read as a stream; the caller closes its body.
func (c *Client) Do(ctx context.Context, method, path string, in any) (*http.Response, error) {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return nil, fmt.Errorf("call %s: %w", path, err)
		}
		body = bytes.NewReader(b)
	}
	return c.send(ctx, method, path, body)
}

// Dial opens a connection to the API, for who passes others' requests on.
func (c *Client) Dial(ctx context.Context) (net.Conn, error) { return c.dial(ctx) }

// Follow calls next with the sequence number that it returned last ("" at first), again and again until ctx ends; after an error it
// waits a moment, and what says in the log what failed.
func Follow(ctx context.Context, what string, next func(have string) (uint64, error)) {
	have := ""
	for ctx.Err() == nil {
		sequence, err := next(have)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			slog.Warn(what, "error", err)
			select {
			case <-time.After(200 * time.Millisecond):
			case <-ctx.Done():
			}
			continue
		}
		have = strconv.FormatUint(sequence, 10)
	}
}

func (c *Client) send(ctx context.Context, method, path string, body io.Reader) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://ward"+path, body)
	if err != nil {
		return nil, fmt.Errorf("call %s: %w", path, err)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, "Ward's process doesn't answer", errors.Join(ErrNoAnswer, err))
	}
	if resp.StatusCode/100 == 2 {
		return resp, nil
	}
	defer resp.Body.Close()
	var e errorBody
	if err := json.NewDecoder(io.LimitReader(resp.Body, 1<<16)).Decode(&e); err != nil || e.Error == "" {
		return nil, fmt.Errorf("call %s: status %d", path, resp.StatusCode)
	}
	if e.Message != "" {
		e.Kind, e.Error = e.Error, e.Message
	}
	for k := fault.Internal; k <= fault.Unsupported; k++ {
		if k.String() == e.Kind {
			return nil, fault.New(k, e.Error)
		}
	}
	return nil, errors.New(e.Error)
}

// Serve answers on ln until ctx ends.
func Serve(ctx context.Context, ln net.Listener, h http.Handler) error {
	s := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second, BaseContext: func(net.Listener) context.Context { return ctx }}
	stop := context.AfterFunc(ctx, func() { s.Close() })
	defer stop()
	if err := s.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve: %w", err)
	}
	return nil
}
