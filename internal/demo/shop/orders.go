package shop

import (
	"context"
	"fmt"
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

const stageTime = 600 * time.Millisecond

type orders struct {
	*site
	store *store[Order]

	mu      sync.Mutex
	last    int           // guarded by mu: the last number given
	changed chan struct{} // guarded by mu: closed at the next change of any order
}

func newOrders(s *site) (http.Handler, error) {
	st, err := openStore[Order](s.dir, "orders")
	if err != nil {
		return nil, err
	}
	o := &orders{site: s, store: st, last: 1000 + len(st.all()), changed: make(chan struct{})}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /orders", o.create)
	mux.HandleFunc("GET /orders", func(w http.ResponseWriter, _ *http.Request) { respond(w, st.all()) })
	mux.HandleFunc("GET /orders/{owner}/{id}", func(w http.ResponseWriter, r *http.Request) {
		v, ok := st.get(r.PathValue("id"))
		if !ok || v.User != r.PathValue("owner") {
			http.NotFound(w, r)
			return
		}
		respond(w, v)
	})
	mux.HandleFunc("GET /orders/{owner}/{id}/live", o.live)
	mux.HandleFunc("GET /internal/export", o.export)
	debugRoutes(mux)
	return mux, nil
}

// export: HOLE, an internal route guarded only by a header that anyone can send.
func (o *orders) export(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("X-Internal") != "true" {
		http.Error(w, "internal callers only", http.StatusForbidden)
		return
	}
	respond(w, o.store.all())
}

func (o *orders) create(w http.ResponseWriter, r *http.Request) {
	var in NewOrder
	if !read(w, r, &in) {
		return
	}
	v := Order{ID: o.nextID(), User: in.User, Address: in.Address, Note: in.Note, Lines: in.Lines, Cents: total(in.Lines), Status: stages()[0]}
	receipt, err := Charge(r.Context(), o.paymentsAddress(), in.Card, v.ID, v.Cents)
	if err != nil {
		http.Error(w, err.Error(), http.StatusPaymentRequired)
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
	if err := o.keep(v); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	o.proceed(v, 1)
	respond(w, v)
}

func (o *orders) nextID() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.last++
	return strconv.Itoa(o.last)
}

// keep stores an order and tells who waits for changes.
func (o *orders) keep(v Order) error {
	if err := o.store.put(v.ID, v); err != nil {
		return fmt.Errorf("order %s: %w", v.ID, err)
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
		if err := o.keep(v); err != nil {
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
		v, ok := o.store.get(r.PathValue("id"))
		if !ok || v.User != r.PathValue("owner") {
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
