package console

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/telemetry"
)

// large is an application of 30 services and 200 edges, all of them in use.
func large() string {
	var b strings.Builder
	b.WriteString("app: large\nservices:\n")
	edges := 0
	for i := range 30 {
		fmt.Fprintf(&b, "  s%02d:\n    run: ./s\n    listen: http://:8080\n", i)
		if i == 0 {
			b.WriteString("    expose: {route: GET /, to: anyone}\n")
		}
		b.WriteString("    calls:\n")
		for k := 1; k <= 8 && edges < 199; k++ {
			if to := i + 1 + (k*k+i)%11; to < 30 && !strings.Contains(b.String()[strings.LastIndex(b.String(), "calls:"):], fmt.Sprintf("s%02d:", to)) {
				fmt.Fprintf(&b, "      s%02d: GET /things/{id}\n", to)
				edges++
			}
		}
		for to := 0; to < i && edges < 7*(i+1) && edges < 199; to++ {
			fmt.Fprintf(&b, "      s%02d: POST /events\n", to)
			edges++
		}
		if strings.HasSuffix(b.String(), "calls:\n") {
			s := strings.TrimSuffix(b.String(), "    calls:\n")
			b.Reset()
			b.WriteString(s)
		}
	}
	return b.String()
}

func newLarge(t testing.TB) *world {
	w := newWorld(t, large())
	w.edges = nil
	for i := range w.plan.Rules {
		r := &w.plan.Rules[i]
		w.edges = append(w.edges, w.edge(r.Caller, r.Target, r.Grant.String(), telemetry.Allowed, float64(i%50), time.Duration(i)*time.Millisecond))
	}
	w.edges = append(w.edges, w.edge("s03", "s20", telemetry.Undeclared, telemetry.Denied, 4, 0), w.edge(plan.Outside, "", telemetry.Undeclared, telemetry.Denied, 4, 0))
	return w
}

// TestTheMapOfALargeApplicationIsSmall: at most 100 KB in all for 30 services and 200 edges.
func TestTheMapOfALargeApplicationIsSmall(t *testing.T) {
	w := newLarge(t)
	pairs := map[string]bool{}
	for _, e := range w.edges {
		pairs[e.Caller+" "+e.Target] = true
	}
	if len(w.plan.Services) != 30 || len(pairs) < 195 {
		t.Fatalf("%d services, %d edges", len(w.plan.Services), len(pairs))
	}
	b := w.enters("administrator")
	sum := 0
	_, page := b.get("/")
	for _, path := range append([]string{"/"}, assetsOf(page)...) {
		resp, body := b.ask(http.MethodGet, path, "", map[string]string{"Accept-Encoding": "gzip"})
		if resp.StatusCode != 200 || resp.Header.Get("Content-Encoding") != "gzip" {
			t.Fatalf("%s: %d %q", path, resp.StatusCode, resp.Header.Get("Content-Encoding"))
		}
		z, err := gzip.NewReader(strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if plain, err := io.ReadAll(z); err != nil || path == "/" && !bytes.Contains(plain, []byte("</html>")) {
			t.Fatalf("%s isn't whole: %v", path, err)
		}
		sum += len(body)
	}
	t.Logf("%d bytes", sum)
	if sum > 100<<10 {
		t.Errorf("%d bytes", sum)
	}
}

func assetsOf(page string) (out []string) {
	for _, part := range strings.Split(page, `"`) {
		if strings.HasPrefix(part, "/static/") {
			out = append(out, part)
		}
	}
	return out
}

// TestAHundredConsolesAreLight: at most 20 MB for 100 that listen; one more is told to come back.
func TestAHundredConsolesAreLight(t *testing.T) {
	w := newLarge(t)
	var b *somebody
	person := func(name string) { b = w.entersAs(name, "administrator") }
	person("ada")
	b.get("/")
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapInuse + m.StackInuse
	}
	before := heap()
	listen := func() *http.Response {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.server.URL+"/events", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Cookie", b.cookie)
		resp, err := w.server.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { resp.Body.Close() })
		return resp
	}
	for i := range maxOpen {
		if i > 0 && i%maxOwn == 0 {
			if resp := listen(); resp.StatusCode != http.StatusTooManyRequests {
				t.Fatalf("one more of a person with %d: %s", maxOwn, resp.Status)
			}
			person(fmt.Sprint("p", i))
		}
		if resp := listen(); resp.StatusCode != 200 {
			t.Fatal(resp.Status)
		}
	}
	person("eve")
	if resp := listen(); resp.StatusCode != http.StatusTooManyRequests {
		t.Errorf("one more: %s", resp.Status)
	}
	w.console.look(t.Context())
	used := int64(heap()) - int64(before)
	t.Logf("%d KB with both ends", used>>10)
	if used > 20<<20 {
		t.Errorf("%d KB", used>>10)
	}
}

// TestNewsArrive: what happens is told to who listens, and what is asked for then has it.
func TestNewsArrive(t *testing.T) {
	w := newWorld(t, shop)
	b := w.enters("viewer")
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.server.URL+"/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Cookie", b.cookie)
	resp, err := w.server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	told := make(chan string, 16)
	go func() {
		defer close(told)
		chunk := make([]byte, 4096)
		for {
			n, err := resp.Body.Read(chunk)
			if err != nil {
				return
			}
			told <- string(chunk[:n])
		}
	}()
	first := <-told
	w.console.look(t.Context())
	second := <-told
	w.mu.Lock()
	w.edges = append(w.edges, w.edge("cart", "db", telemetry.Undeclared, telemetry.Denied, 3, 0))
	w.mu.Unlock()
	w.console.look(t.Context())
	third := <-told
	if !strings.Contains(first, "data: {}") || !strings.Contains(second, `"map":`) || second == third {
		t.Errorf("told %q, %q, %q", first, second, third)
	}
	w.after(nowFor)
	if _, page := b.get("/"); !strings.Contains(page, "cart → db: refused") {
		t.Error("the map doesn't have what was told")
	}
	w.after(13 * time.Hour) // the session ends, and so does what it hears
	w.console.look(t.Context())
	w.mu.Lock()
	w.edges = nil
	w.mu.Unlock()
	w.console.look(t.Context())
	limit := time.After(10 * time.Second)
	for open := true; open; {
		select {
		case _, open = <-told:
		case <-limit:
			t.Fatal("it goes on hearing after its session has ended")
		}
	}
}

// BenchmarkMap is what the server does for the map of 30 services and 200 edges: for the first who asks, and for others within a second.
func BenchmarkMap(b *testing.B) {
	for name, step := range map[string]time.Duration{"drawn": nowFor, "shared": 0} {
		b.Run(name, func(b *testing.B) {
			w := newLarge(b)
			who := w.enters("administrator")
			h := w.console.Handler()
			for b.Loop() {
				w.after(step)
				r := httptest.NewRequest(http.MethodGet, "/", nil)
				r.Header.Set("Cookie", who.cookie)
				r.Header.Set("Accept-Encoding", "gzip")
				rec := httptest.NewRecorder()
				h.ServeHTTP(rec, r)
				if rec.Code != 200 {
					b.Fatal(rec.Code)
				}
			}
		})
	}
}
