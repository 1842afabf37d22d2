package shop

import (
	"context"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/coder/websocket"
	"github.com/coder/websocket/wsjson"
)

// Order is what a customer bought.
type Order struct {
	ID      string `json:"id"`
	User    string `json:"user"`
	Address string `json:"address"`
	Note    string `json:"note,omitempty"`
	Lines   []Line `json:"lines"`
	Cents   int    `json:"cents"`
	Receipt string `json:"receipt"`
	Mail    string `json:"mail,omitempty"` // the confirmation as it was sent
	Status  string `json:"status"`
}

// NewOrder is what web asks for.
type NewOrder struct {
	User    string `json:"user"`
	Address string `json:"address"`
	Note    string `json:"note"`
	Card    string `json:"card"`
	Lines   []Line `json:"lines"`
}

// stages are what happens to an order that is paid, one step each stageTime.
func stages() []string { return []string{"paid", "packed", "sent"} }

const stageTime = 400 * time.Millisecond

type orders struct {
	*site
	table *table

	mu      sync.Mutex
	last    int           // guarded by mu: the last number given; 0 before the first
	changed chan struct{} // guarded by mu: closed at the next change of any order
}

func newOrders(ctx context.Context, s *site) (http.Handler, error) {
	t, err := openTable(ctx, s)
	if err != nil {
		return nil, err
	}
	o := &orders{site: s, table: t, changed: make(chan struct{})}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /orders", o.create)
	mux.HandleFunc("GET /orders", o.list)
	mux.HandleFunc("DELETE /orders/{owner}", func(w http.ResponseWriter, r *http.Request) {
		if err := t.forget(r.Context(), r.PathValue("owner")); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	})
	mux.HandleFunc("GET /orders/{owner}/{id}", func(w http.ResponseWriter, r *http.Request) {
		v, ok, err := t.get(r.Context(), r.PathValue("id"))
		switch {
		case err != nil:
			http.Error(w, err.Error(), http.StatusInternalServerError)
		case !ok || v.User != r.PathValue("owner"):
			http.NotFound(w, r)
		default:
			respond(w, v)
		}
	})
	mux.HandleFunc("GET /orders/{owner}/{id}/live", o.live)
	mux.HandleFunc("GET /internal/export", o.export)
	debugRoutes(mux)
	return mux, nil
}

func (o *orders) list(w http.ResponseWriter, r *http.Request) {
	all, err := o.table.all(r.Context())
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	respond(w, all)
}

// export: HOLE, an internal route guarded only by a header that anyone can send.
func (o *orders) export(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("X-Internal") != "true" {
		http.Error(w, "internal callers only", http.StatusForbidden)
		return
	}
	o.list(w, r)
}

func (o *orders) create(w http.ResponseWriter, r *http.Request) {
	var in NewOrder
	if !read(w, r, &in) {
		return
	}
	id, err := o.nextID(r.Context())
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	v := Order{ID: id, User: in.User, Address: in.Address, Note: in.Note, Lines: in.Lines, Cents: total(in.Lines), Status: stages()[0]}
	receipt, err := Charge(r.Context(), o.paymentsAddress(), in.Card, v.ID, v.Cents)
	if err != nil {
		http.Error(w, err.Error()+"; "+o.support(), http.StatusPaymentRequired)
		return
	}
	v.Receipt = receipt
	var m Mail
	// The user's token goes along "so that mailer can ask back": see Mail.Token.
	token := r.Header.Get("Authorization")
	if err := o.callAs(r.Context(), token, "POST "+o.url("mailer")+"/mails", map[string]string{"to": v.User, "order": v.ID, "note": v.Note}, &m); err != nil {
		o.log.Printf("mail order=%s: %v", v.ID, err) // paid is paid
	}
	v.Mail = m.Text
	if err := o.keep(r.Context(), v); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	o.proceed(v, 1)
	respond(w, v)
}

func (o *orders) nextID(ctx context.Context) (string, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.last == 0 {
		n, err := o.table.count(ctx)
		if err != nil {
			return "", err
		}
		o.last = 1000 + n
	}
	o.last++
	return strconv.Itoa(o.last), nil
}

// keep stores an order and tells who waits for changes.
func (o *orders) keep(ctx context.Context, v Order) error {
	if err := o.table.put(ctx, v); err != nil {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	close(o.changed)
	o.changed = make(chan struct{})
	return nil
}

// proceed takes the order through its further stages.
func (o *orders) proceed(v Order, stage int) {
	if stage >= len(stages()) {
		return
	}
	time.AfterFunc(stageTime, func() {
		v.Status = stages()[stage]
		ctx, cancel := context.WithTimeout(context.Background(), stageTime)
		defer cancel()
		if err := o.keep(ctx, v); err != nil {
			o.log.Print(err)
			return
		}
		o.proceed(v, stage+1)
	})
}

func (o *orders) change() <-chan struct{} {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.changed
}

// Status is one message of the live view.
type Status struct {
	Status string `json:"status"`
}

// live sends each new status of an order until it is sent.
func (o *orders) live(w http.ResponseWriter, r *http.Request) {
	c, err := websocket.Accept(w, r, nil)
	if err != nil {
		return // Accept has answered
	}
	defer c.CloseNow()
	ctx, cancel := context.WithTimeout(c.CloseRead(r.Context()), time.Minute)
	defer cancel()
	said := ""
	for {
		next := o.change()
		v, ok, err := o.table.get(ctx, r.PathValue("id"))
		if err != nil || !ok || v.User != r.PathValue("owner") {
			_ = c.Close(websocket.StatusPolicyViolation, "no such order")
			return
		}
		if v.Status != said {
			if wsjson.Write(ctx, c, Status{v.Status}) != nil {
				return
			}
			said = v.Status
		}
		if said == stages()[len(stages())-1] {
			_ = c.Close(websocket.StatusNormalClosure, "")
			return
		}
		select {
		case <-next:
		case <-ctx.Done():
			return
		}
	}
}
