package proxy_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// Many clients that upload, break off and give up at any moment: no response ever
// reaches another request, and every place at the upstream comes back.
func TestNoResponseGoesAstrayUnderLoad(t *testing.T) {
	const clients, places = 16, 16
	var barrier sync.WaitGroup
	barrier.Add(places)
	w := front(t, setup{max: places}, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/barrier" {
			barrier.Done()
			barrier.Wait()
			return
		}
		n, _ := io.Copy(io.Discard, r.Body)
		w.Header().Set("X-Id", r.Header.Get("X-Id"))
		if r.URL.Path == "/die" {
			panic(http.ErrAbortHandler)
		}
		_, _ = fmt.Fprintf(w, "%s %d %s", r.Header.Get("X-Id"), n, strings.Repeat("x", len(r.Header.Get("X-Id"))*1000))
	})
	var wg sync.WaitGroup
	for i := range clients {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(1, uint64(i)))
			c := client(t)
			for j := range 40 {
				id := fmt.Sprint(i, "-", j)
				ctx, cancel := context.WithCancel(t.Context())
				size, path := rnd.IntN(3)*rnd.IntN(60_000), "/ok"
				var body io.Reader = strings.NewReader(strings.Repeat("y", size))
				switch rnd.IntN(6) {
				case 0:
					body = io.MultiReader(body) // chunked
				case 1:
					path = "/die"
				case 2:
					time.AfterFunc(time.Duration(rnd.IntN(2000))*time.Microsecond, cancel)
				}
				req, _ := http.NewRequestWithContext(ctx, "POST", w.url+path, body)
				req.Header.Set("X-Id", id)
				resp, err := c.Do(req)
				if err != nil {
					cancel()
					continue
				}
				b, err := io.ReadAll(resp.Body)
				_ = resp.Body.Close()
				want := fmt.Sprintf("%s %d %s", id, size, strings.Repeat("x", len(id)*1000))
				if err == nil && resp.StatusCode == 200 && string(b) != want {
					t.Errorf("request %s got %.40q", id, b)
				}
				cancel()
			}
		})
	}
	wg.Wait()
	for range places {
		wg.Go(func() {
			resp, err := client(t).Get(w.url + "/barrier")
			if err != nil || resp.StatusCode != 200 {
				t.Errorf("%v, %v", resp, err)
				return
			}
			_ = resp.Body.Close()
		})
	}
	wg.Wait()
}
