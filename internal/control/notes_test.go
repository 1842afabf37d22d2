package control

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/wardhq/ward/internal/base/secret"
	"github.com/wardhq/ward/internal/ledger"
	"github.com/wardhq/ward/internal/wire"
)

// TestAnswersWaitForWhatTheyAreAbout: when a page answers, what it noted is in the ledger.
func TestAnswersWaitForWhatTheyAreAbout(t *testing.T) {
	k, err := New(Config{Dir: t.TempDir(), Key: secret.New(make([]byte, 32)), TrustDomain: "shop.internal"})
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	for name, answer := range map[string]func(http.ResponseWriter){
		"with a body":    func(w http.ResponseWriter) { _, _ = w.Write([]byte("x")) },
		"with a status":  func(w http.ResponseWriter) { w.WriteHeader(http.StatusSeeOther) },
		"without either": func(http.ResponseWriter) {},
	} {
		h := k.durable(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			k.note(wire.Event{Kind: "sign-in", Subject: "u"})
			answer(w)
		}))
		before, _ := k.ledger.Size()
		begun := make(chan struct{})
		var owned sync.WaitGroup
		owned.Go(func() {
			<-begun
			k.keep(<-k.events)
		})
		checked := httptest.NewRecorder()
		done := make(chan struct{})
		owned.Go(func() {
			defer close(done)
			h.ServeHTTP(&watched{ResponseRecorder: checked, look: func() {
				if n, _ := k.ledger.Size(); n != before+1 {
					t.Errorf("%s: it answers with %d records", name, n-before)
				}
			}}, httptest.NewRequest(http.MethodPost, "/", nil))
			if n, _ := k.ledger.Size(); n != before+1 {
				t.Errorf("%s: it ended with %d records", name, n-before)
			}
		})
		close(begun)
		<-done
		owned.Wait()
	}
}

// TestWhatIsLostIsSaid: events that the queue has no room for are counted in the ledger, not left out.
func TestWhatIsLostIsSaid(t *testing.T) {
	k, err := New(Config{Dir: t.TempDir(), Key: secret.New(make([]byte, 32)), TrustDomain: "shop.internal"})
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	for range cap(k.events) + 7 {
		k.note(wire.Event{Kind: "sign-in", Subject: "u"})
	}
	for len(k.events) > 0 {
		k.keep(<-k.events)
	}
	kept, lost := 0, int64(0)
	err = k.ledger.Read(0, func(r ledger.Record) bool {
		switch r.Kind {
		case "sign-in":
			kept++
		case "ledger.lost":
			lost += r.Count
		}
		return true
	})
	if err != nil || kept != cap(k.events) || lost != 7 {
		t.Errorf("%d kept, %d said to be lost: %v", kept, lost, err)
	}
}

// TestWhatCantBeKeptIsntDone: with a ledger that takes nothing, administration does nothing, and sign-in nothing more once something was lost.
func TestWhatCantBeKeptIsntDone(t *testing.T) {
	k, err := New(Config{Dir: t.TempDir(), Key: secret.New(make([]byte, 32)), TrustDomain: "shop.internal"})
	if err != nil {
		t.Fatal(err)
	}
	sound := k.ledger
	defer func() { k.ledger = sound; k.Close() }()
	done := 0
	inner := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		done++
		k.note(wire.Event{Kind: "user.membership", Subject: "u"})
		k.keep(<-k.events)
	})
	try := func(h http.Handler, method string) (status, times int) {
		before, w := done, httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(method, "/v1/users/u", nil))
		return w.Code, done - before
	}
	administration, pages := k.accountable(inner), k.durable(inner)
	if status, times := try(administration, http.MethodPut); status != http.StatusOK || times != 1 {
		t.Fatalf("before: %d, done %d times", status, times)
	}
	var kinds []string
	if err := k.ledger.Read(0, func(r ledger.Record) bool { kinds = append(kinds, r.Kind); return true }); err != nil || !slices.Equal(kinds, []string{"admin.request", "user.membership"}) {
		t.Errorf("%q %v", kinds, err)
	}
	if k.ledger, err = ledger.Open(t.TempDir(), "shop.internal/ledger", secret.New(make([]byte, 32))); err != nil {
		t.Fatal(err)
	}
	if err := k.ledger.Close(); err != nil {
		t.Fatal(err)
	}
	if status, times := try(administration, http.MethodPut); status != http.StatusServiceUnavailable || times != 0 {
		t.Errorf("administration: %d, done %d times", status, times)
	}
	if status, times := try(pages, http.MethodPost); status != http.StatusOK || times != 1 {
		t.Errorf("sign-in, before anything was lost: %d, done %d times", status, times)
	}
	// Who comes back from a provider of sign-in is signed in by a GET.
	w, before := httptest.NewRecorder(), done
	pages.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/sign-in/with/corp/callback?code=x&state=y", nil))
	if w.Code != http.StatusServiceUnavailable || done != before {
		t.Errorf("sign-in with a provider: %d, done %d times", w.Code, done-before)
	}
	for method, want := range map[string]int{http.MethodPost: http.StatusServiceUnavailable, http.MethodDelete: http.StatusServiceUnavailable, http.MethodGet: http.StatusOK} {
		if status, times := try(pages, method); status != want || (times == 1) != (want == http.StatusOK) {
			t.Errorf("sign-in, %s: %d, done %d times", method, status, times)
		}
	}
}

// watched looks before each byte.
type watched struct {
	*httptest.ResponseRecorder
	look func()
}

func (w *watched) Write(b []byte) (int, error) { w.look(); return w.ResponseRecorder.Write(b) }
func (w *watched) WriteHeader(status int)      { w.look(); w.ResponseRecorder.WriteHeader(status) }

// TestWhatIsLostKeepsSignInClosedForAll: while one request tries to tell of a loss, others don't pass.
func TestWhatIsLostKeepsSignInClosedForAll(t *testing.T) {
	k, err := New(Config{Dir: t.TempDir(), Key: secret.New(make([]byte, 32)), TrustDomain: "shop.internal"})
	if err != nil {
		t.Fatal(err)
	}
	sound := k.ledger
	defer func() { k.ledger = sound; k.Close() }()
	if k.ledger, err = ledger.Open(t.TempDir(), "shop.internal/ledger", secret.New(make([]byte, 32))); err != nil {
		t.Fatal(err)
	}
	if err := k.ledger.Close(); err != nil {
		t.Fatal(err)
	}
	k.lost.Add(7)
	var done atomic.Int64
	pages := k.durable(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { done.Add(1) }))
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 2000 {
				pages.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/sign-in", nil))
			}
		})
	}
	all.Wait()
	if done.Load() > 0 || k.lost.Load() != 7 {
		t.Errorf("%d passed; %d are to be told", done.Load(), k.lost.Load())
	}
}
