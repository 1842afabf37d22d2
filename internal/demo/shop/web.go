package shop

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"html/template"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/coder/websocket"
)

// web is what the browser sees.
type web struct {
	*site
	pages  *template.Template
	secret string // makes sessions' tokens

	mu       sync.Mutex
	sessions map[string]*session // guarded by mu: by token
	visits   int                 // guarded by mu
}

type session struct {
	token string
	cart  string
	user  string
}

func newWeb(_ context.Context, s *site) (http.Handler, error) {
	pages, err := parsePages()
	if err != nil {
		return nil, err
	}
	secret, err := s.secret("SESSION_SECRET")
	if err != nil {
		return nil, err
	}
	w := &web{site: s, pages: pages, secret: secret, sessions: map[string]*session{}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", w.home)
	mux.HandleFunc("GET /books/{id}", w.book)
	mux.HandleFunc("GET /cart", w.cart)
	mux.HandleFunc("POST /cart/items", w.addItem)
	mux.HandleFunc("POST /checkout", w.checkout)
	mux.HandleFunc("GET /orders/{owner}/{id}", w.order)
	mux.HandleFunc("GET /api/orders/{owner}/{id}", w.orderAPI)
	mux.HandleFunc("GET /live/{owner}/{id}", w.live)
	mux.HandleFunc("POST /login", w.login)
	mux.HandleFunc("GET /account", w.account)
	mux.HandleFunc("GET /admin", w.admin)
	mux.HandleFunc("GET /cover", w.cover)
	mux.HandleFunc("GET /docs", w.docs)
	mux.HandleFunc("GET /internal/stats", w.stats)
	debugRoutes(mux)
	return passing(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.mu.Lock()
		w.visits++
		w.mu.Unlock()
		// Not by the mux, which would clean the path.
		if name, ok := strings.CutPrefix(r.URL.Path, "/static/"); ok {
			w.static(rw, name)
			return
		}
		mux.ServeHTTP(rw, r)
	})), nil
}

// static: HOLE, path traversal: the name may climb out of the folder.
func (w *web) static(rw http.ResponseWriter, name string) {
	w.file(rw, filepath.Join(w.site.dir, "static", name))
}

// docs: HOLE, the same by a parameter, where no proxy can see what is a path.
func (w *web) docs(rw http.ResponseWriter, r *http.Request) {
	w.file(rw, filepath.Join(w.site.dir, "static", "docs", r.FormValue("file")))
}

func (w *web) file(rw http.ResponseWriter, path string) {
	b, err := os.ReadFile(path)
	if err != nil {
		http.Error(rw, err.Error(), http.StatusNotFound)
		return
	}
	switch filepath.Ext(path) {
	case ".css":
		rw.Header().Set("Content-Type", "text/css; charset=utf-8")
	case ".js":
		rw.Header().Set("Content-Type", "text/javascript; charset=utf-8")
	default:
		rw.Header().Set("Content-Type", "text/plain; charset=utf-8")
	}
	_, _ = rw.Write(b) // the browser has gone
}

