// Package wardtest is the world that tests of the whole system run in: a toy
// service, and what drives a real supervisor around it.
//
// It guarantees that nothing it starts outlives the test. It is imported by tests
// only.
package wardtest

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"
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
//	/call?url=U   fetches each U and tells what came back
//	/slow?ms=N    answers after N milliseconds
//	/exit         ends the process
//	/stream?n=N   N lines, one each 10 ms
//	/lie          answers with a field that only Ward may set
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
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		called := map[string]string{}
		for _, u := range r.URL.Query()["url"] {
			called[u] = fetch(u)
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
func fetch(url string) string {
	c := http.Client{Timeout: 3 * time.Second}
	resp, err := c.Get(url)
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
