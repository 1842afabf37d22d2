package shop

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"net/url"
)

//go:embed assets
var assets embed.FS

// Static are the files that web serves; they belong into its folder "static".
func Static() (fs.FS, error) {
	return fs.Sub(assets, "assets/static")
}

func parsePages() (*template.Template, error) {
	t, err := template.New("").Funcs(template.FuncMap{
		"money": func(cents int) string { return fmt.Sprintf("€ %d.%02d", cents/100, cents%100) },
		"css":   func(s string) template.CSS { return template.CSS(s) },
		"first": func(n int, s string) string {
			if r := []rune(s); len(r) > n {
				return string(r[:n]) + "…"
			}
			return s
		},
	}).ParseFS(assets, "assets/*.html")
	if err != nil {
		return nil, fmt.Errorf("read pages: %w", err)
	}
	return t, nil
}

// page shows a template with what every page shows.
func (w *web) page(rw http.ResponseWriter, r *http.Request, name string, data map[string]any) {
	s := w.find(r)
	data["User"] = w.user(r, s)
	data["SignedInByProxy"] = r.Header.Get(userField) != ""
	data["Proxy"] = r.Header.Get("X-Ward-Caller") != ""
	if s != nil {
		var lines []Line
		if w.call(r.Context(), "GET "+w.url("cart")+"/carts/"+s.cart, nil, &lines) == nil {
			n := 0
			for _, l := range lines {
				n += l.Count
			}
			data["InCart"] = n
		}
	}
	var b bytes.Buffer
	if err := w.pages.ExecuteTemplate(&b, name+".html", data); err != nil {
		w.fail(rw, fmt.Errorf("show %s: %w", name, err))
		return
	}
	rw.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = b.WriteTo(rw) // the browser has gone
}

func (w *web) home(rw http.ResponseWriter, r *http.Request) {
	var books []Book
	if err := w.call(r.Context(), "GET "+w.url("catalog")+"/books", nil, &books); err != nil {
		w.fail(rw, err)
		return
	}
	w.page(rw, r, "home", map[string]any{"Books": books})
}

func (w *web) book(rw http.ResponseWriter, r *http.Request) {
	var b Book
	if err := w.call(r.Context(), "GET "+w.url("catalog")+"/books/"+url.PathEscape(r.PathValue("id")), nil, &b); err != nil {
		w.fail(rw, err)
		return
	}
	w.page(rw, r, "book", map[string]any{"Book": b})
}

func (w *web) cart(rw http.ResponseWriter, r *http.Request) {
	lines, err := w.lines(r, w.session(rw, r))
	if err != nil {
		w.fail(rw, err)
		return
	}
	w.page(rw, r, "cart", map[string]any{"Lines": lines, "Cents": total(lines)})
}

func (w *web) lines(r *http.Request, s *session) ([]Line, error) {
	var lines []Line
	err := w.call(r.Context(), "GET "+w.url("cart")+"/carts/"+s.cart, nil, &lines)
	return lines, err
}

func (w *web) addItem(rw http.ResponseWriter, r *http.Request) {
	s := w.session(rw, r)
	if err := w.call(r.Context(), "POST "+w.url("cart")+"/carts/"+s.cart+"/items", map[string]string{"book": r.FormValue("book")}, nil); err != nil {
		w.fail(rw, err)
		return
	}
	http.Redirect(rw, r, "/cart", http.StatusSeeOther)
}

func (w *web) checkout(rw http.ResponseWriter, r *http.Request) {
	s := w.session(rw, r)
	lines, err := w.lines(r, s)
	if err != nil {
		w.fail(rw, err)
		return
	}
	if len(lines) == 0 {
		http.Error(rw, "the cart is empty", http.StatusConflict)
		return
	}
	in := NewOrder{User: w.user(r, s), Address: r.FormValue("address"), Note: r.FormValue("note"), Card: r.FormValue("card"), Lines: lines}
	var o Order
	if err := w.callAs(r.Context(), "Bearer "+s.token, "POST "+w.url("orders")+"/orders", in, &o); err != nil {
		w.fail(rw, err)
		return
	}
	if err := w.call(r.Context(), "DELETE "+w.url("cart")+"/carts/"+s.cart, nil, nil); err != nil {
		w.log.Print(err) // the order stands
	}
	http.Redirect(rw, r, "/orders/"+url.PathEscape(o.User)+"/"+o.ID, http.StatusSeeOther)
}

func (w *web) order(rw http.ResponseWriter, r *http.Request) {
	o, err := w.fetchOrder(r)
	if err != nil {
		w.fail(rw, err)
		return
	}
	w.page(rw, r, "order", map[string]any{"Order": o, "Stages": stages()})
}

func (w *web) orderAPI(rw http.ResponseWriter, r *http.Request) {
	o, err := w.fetchOrder(r)
	if err != nil {
		w.fail(rw, err)
		return
	}
	respond(rw, o)
}

func (w *web) fetchOrder(r *http.Request) (*Order, error) {
	var o Order
	err := w.call(r.Context(), "GET "+w.url("orders")+orderPath(r), nil, &o)
	return &o, err
}