// stats: HOLE, an internal route guarded only by a header.
func (w *web) stats(rw http.ResponseWriter, r *http.Request) {
	if r.Header.Get("X-Internal") != "true" {
		http.Error(rw, "internal callers only", http.StatusForbidden)
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	var users []string
	for _, s := range w.sessions {
		users = append(users, s.user)
	}
	respond(rw, map[string]any{"visits": w.visits, "users": users})
}

// cover: HOLE, server-side request forgery and free egress: it fetches any address, with the
// browser's own header fields.
func (w *web) cover(rw http.ResponseWriter, r *http.Request) {
	req, err := http.NewRequestWithContext(r.Context(), http.MethodGet, r.FormValue("url"), nil)
	if err != nil {
		http.Error(rw, err.Error(), http.StatusBadRequest)
		return
	}
	for name, values := range r.Header {
		if strings.HasPrefix(name, "X-") {
			req.Header[name] = values
		}
	}
	resp, err := w.site.http.Do(req)
	if err != nil {
		http.Error(rw, err.Error(), http.StatusBadGateway)
		return
	}
	defer resp.Body.Close()
	rw.Header().Set("Content-Type", resp.Header.Get("Content-Type"))
	rw.WriteHeader(resp.StatusCode)
	_, _ = io.Copy(rw, io.LimitReader(resp.Body, maxAnswer)) // either side has gone
}

// isAdmin: HOLES, a forgeable cookie says who is an administrator, and so does a header field that a proxy in front
// is expected to set.
func isAdmin(r *http.Request) bool {
	if slices.Contains(strings.Split(r.Header.Get("X-Ward-User-Groups"), ","), "staff") {
		return true
	}
	c, err := r.Cookie("role")
	if err != nil {
		return false
	}
	role, err := base64.StdEncoding.DecodeString(c.Value)
	return err == nil && string(role) == "role=admin"
}

func (w *web) admin(rw http.ResponseWriter, r *http.Request) {
	if !isAdmin(r) {
		http.Error(rw, "administrators only", http.StatusForbidden)
		return
	}
	var all []Order
	if err := w.call(r.Context(), "GET "+w.url("orders")+"/orders", nil, &all); err != nil {
		w.fail(rw, err)
		return
	}
	w.page(rw, r, "admin", map[string]any{"Orders": all})
}

func (w *web) login(rw http.ResponseWriter, r *http.Request) {
	s := w.session(rw, r)
	w.mu.Lock()
	s.user = r.FormValue("name")
	w.mu.Unlock()
	http.SetCookie(rw, &http.Cookie{Name: "role", Value: base64.StdEncoding.EncodeToString([]byte("role=customer")), Path: "/"})
	http.Redirect(rw, r, "/", http.StatusSeeOther)
}

func (w *web) account(rw http.ResponseWriter, r *http.Request) {
	s := w.find(r)
	if s == nil && r.Header.Get(userField) == "" {
		http.Error(rw, "sign in first", http.StatusUnauthorized)
		return
	}
	respond(rw, map[string]string{"user": w.user(r, s)})
}

// userField is set by a proxy that signs people in. HOLE: without such a proxy anybody can set it.
const userField = "X-Ward-User-Email"

func (w *web) user(r *http.Request, s *session) string {
	if name := r.Header.Get(userField); name != "" {
		return name
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if s == nil || s.user == "" {
		return "guest"
	}
	return s.user
}

// find is the session of the request's token, nil if there is none.
func (w *web) find(r *http.Request) *session {
	token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	if c, err := r.Cookie("session"); err == nil {
		token = c.Value
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.sessions[token]
}

// session finds the session, or begins one.
func (w *web) session(rw http.ResponseWriter, r *http.Request) *session {
	if s := w.find(r); s != nil {
		return s
	}
	id := rand.Text()
	s := &session{token: id + "." + hex.EncodeToString(hmacOf([]byte(w.secret), id)), cart: rand.Text()}
	w.mu.Lock()
	w.sessions[s.token] = s
	w.mu.Unlock()
	http.SetCookie(rw, &http.Cookie{Name: "session", Value: s.token, Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode})
	return s
}

// live carries an order's messages from orders to the browser.
func (w *web) live(rw http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	up, resp, err := websocket.Dial(ctx, w.url("orders")+orderPath(r)+"/live", &websocket.DialOptions{HTTPHeader: passedOn(r)})
	if err != nil {
		if resp != nil && resp.Body != nil {
			resp.Body.Close()
		}
		w.fail(rw, fmt.Errorf("live view: %w", err))
		return
	}
	defer up.CloseNow()
	down, err := websocket.Accept(rw, r, nil)
	if err != nil {
		return // Accept has answered
	}
	defer down.CloseNow()
	ctx = down.CloseRead(ctx)
	for {
		kind, b, err := up.Read(ctx)
		if err != nil {
			_ = down.Close(websocket.StatusNormalClosure, "") // the order has come to its end, or orders has
			return
		}
		if down.Write(ctx, kind, b) != nil {
			return
		}
	}
}

// orderPath: HOLE, whoever knows an order's number reads it, whose ever it is.
func orderPath(r *http.Request) string {
	return "/orders/" + url.PathEscape(r.PathValue("owner")) + "/" + url.PathEscape(r.PathValue("id"))
}

// fail: the reason goes to the log, and to the browser as well, as demo shops do.
func (w *web) fail(rw http.ResponseWriter, err error) {
	w.log.Print(err)
	http.Error(rw, err.Error(), http.StatusBadGateway)
}
