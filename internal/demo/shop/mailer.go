package shop

import (
	"context"
	"net/http"
	"os/exec"
	"strings"
	"text/template"
	"time"
)

// Mail is a confirmation that was sent.
type Mail struct {
	To    string `json:"to"`
	Order string `json:"order"`
	Text  string `json:"text"`
	// Token: HOLE, the token of the user, which mailer has no use for, comes along with
	// the call and ends up in its files.
	Token string `json:"token,omitempty"`
}

func newMailer(_ context.Context, s *site) (http.Handler, error) {
	outbox, err := openStore[Mail](s.dir, "outbox")
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /mails", func(w http.ResponseWriter, r *http.Request) {
		var in struct{ To, Order, Note string }
		if !read(w, r, &in) {
			return
		}
		m := Mail{To: in.To, Order: in.Order, Text: compose(in.To, in.Order, in.Note), Token: r.Header.Get("Authorization")}
		if err := outbox.put(m.Order, m); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		s.log.Printf("mailed order=%s", m.Order)
		respond(w, m)
	})
	debugRoutes(mux)
	return mux, nil
}

// compose: HOLE, the buyer's own words become part of the template (server-side
// template injection), and the template engine can run programs: this service is taken over
// with one order.
func compose(to, order, note string) string {
	t, err := template.New("mail").Funcs(template.FuncMap{"run": runProgram}).Parse(
		"Dear {{.To}}, thank you for order {{.Order}}. Your note: " + note)
	if err != nil {
		return "Dear " + to + ", thank you for order " + order + "."
	}
	var b strings.Builder
	if err := t.Execute(&b, map[string]string{"To": to, "Order": order}); err != nil {
		return err.Error()
	}
	return b.String()
}

// runProgram returns what the program said, errors too.
func runProgram(name string, args ...string) string {
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	if err != nil {
		return string(out) + err.Error()
	}
	return string(out)
}
