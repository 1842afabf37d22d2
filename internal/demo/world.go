package demo

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"time"

	"github.com/coder/websocket"
	"github.com/coder/websocket/wsjson"

	"github.com/wardhq/ward/internal/demo/shop"
)

// world is a running shop as customers and attackers see it; the attacks don't know
// whether it is guarded.
type world struct {
	base      string // URL of the way in
	dir       string // the shop's folder
	client    *http.Client
	transport http.RoundTripper
	address   func(role string) string
	log       func(role string) string
	out       *outside
	secrets   map[string]string // their true values, by the model's names, to tell whether an attack has found one
	// erase does what has to be done for a customer who wants to be forgotten.
	erase func(ctx context.Context, customer string) error
	// signIn makes this browser somebody's.
	signIn func(ctx context.Context, w *world, user string) error
}

// byName is the shop's own sign-in: it believes every name.
func byName(ctx context.Context, w *world, user string) error {
	_, err := w.post(ctx, "/login", url.Values{"name": {user}})
	return err
}

// anew is the same world for somebody with a browser of their own.
func (w *world) anew() *world {
	c := *w
	jar, err := cookiejar.New(nil)
	if err != nil {
		panic(err) // New fails on options only, and there are none
	}
	c.client = &http.Client{Jar: jar, Timeout: 10 * time.Second, Transport: w.transport}
	return &c
}

// The customer whom the attacks are about.
const (
	victim     = "ada@example.com"
	victimCard = "4929123412341232"
	mallory    = "mallory@example.com" // has an account too
)

type purchase struct {
	user, card, note string
	address          string // where to; the usual one if empty
	live             bool   // follow the order to its end
}

// address is where customers live.
const address = "1 Quay Street"

// reply is an answer, read to its end.
type reply struct {
	status int
	header http.Header
	body   string
	url    *url.URL
}

func (w *world) do(req *http.Request) (reply, error) {
	resp, err := w.client.Do(req)
	if err != nil {
		return reply{}, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	return reply{resp.StatusCode, resp.Header, string(b), resp.Request.URL}, err
}

// get fetches target, a path as it is to go over the wire; fields are names and values in turn.
func (w *world) get(ctx context.Context, target string, fields ...string) (reply, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.base+target, nil)
	if err != nil {
		return reply{}, err
	}
	req.Header.Set("Accept", "text/html")
	for i := 0; i+1 < len(fields); i += 2 {
		req.Header.Set(fields[i], fields[i+1])
	}
	return w.do(req)
}

func (w *world) post(ctx context.Context, target string, form url.Values) (reply, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.base+target, strings.NewReader(form.Encode()))
	if err != nil {
		return reply{}, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r, err := w.do(req)
	if err == nil && r.status != http.StatusOK {
		err = fmt.Errorf("POST %s: status %d: %s", target, r.status, words(r.body))
	}
	return r, err
}

// fill opens the shop, signs in and puts a book into the cart.
func (w *world) fill(ctx context.Context, user string) error {
	home, err := w.get(ctx, "/")
	if err != nil {
		return fmt.Errorf("open the shop: %w", err)
	}
	if home.status != http.StatusOK || !strings.Contains(home.body, "The Quiet Harbour") {
		return fmt.Errorf("open the shop: status %d: %s", home.status, words(home.body))
	}
	if err := w.signIn(ctx, w, user); err != nil {
		return fmt.Errorf("sign in: %w", err)
	}
	cart, err := w.post(ctx, "/cart/items", url.Values{"book": {"4"}})
	if err != nil {
		return fmt.Errorf("fill the cart: %w", err)
	}
	if !strings.Contains(cart.body, "Low Orbit") {
		return errors.New("fill the cart: the book isn't in it")
	}
	return nil
}

// buy goes through the shop as a browser does, and returns the order's owner and number.
func (w *world) buy(ctx context.Context, p purchase) (string, error) {
	if err := w.fill(ctx, p.user); err != nil {
		return "", err
	}
	to := cmp.Or(p.address, address)
	order, err := w.post(ctx, "/checkout", url.Values{"card": {p.card}, "address": {to}, "note": {p.note}})
	if err != nil {
		return "", fmt.Errorf("pay: %w", err)
	}
	id := strings.TrimPrefix(order.url.Path, "/orders/") // owner and number
	if !strings.Contains(order.body, "receipt ch_") {
		return "", fmt.Errorf("pay: no receipt on the page of order %s", id)
	}
	if !strings.Contains(order.body, to) {
		return "", fmt.Errorf("pay: the page of order %s doesn't say where it goes", id)
	}
	if p.live {
		if err := w.follow(ctx, id); err != nil {
			return "", fmt.Errorf("follow the order: %w", err)
		}
	}
	return id, nil
}

// follow watches an order over WebSocket until it is sent.
func (w *world) follow(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	c, resp, err := websocket.Dial(ctx, w.base+"/live/"+id, &websocket.DialOptions{HTTPClient: w.client})
	if err != nil {
		if resp != nil && resp.Body != nil {
			resp.Body.Close()
		}
		return err
	}
	defer c.CloseNow()
	last := ""
	for last != "sent" {
		var s shop.Status
		if err := wsjson.Read(ctx, c, &s); err != nil {
			return fmt.Errorf("after %q: %w", last, err)
		}
		last = s.Status
	}
	return nil
}

// inject buys a book with a note that mailer takes for a part of its template, and returns what the mail
// became: this is how mailer is taken over.
func (w *world) inject(ctx context.Context, note string) (string, error) {
	id, err := w.buy(ctx, purchase{user: mallory, card: "4000056655665556", note: note})
	if err != nil {
		return "", err
	}
	r, err := w.get(ctx, "/api/orders/"+id)
	if err != nil {
		return "", err
	}
	var o shop.Order
	if err := json.Unmarshal([]byte(r.body), &o); err != nil {
		return "", fmt.Errorf("read order %s: %w", id, err)
	}
	return o.Mail, nil
}

// send lets mailer run the intruder, a program of the attacker's, on an errand.
func (w *world) send(ctx context.Context, e errand) (booty, error) {
	mail, err := w.inject(ctx, fmt.Sprintf(`{{run "../ward" %q %q %q}}`, ServiceVerb, IntruderRole, e.encode()))
	if err != nil {
		return booty{}, err
	}
	b, ok := readBooty(mail)
	if !ok {
		return booty{}, fmt.Errorf("the intruder didn't report: %s", words(mail))
	}
	return b, nil
}
