package main

import (
	"regexp"
	"strings"
	"testing"

	"github.com/wardhq/ward/internal/up"
	"github.com/wardhq/ward/internal/wardtest"
)

// TestAskedForEndsAreNoCrashes: who restarts a service three times has no finding of it; a service that ends three times by itself is one.
func TestAskedForEndsAreNoCrashes(t *testing.T) {
	t.Parallel()
	w := wardtest.Start(t, twoServices, nil)
	for range 3 {
		if code, out, errs := say("restart", "-f", w.File, "lonely"); code != 0 {
			t.Fatal(code, out, errs)
		}
	}
	for i := range 3 {
		wardtest.Eventually(t, "the catalog runs", func() bool { s := status(w, "catalog"); return s.State == up.Ready && s.Restarts == i })
		w.Get("/call?url=http://catalog:8080/exit")
	}
	wardtest.Eventually(t, "the crash loop is found", func() bool { return found(t, w.File)["crash-loop"].Subject == "catalog" })
	_, out, _ := say("audit", "-f", w.File, "--json", "--object", "lonely")
	if strings.Contains(out, "service.exit") || strings.Count(out, "service.restart") != 3 || strings.Count(out, "service.start") != 4 {
		t.Errorf("the trail: %s", out)
	}
	if s := status(w, "lonely"); s.Restarts != 0 || s.State != up.Ready {
		t.Errorf("%+v", s)
	}
}

// status is how a service stands.
func status(w *wardtest.World, service string) (out up.ServiceStatus) {
	for _, s := range w.Status().Services {
		if s.Service == service {
			out = s
		}
	}
	return out
}

// TestAnOutageShowsUnderItsRoute: what a service that is gone doesn't answer isn't "undeclared".
func TestAnOutageShowsUnderItsRoute(t *testing.T) {
	t.Parallel()
	w := wardtest.Start(t, strings.Replace(twoServices, "  catalog:\n", "  catalog:\n    restart: never\n", 1), nil)
	w.Get("/call?url=http://catalog:8080/exit")
	wardtest.Eventually(t, "the catalog is gone", func() bool { return status(w, "catalog").State == up.Ended })
	w.Get("/call?url=http://catalog:8080/books/1")
	wardtest.Eventually(t, "the failure is counted", func() bool {
		_, out, _ := say("top", "--once", "-f", w.File)
		return regexp.MustCompile(`(?m)^fail +web +catalog +GET /books/\*\* `).MatchString(out) && regexp.MustCompile(`(?m)^catalog +ended `).MatchString(out)
	})
	if _, out, _ := say("top", "--once", "-f", w.File); regexp.MustCompile(`(?m)^fail .* undeclared`).MatchString(out) {
		t.Error(out)
	}
}
