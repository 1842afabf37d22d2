// Package wardtest is the world that tests of the whole system run in: a toy
// service, and what drives a real supervisor around it.
//
// It guarantees that nothing it starts outlives the test. It is imported by tests
// only.
package wardtest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spiffe/go-spiffe/v2/workloadapi"
)

// Answer is what the toy service says of a request.
type Answer struct {
	Service string              `json:"service"`
	Method  string              `json:"method"`
	Path    string              `json:"path"`
	Caller  string              `json:"caller"`
	Header  map[string][]string `json:"header"`
	Called  map[string]string   `json:"called,omitempty"` // URL → status and body, of /call?url=
	PID     int                 `json:"pid"`
}

// Toy is a service as anybody would write one: it listens on all addresses, knows nothing
// of Ward, and tells what it sees. NAME names it, PORT says where it listens (8080).
//
//	/call?url=U   fetches each U and tells what came back; with pass=F also passes the request's field F on
//	/token?url=U  asks a token endpoint for a token, showing its SVID, with the rest of the query as form
//	/slow?ms=N    answers after N milliseconds
//	/exit         ends the process
//	/stream?n=N   N lines, one each 10 ms
//	/lie          answers with a field that only Ward may set
//	/echo         a WebSocket that says what it hears
//	/span?of=T    sends a span of the trace T, or else of the request's, as if it were billing's
func Toy() {
	port := os.Getenv("PORT")
	if port == "" {
		port = "8080"
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/exit", func(http.ResponseWriter, *http.Request) { os.Exit(3) })
	mux.HandleFunc("/lie", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Ward-Denial", "d-lie")
		answer(w, r, nil)
	})
	mux.HandleFunc("/slow", func(w http.ResponseWriter, r *http.Request) {
		d, err := time.ParseDuration(r.URL.Query().Get("ms") + "ms")
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		time.Sleep(d)
		answer(w, r, nil)
	})
	mux.HandleFunc("/stream", func(w http.ResponseWriter, r *http.Request) {
		var n int
		if _, err := fmt.Sscan(r.URL.Query().Get("n"), &n); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		for i := range n {
			fmt.Fprintln(w, i)
			_ = http.NewResponseController(w).Flush() // the reader has gone
			time.Sleep(10 * time.Millisecond)
		}
	})
	mux.HandleFunc("/token", askToken)
	mux.HandleFunc("/span", sendSpan)
	mux.HandleFunc("/echo", echo)
	safe(mux)
	intruder(mux)
	database(mux)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		called := map[string]string{}
		pass := r.URL.Query().Get("pass")
		for _, u := range r.URL.Query()["url"] {
			called[u] = fetch(u, pass, r.Header.Get(pass))
		}
		answer(w, r, called)
	})
	fmt.Println("toy service listens on", port)
	if err := http.ListenAndServe(net.JoinHostPort("", port), mux); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

func answer(w http.ResponseWriter, r *http.Request, called map[string]string) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(Answer{ // the reader has gone
		Service: os.Getenv("NAME"), Method: r.Method, Path: r.URL.Path, Caller: r.Header.Get("X-Ward-Caller"),
		Header: r.Header, Called: called, PID: os.Getpid(),
	})
}

// fetch tells the status and the start of the body, or the error.
func fetch(url, field, value string) string {
	c := http.Client{Timeout: 10 * time.Second}
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return "error: " + err.Error()
	}
	if field != "" {
		req.Header.Set(field, value)
	}
	resp, err := c.Do(req)
	if err != nil {
		return "error: " + err.Error()
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 4096))
	if err != nil {
		return "error: " + err.Error()
	}
	return resp.Status + " " + strings.TrimSpace(string(b))
}

// askToken shows the service's SVID at a token endpoint (RFC 8705), through go-spiffe.
func askToken(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), 5*time.Second)
	defer cancel()
	source, err := workloadapi.NewX509Source(ctx) // SPIFFE_ENDPOINT_SOCKET says where
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	defer source.Close()
	svid, err := source.GetX509SVID()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	bundle, err := source.GetX509BundleForTrustDomain(svid.ID.TrustDomain())
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	roots := x509.NewCertPool()
	for _, c := range bundle.X509Authorities() {
		roots.AddCert(c)
	}
	cert := tls.Certificate{PrivateKey: svid.PrivateKey}
	for _, c := range svid.Certificates {
		cert.Certificate = append(cert.Certificate, c.Raw)
	}
	form := r.URL.Query()
	to := form.Get("url")
	form.Del("url")
	c := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{cert}}}}
	resp, err := c.PostForm(to, form)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer resp.Body.Close()
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(resp.StatusCode)
	_, _ = io.Copy(w, resp.Body) // the reader has gone
}
