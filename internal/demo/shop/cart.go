package shop

import (
	"context"
	"net/http"
	"sync"
)

// Line is one book in a cart or an order.
type Line struct {
	Book  Book `json:"book"`
	Count int  `json:"count"`
}

func total(lines []Line) int {
	sum := 0
	for _, l := range lines {
		sum += l.Count * l.Book.Cents
	}
	return sum
}

func newCart(_ context.Context, s *site) (http.Handler, error) {
	carts, err := openStore[[]Line](s.dir, "carts")
	if err != nil {
		return nil, err
	}
	var change sync.Mutex // guards carts between get and put
	mux := http.NewServeMux()
	mux.HandleFunc("GET /carts/{id}", func(w http.ResponseWriter, r *http.Request) {
		lines, _ := carts.get(r.PathValue("id"))
		respond(w, append([]Line{}, lines...))
	})
	mux.HandleFunc("DELETE /carts/{id}", func(w http.ResponseWriter, r *http.Request) {
		change.Lock()
		defer change.Unlock()
		if err := carts.put(r.PathValue("id"), nil); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	})
	mux.HandleFunc("POST /carts/{id}/items", func(w http.ResponseWriter, r *http.Request) {
		var item struct {
			Book string `json:"book"`
		}
		if !read(w, r, &item) {
			return
		}
		var b Book
		// The price is the catalog's, whatever the browser says.
		if err := s.call(r.Context(), "GET "+s.url("catalog")+"/books/"+item.Book, nil, &b); err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		change.Lock()
		defer change.Unlock()
		lines, _ := carts.get(r.PathValue("id"))
		if err := carts.put(r.PathValue("id"), add(lines, b)); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	})
	return mux, nil
}

func add(lines []Line, b Book) []Line {
	out := append([]Line{}, lines...)
	for i := range out {
		if out[i].Book.ID == b.ID {
			out[i].Count++
			return out
		}
	}
	return append(out, Line{Book: b, Count: 1})
}
