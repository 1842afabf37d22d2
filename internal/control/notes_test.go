package control

import (
	"net/http"
	"net/http/httptest"
	"sync"
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

// watched looks before each byte.
type watched struct {
	*httptest.ResponseRecorder
	look func()
}

func (w *watched) Write(b []byte) (int, error) { w.look(); return w.ResponseRecorder.Write(b) }
func (w *watched) WriteHeader(status int)      { w.look(); w.ResponseRecorder.WriteHeader(status) }
