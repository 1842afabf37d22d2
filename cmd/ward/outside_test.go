package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/wardhq/ward/internal/prove"
	"github.com/wardhq/ward/internal/wardtest"
)

// TestAttackStaysOutsideTheConsole: nobody's requests, and those of people who aren't, reach nothing at its host.
func TestAttackStaysOutsideTheConsole(t *testing.T) {
	t.Parallel()
	w := wardtest.Start(t, peopleModel+"watch: {console: {}}\n", nil)
	code, out := runWard(t, w, "", "attack", "--from", "outside", "--json")
	var r prove.Report
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatal(err, out)
	}
	if code != 0 || len(r.Differences) > 0 || len(r.Attackers) != 1 || r.Attackers[0].Attempts < 250 {
		t.Errorf("exit %d: %+v", code, r)
	}
	// Who takes the console away takes it away at once.
	status := func() int {
		ask, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		ask.Host = strings.Replace(w.URL, "https://", "console.", 1)
		resp, err := wardtest.Client().Do(ask)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		return resp.StatusCode
	}
	if got := status(); got != http.StatusUnauthorized {
		t.Errorf("before: status %d", got)
	}
	b, err := os.ReadFile(w.File)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(w.File, bytes.Replace(b, []byte("watch: {console: {}}"), []byte("watch: {}"), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	wardtest.Eventually(t, "the console is gone", func() bool { return status() == http.StatusMisdirectedRequest })
}

// TestTheConsoleBehindTheGateway: at its own host, for who signed in with a passkey and has the role, as long as they have it.
func TestTheConsoleBehindTheGateway(t *testing.T) {
	t.Parallel()
	w := wardtest.Start(t, peopleModel+"watch: {console: {}}\n", nil)
	role := func(option string) {
		t.Helper()
		if code, out := runWard(t, w, "", "users", "set", "ada@example.com", option, "ward-admin"); code != 0 {
			t.Fatal(out)
		}
	}
	home, pages := strings.Replace(w.URL, "https://", "https://console.", 1), pagesOf(w.URL)
	s := surf(t, w)
	s.asksFirst()
	s.Goto(home + "/findings")
	s.sees("nobody", pages, "/sign-in", "Harbour Books")

	s.signsUp()
	s.Forget()
	s.Goto(home + "/findings")
	s.Follow(passkeyButton)
	s.arrives(home)
	s.sees("without a role", home, "/findings", "this isn't open to you")

	role("--role")
	wardtest.Eventually(t, "the gateway hears of the role", func() bool { return s.Goto(home+"/") == http.StatusOK })
	s.sees("with a role", home, "/", "ada@example.com · administrator")
	s.Until(soon, `() => /live|as of/i.test(document.querySelector("#live")?.textContent ?? "")`)
	w.Get("/call?url=http://orders:8080/admin")
	s.Until(soon, `() => document.body.textContent.includes("web → orders: refused")`)
	s.sees("an attack as it happens", home, "/", "web → orders: refused")

	s.Goto(home + "/services/mailer")
	s.Fill("form[action='/answers/quarantine'] input[name=reason]", "a look")
	s.Follow("form[action='/answers/quarantine'] button")
	s.sees("cut off", home, "/services/mailer", "The service is in quarantine")
	s.Goto(home + "/findings")
	s.Follow("form[action$='/lift'] button")
	s.sees("let go", home, "/findings", "Lifted")

	role("--no-role")
	wardtest.Eventually(t, "the gateway hears that it is gone", func() bool { s.Goto(home + "/"); return strings.HasPrefix(s.At(), pages) })
	s.sees("no longer", pages, "/sign-in", "") // losing a role ends the sessions
	role("--role")
	s.Follow(passkeyButton)
	s.arrives(home)
	wardtest.Eventually(t, "the gateway hears of the role again", func() bool { return s.Goto(home+"/audit") == http.StatusOK })
	s.Follow("form[action='/.ward/sign-out'] button")
	s.arrives(pages)
	s.sees("left", pages, "/signed-out", "")
	s.Goto(home + "/")
	s.sees("nobody again", pages, "/sign-in", "")
	for _, kind := range []string{"console.entered", "console.act"} {
		if code, out := runWard(t, w, "", "audit", "--kind", kind); code != 0 || !strings.Contains(out, "ada@example.com") {
			t.Errorf("%s: %s", kind, out)
		}
	}
}
