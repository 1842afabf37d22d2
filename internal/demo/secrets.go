package demo

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/wardhq/ward/internal/demo/shop"
	"github.com/wardhq/ward/internal/plan"
)

// Names of secrets, as in the model.
const (
	sessionSecret = "session-secret"
	dbPassword    = "db-password"
	cardsKey      = "cards-key"
)

// onSecrets are attacks on what the shop keeps: passwords, keys, and where its customers live.
func onSecrets() []attack {
	return []attack{
		{name: "read web's own password", hole: "password in environment", try: readPassword},
		{name: "make payments show its key", hole: "errors tell everything", try: func(ctx context.Context, w *world) Result {
			return w.provoke(ctx, "payments", cardsKey, "agent: adds the key on the way out")
		}},
		{name: "make orders show its password", hole: "errors tell everything", try: func(ctx context.Context, w *world) Result {
			return w.provoke(ctx, "orders", dbPassword, "agent: logs in to the database")
		}},
		{name: "find a card number in the log", hole: "card number logged", try: findCard},
		{name: "find addresses on a stolen disk", hole: "addresses in clear", try: stealDisk},
		{name: "restore an erased customer", hole: "backups keep everything", try: restoreErased},
	}
}

// readPassword looks into all places that hold what web knows: its environment, its file, and the descriptor that it is told of.
func readPassword(ctx context.Context, w *world) Result {
	up := "/docs?file=" + strings.Repeat("../", 24)
	environ, err := w.get(ctx, up+"proc/self/environ")
	if err != nil {
		return Result{Evidence: err.Error()}
	}
	seen := []string{environ.body}
	places := []string{"run/secrets/" + sessionSecret}
	if _, fd, ok := strings.Cut(environ.body, "WARD_SECRETS_FD="); ok {
		fd, _, _ = strings.Cut(fd, "\x00")
		places = append(places, "proc/self/fd/"+fd)
	}
	for _, p := range places {
		r, err := w.get(ctx, up+p)
		if err != nil {
			return Result{Evidence: err.Error()}
		}
		seen = append(seen, r.body)
	}
	value := w.secrets[sessionSecret]
	all := strings.Join(seen, "\n")
	for _, form := range []string{value, base64.StdEncoding.EncodeToString([]byte(value))} {
		if strings.Contains(all, form) {
			return Result{Succeeded: true, Evidence: words(found(all, form))}
		}
	}
	if seen[1] == strings.Repeat("*", len(value)) {
		return Result{Layer: "gateway: secret masked", Evidence: "the file says " + seen[1]}
	}
	return Result{Evidence: words(all)}
}

// trap is what Ward lays into every service's environment; its password is masked on the way out.
var trap = regexp.MustCompile(plan.CanaryEnv + `=\S* ?`)

// provoke has the shop pay with what is no card, and reads in its error what a service has. It is stopped if the service tells
// all it has, and the secret isn't there because it never had it.
func (w *world) provoke(ctx context.Context, role, secret, layer string) Result {
	if err := w.fill(ctx, mallory); err != nil {
		return Result{Evidence: err.Error()}
	}
	r, err := w.post(ctx, "/checkout", url.Values{"card": {"1"}, "address": {"none"}})
	if err == nil {
		return Result{Evidence: "the shop took a card that is none"}
	}
	value := w.secrets[secret]
	if strings.Contains(r.body, value) {
		return Result{Succeeded: true, Evidence: words(found(r.body, value))}
	}
	_, has, ok := strings.Cut(r.body, role+" has: ")
	has = trap.ReplaceAllString(has, "")
	if !ok || strings.Contains(has, "***") || !strings.Contains(has, "PATH=") {
		return Result{Evidence: words(err.Error() + r.body)}
	}
	return Result{Layer: layer, Evidence: words(role + " has: " + has)}
}

func findCard(_ context.Context, w *world) Result {
	log := w.log("payments")
	if strings.Contains(log, victimCard) {
		return Result{Succeeded: true, Evidence: "the log of payments says card=" + victimCard}
	}
	if masked := "card=" + strings.Repeat("*", len(victimCard)-4) + victimCard[len(victimCard)-4:]; strings.Contains(log, masked) {
		return Result{Layer: "log: card number masked", Evidence: "the log of payments says " + masked}
	}
	return Result{Evidence: "the log of payments has no card number: " + words(log)}
}

// stealDisk reads what the database wrote, as who has the disk does. That the shop itself can read it, the purchase before has shown.
func stealDisk(_ context.Context, w *world) Result {
	b, err := os.ReadFile(filepath.Join(w.dir, ordersFile))
	if err != nil {
		return Result{Evidence: err.Error()}
	}
	disk := string(b)
	if strings.Contains(disk, address) {
		return Result{Succeeded: true, Evidence: words(found(disk, address))}
	}
	if !strings.Contains(disk, victim) {
		return Result{Evidence: "there is no order on the disk"}
	}
	return Result{Layer: "keys: sealed, one key per customer", Evidence: words(found(disk, `"address"`))}
}

// The customer who asks to be erased.
const (
	leaver        = "grace@example.com"
	leaverAddress = "7 Elm Court"
)

// restoreErased makes a backup, has a customer erased, and looks for their address in the backup; and in the shop, which has the backup's
// rows if they are sealed: the keys are all that was destroyed.
func restoreErased(ctx context.Context, w *world) Result {
	id, err := w.buy(ctx, purchase{user: leaver, card: "4000056655665556", address: leaverAddress})
	if err != nil {
		return Result{Evidence: err.Error()}
	}
	b, err := os.ReadFile(filepath.Join(w.dir, ordersFile))
	if err == nil {
		err = w.erase(ctx, leaver)
	}
	if err != nil {
		return Result{Evidence: err.Error()}
	}
	backup := string(b)
	if strings.Contains(backup, leaverAddress) {
		return Result{Succeeded: true, Evidence: words(found(backup, leaverAddress))}
	}
	if !strings.Contains(backup, leaver) {
		return Result{Evidence: "there is no order in the backup"}
	}
	// The shop keeps a key in memory for a while, as the SDK does.
	for read := ""; ; {
		r, err := w.get(ctx, "/orders/"+id)
		switch {
		case err != nil && ctx.Err() != nil && read != "": // the time is over, and all the while it could be read
			return Result{Succeeded: true, Evidence: words(read)}
		case err != nil:
			return Result{Evidence: err.Error()}
		case strings.Contains(r.body, shop.Erased):
			return Result{Layer: "keys: shredded", Evidence: "the shop itself reads " + words(found(r.body, shop.Erased))}
		case !strings.Contains(r.body, leaverAddress):
			return Result{Evidence: fmt.Sprintf("status %d: %s", r.status, words(r.body))}
		}
		read = found(r.body, leaverAddress)
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// eraseRows is how the shop erases a customer by itself: it deletes their rows.
func eraseRows(orders string) func(context.Context, string) error {
	return func(ctx context.Context, customer string) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodDelete, "http://"+orders+"/orders/"+customer, nil)
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return fmt.Errorf("erase a customer: %w", err)
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("erase a customer: status %d", resp.StatusCode)
		}
		return nil
	}
}
