package shop

import (
	"context"
	"net/http"
	"net/http/pprof"
)

// Book is what the shop sells.
type Book struct {
	ID     string `json:"id"`
	Title  string `json:"title"`
	Author string `json:"author"`
	Cents  int    `json:"cents"`
	Colour string `json:"colour"` // of the cover, as CSS has it
	Blurb  string `json:"blurb"`
}

func firstBooks() []Book {
	return []Book{
		{"1", "The Quiet Harbour", "Mira Solberg", 1890, "#1f6f78", "A pilot boat, a winter of fog, and a letter that should not have come."},
		{"2", "Salt and Iron", "Jonas Okafor", 2250, "#b4532a", "Three generations at the forge, and the sea that pays their bills."},
		{"3", "A Field Guide to Doors", "Ines Carvalho", 1600, "#5b4b8a", "Forty doors, forty essays, and one that stays closed."},
		{"4", "Low Orbit", "Dana Whitlock", 1990, "#24344d", "A crew of five repairs satellites. One of them answers back."},
		{"5", "The Orchard Ledger", "Pavel Novotny", 1450, "#587b3c", "A country grocer keeps two books of accounts, and a promise."},
		{"6", "Seven Kinds of Rain", "Aiko Tanabe", 2100, "#8a3b5c", "Poems for commuters, to be read between two stations."},
	}
}

func newCatalog(_ context.Context, s *site) (http.Handler, error) {
	books, err := openStore[Book](s.dir, "books")
	if err != nil {
		return nil, err
	}
	if len(books.all()) == 0 {
		for _, b := range firstBooks() {
			if err := books.put(b.ID, b); err != nil {
				return nil, err
			}
		}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /books", func(w http.ResponseWriter, _ *http.Request) { respond(w, books.all()) })
	mux.HandleFunc("GET /books/{id}", func(w http.ResponseWriter, r *http.Request) {
		b, ok := books.get(r.PathValue("id"))
		if !ok {
			http.NotFound(w, r)
			return
		}
		respond(w, b)
	})
	debugRoutes(mux)
	return mux, nil
}

// debugRoutes: HOLE, open pprof. Whoever reaches the port reads the process's memory and
// command line, and can load it for as long as they like.
func debugRoutes(mux *http.ServeMux) {
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
}
