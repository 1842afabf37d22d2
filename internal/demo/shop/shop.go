// Package shop is a small book shop of six services and a toy of a database, insecure on purpose: it
// carries the kinds of holes that public demo shops are known for, each marked
// "HOLE" where it is. `ward demo` attacks it, without Ward and with it.
//
// Guarantee: a role takes all it needs from its environment and its working
// directory, as an ordinary service does, knows nothing of Ward, and ends
// with its context. Not guaranteed: any safety whatsoever. Never serve it beyond
// loopback.
package shop

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Config is what a role is started with.
type Config struct {
	Env func(string) string // as os.Getenv
	Dir string              // the working directory; data is kept in its folder "data"
	Log io.Writer
}

// site is a running role.
type site struct {
	name string
	env  func(string) string
	dir  string
	log  *log.Logger
	http *http.Client
}

// role is one of the services.
type role struct {
	name    string
	listen  string // the address unless LISTEN says another
	handler func(context.Context, *site) (http.Handler, error)
}

// dbName is the role that doesn't speak HTTP.
const dbName = "db"

// roles are in the order in which they need each other.
func roles() []role {
	return []role{
		{dbName, ":5432", nil},
		{"payments", ":9090", newPayments},
		{"mailer", ":8080", newMailer},
		{"catalog", ":8080", newCatalog},
		{"cart", ":8080", newCart},
		{"orders", ":8080", newOrders},
		{"web", ":8080", newWeb},
	}
}

// Names are the roles, each after those that it calls.
func Names() []string {
	var out []string
	for _, r := range roles() {
		out = append(out, r.name)
	}
	return out
}

// Run serves one role until ctx ends.
func Run(ctx context.Context, name string, c Config) error {
	for _, r := range roles() {
		if r.name != name {
			continue
		}
		address := r.listen
		if a := c.Env("LISTEN"); a != "" {
			address = a
		}
		ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
		if err == nil {
			err = r.serve(ctx, ln, c)
		}
		if err != nil {
			return fmt.Errorf("run %s: %w", name, err)
		}
		return nil
	}
	return fmt.Errorf("the shop has no role %q", name)
}

// serve answers on ln until ctx ends.
func (r *role) serve(ctx context.Context, ln net.Listener, c Config) error {
	defer ln.Close()
	s := &site{name: r.name, env: c.Env, dir: c.Dir, log: log.New(c.Log, "", 0), http: &http.Client{Timeout: 5 * time.Second}}
	if r.name == dbName {
		return serveDB(ctx, ln, s)
	}
	h, err := r.handler(ctx, s)
	if err != nil {
		return err
	}
	// payments speaks gRPC: HTTP/2 without TLS. The others never see it used.
	var p http.Protocols
	p.SetHTTP1(true)
	p.SetUnencryptedHTTP2(true)
	srv := &http.Server{Handler: h, Protocols: &p, ReadHeaderTimeout: 5 * time.Second}
	stop := context.AfterFunc(ctx, func() { srv.Close() })
	defer stop()
	if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve: %w", err)
	}
	return nil
}

// secret is what NAME_FILE leads to or, HOLE, what NAME is: then it is for all to see who see the process.
func (s *site) secret(name string) (string, error) {
	path := s.env(name + "_FILE")
	if path == "" {
		return s.env(name), nil
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("read secret: %w", err)
	}
	return string(b), nil
}

// support: HOLE, errors tell everything, as debug pages do: the environment and the secrets of this process, "for support".
func (s *site) support() string {
	b, err := os.ReadFile("/proc/self/environ")
	if err != nil {
		b = []byte(err.Error())
	}
	files, _ := filepath.Glob("/run/secrets/*") // the pattern is right
	for _, f := range files {
		text, _ := os.ReadFile(f) // what can't be read isn't told
		b = append(append(b, '\n'), text...)
	}
	return s.name + " has: " + strings.ReplaceAll(string(b), "\x00", " ")
}

// url is where a neighbour answers: CATALOG_URL, or by its name as in any network of containers.
func (s *site) url(name string) string {
	if u := s.env(strings.ToUpper(name) + "_URL"); u != "" {
		return u
	}
	if name == "cards" {
		return "http://cards.example"
	}
	return "http://" + name + ":8080"
}

// maxAnswer bounds what a neighbour may answer, in bytes.
const maxAnswer = 1 << 20

// call asks a neighbour; what is "METHOD URL". It sends in as JSON (nothing if nil) and reads the
// answer into out (drops it if nil).
func (s *site) call(ctx context.Context, what string, in, out any) error {
	return s.callAs(ctx, "", what, in, out)
}

// callAs is call with an Authorization.
func (s *site) callAs(ctx context.Context, authorization, what string, in, out any) error {
	method, url, _ := strings.Cut(what, " ")
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		body = strings.NewReader(string(b))
	}
	req, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if h, ok := ctx.Value(passedKey{}).(http.Header); ok {
		req.Header = h.Clone()
	}
	if authorization != "" {
		req.Header.Set("Authorization", authorization)
	}
	resp, err := s.http.Do(req)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if resp.StatusCode >= 400 {
		return fmt.Errorf("%s: status %d: %.4000s", what, resp.StatusCode, b)
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(b, out); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// respond writes v as JSON.
func respond(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // the caller has gone
}

// read takes a JSON body, or answers 400.
func read(w http.ResponseWriter, r *http.Request, v any) bool {
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxAnswer)).Decode(v); err != nil {
		http.Error(w, "bad request", http.StatusBadRequest)
		return false
	}
	return true
}

type passedKey struct{}

// passing lets calls within a request carry for whom and in which trace it is, as tracing libraries do.
func passing(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), passedKey{}, passedOn(r))))
	})
}

// passedOn are the fields that tell the next service.
func passedOn(r *http.Request) http.Header {
	out := http.Header{}
	for _, name := range []string{"Txn-Token", "Traceparent"} {
		if v := r.Header.Get(name); v != "" {
			out.Set(name, v)
		}
	}
	return out
}
