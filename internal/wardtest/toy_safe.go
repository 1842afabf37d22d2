package wardtest

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/coder/websocket"

	"github.com/wardhq/ward/sdk/seal"
)

// safe adds what the toy does with secrets and keys, as a service's own code would.
//
//	/file?path=P   the content of a file
//	/env?name=N    an environment variable
//	/digest?path=P or ?env=N   SHA-256 of either, in hex: Ward's gateway lets no secret out
//	/fd?n=N        what an inherited descriptor holds
//	/print?text=T  prints T
//	/take          takes a body, and tells how long it is
//	/load?n=N&callers=C&batch=B   N calls of the keys' API, each encrypts B values
//	/relay?url=U   fetches U, however long it takes
//	/seal?class=C&row=R&owner=O&value=V   V sealed by the SDK, in base64
//	/open?class=C&row=R&owner=O&value=V&service=S   and opened again
//	/index?class=C&value=V   its blind index
func safe(mux *http.ServeMux) {
	mux.HandleFunc("/file", func(w http.ResponseWriter, r *http.Request) {
		b, err := os.ReadFile(r.URL.Query().Get("path"))
		say(w, b, err)
	})
	mux.HandleFunc("/env", func(w http.ResponseWriter, r *http.Request) {
		say(w, []byte(os.Getenv(r.URL.Query().Get("name"))), nil)
	})
	mux.HandleFunc("/digest", func(w http.ResponseWriter, r *http.Request) {
		b, err := []byte(os.Getenv(r.URL.Query().Get("env"))), error(nil)
		if path := r.URL.Query().Get("path"); path != "" {
			b, err = os.ReadFile(path)
		}
		say(w, fmt.Appendf(nil, "%x", sha256.Sum256(b)), err)
	})
	mux.HandleFunc("/fd", func(w http.ResponseWriter, r *http.Request) {
		n, err := strconv.Atoi(r.URL.Query().Get("n"))
		if err != nil {
			say(w, nil, err)
			return
		}
		b := make([]byte, 1<<16)
		got, err := os.NewFile(uintptr(n), "inherited").ReadAt(b, 0)
		if got > 0 {
			err = nil
		}
		say(w, b[:got], err)
	})
	mux.HandleFunc("/print", func(w http.ResponseWriter, r *http.Request) {
		fmt.Println(r.URL.Query().Get("text"))
		say(w, nil, nil)
	})
	mux.HandleFunc("/take", func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		say(w, strconv.AppendInt(nil, n, 10), err)
	})
	mux.HandleFunc("/load", loadKeys)
	mux.HandleFunc("/relay", func(w http.ResponseWriter, r *http.Request) {
		resp, err := http.Get(r.URL.Query().Get("url"))
		if err == nil && resp.StatusCode != http.StatusOK {
			err = errors.New(resp.Status)
		}
		if err == nil {
			err = resp.Body.Close()
		}
		say(w, nil, err)
	})
	for path, do := range map[string]func(*seal.Client, *http.Request, seal.Context) ([]byte, error){
		"/seal": func(c *seal.Client, r *http.Request, at seal.Context) ([]byte, error) {
			b, err := c.Seal(r.Context(), []byte(r.URL.Query().Get("value")), at)
			return []byte(base64.URLEncoding.EncodeToString(b)), err
		},
		"/open": func(c *seal.Client, r *http.Request, at seal.Context) ([]byte, error) {
			b, err := base64.URLEncoding.DecodeString(r.URL.Query().Get("value"))
			if err != nil {
				return nil, err
			}
			return c.Unseal(r.Context(), b, at)
		},
		"/index": func(c *seal.Client, r *http.Request, at seal.Context) ([]byte, error) {
			b, err := c.Index(r.Context(), []byte(r.URL.Query().Get("value")), at)
			return []byte(base64.URLEncoding.EncodeToString(b)), err
		},
	} {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			c, err := seal.Open(r.Context())
			if err != nil {
				say(w, nil, err)
				return
			}
			q := r.URL.Query()
			b, err := do(c.For(q.Get("owner")), r, seal.Context{Service: q.Get("service"), Class: q.Get("class"), Table: "orders", Column: "address", Row: q.Get("row")})
			say(w, b, err)
		})
	}
}

// say answers with bytes, or says what went wrong.
func say(w http.ResponseWriter, b []byte, err error) {
	status := http.StatusOK
	if err != nil {
		status, b = http.StatusUnprocessableEntity, []byte(err.Error())
		if errors.Is(err, os.ErrNotExist) {
			status = http.StatusNotFound
		}
	}
	w.WriteHeader(status)
	_, _ = w.Write(b) // the reader has gone
}

// loadKeys encrypts through the keys' API with several callers.
func loadKeys(w http.ResponseWriter, r *http.Request) {
	var n [3]int
	for i, name := range []string{"n", "callers", "batch"} {
		var err error
		if n[i], err = strconv.Atoi(r.URL.Query().Get(name)); err != nil {
			say(w, nil, err)
			return
		}
	}
	item := `{"context":{"class":"addresses","table":"orders","column":"address","row":"7"},"plaintext":"` + base64.StdEncoding.EncodeToString(make([]byte, 100)) + `"}`
	body := item
	if n[2] > 1 {
		body = `{"items":[` + strings.Repeat(item+",", n[2]-1) + item + `]}`
	}
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: n[1]}}
	defer client.CloseIdleConnections()
	var left atomic.Int64
	left.Store(int64(n[0]))
	failed := make(chan error, n[1])
	var wg sync.WaitGroup
	for range n[1] {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				resp, err := client.Post("http://ward/v1/keys/addresses/encrypt", "application/json", strings.NewReader(body))
				if err == nil {
					_, err = io.Copy(io.Discard, resp.Body)
					resp.Body.Close()
					if resp.StatusCode != http.StatusOK {
						err = errors.New(resp.Status)
					}
				}
				if err != nil {
					failed <- err
					return
				}
			}
		})
	}
	wg.Wait()
	close(failed)
	say(w, nil, <-failed)
}

// echo is a WebSocket that says what it hears.
func echo(w http.ResponseWriter, r *http.Request) {
	c, err := websocket.Accept(w, r, nil)
	if err != nil {
		return // it has been answered
	}
	defer func() { _ = c.CloseNow() }() // whoever goes first
	for {
		kind, b, err := c.Read(r.Context())
		if err == nil {
			err = c.Write(r.Context(), kind, b)
		}
		if err != nil {
			return
		}
	}
}
