package wardtest

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"

	"github.com/wardhq/ward/sdk/seal"
)

// safe adds what the toy does with secrets and keys, as a service's own code would.
//
//	/file?path=P   the content of a file
//	/env?name=N    an environment variable
//	/fd?n=N        what an inherited descriptor holds
//	/print?text=T  prints T
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
