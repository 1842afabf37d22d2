package wardtest

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
)

// database is what the toy does with PostgreSQL, as a service that knows nothing of Ward:
//
//	/sql?dsn=D&q=Q          the first column of the rows of each Q, over one connection
//	/pump?dsn=D&ms=N        connects anew 200 times a second, and over one connection that stays, and tells what failed
//	/hold?dsn=D             keeps a connection for /held
//	/held                   asks over it
//	/raw?to=A&hex=B         sends bytes, and returns the answer up to a silence of half a second
func database(mux *http.ServeMux) {
	mux.HandleFunc("/sql", func(w http.ResponseWriter, r *http.Request) {
		c, err := pgx.Connect(r.Context(), r.URL.Query().Get("dsn"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		defer c.Close(context.Background())
		for _, q := range r.URL.Query()["q"] {
			if err := ask(r.Context(), w, c, q); err != nil {
				http.Error(w, err.Error(), http.StatusBadGateway)
				return
			}
		}
	})
	mux.HandleFunc("/pump", func(w http.ResponseWriter, r *http.Request) {
		ms, err := strconv.Atoi(r.URL.Query().Get("ms"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		fmt.Fprint(w, pump(r.Context(), r.URL.Query().Get("dsn"), time.Duration(ms)*time.Millisecond))
	})
	var mu sync.Mutex
	var held *pgx.Conn
	mux.HandleFunc("/hold", func(w http.ResponseWriter, r *http.Request) {
		c, err := pgx.Connect(r.Context(), r.URL.Query().Get("dsn"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		held = c
	})
	mux.HandleFunc("/held", func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if err := ask(r.Context(), w, held, "SELECT session_user"); err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
		}
	})
	mux.HandleFunc("/raw", func(w http.ResponseWriter, r *http.Request) {
		b, err := hex.DecodeString(r.URL.Query().Get("hex"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		c, err := net.Dial("tcp", r.URL.Query().Get("to"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		defer c.Close()
		_, _ = c.Write(b) // it may be closed at once, which the answer shows
		_ = c.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
		_, _ = io.Copy(w, c) // up to the silence
	})
}

func ask(ctx context.Context, w io.Writer, c *pgx.Conn, q string) error {
	rows, err := c.Query(ctx, q)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		v, err := rows.Values()
		if err != nil {
			return err
		}
		fmt.Fprintln(w, v[0])
	}
	return rows.Err()
}

func pump(ctx context.Context, dsn string, d time.Duration) string {
	stays, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return err.Error()
	}
	defer stays.Close(context.Background())
	var done, failed atomic.Int64
	var last atomic.Value
	note := func(err error) {
		done.Add(1)
		if err != nil {
			failed.Add(1)
			last.Store(err.Error())
		}
	}
	var all sync.WaitGroup
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	places := make(chan struct{}, 60)
	for end := time.Now().Add(d); time.Now().Before(end); <-tick.C {
		places <- struct{}{}
		all.Go(func() {
			defer func() { <-places }()
			c, err := pgx.Connect(ctx, dsn)
			if err == nil {
				_, err = c.Exec(ctx, "SELECT 1")
				_ = c.Close(ctx)
			}
			note(err)
		})
		_, err := stays.Exec(ctx, "SELECT 1")
		note(err)
	}
	all.Wait()
	return fmt.Sprintf("%d done, %d failed: %v", done.Load(), failed.Load(), last.Load())
}
