package notify

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wardhq/ward/internal/base/clock"
	"github.com/wardhq/ward/internal/cap/watch/internal/inbox"
	"github.com/wardhq/ward/internal/finding"
	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/store"
	"github.com/wardhq/ward/internal/wire"
)

// world is a Notifier at a time that tests set.
type world struct {
	*Notifier
	path   string
	db     *store.DB
	now    time.Time
	open   []inbox.Finding
	events []wire.Event
	given  []wire.Restriction
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{path: filepath.Join(t.TempDir(), "db"), now: at}
	w.start(t)
	t.Cleanup(func() { _ = w.db.Close() })
	return w
}

// start opens what is on the disk.
func (w *world) start(t *testing.T) {
	t.Helper()
	c := clock.Func(func() time.Time { return w.now })
	var err error
	if w.db, err = store.Open(t.Context(), store.Config{Path: w.path, Clock: c}); err != nil {
		t.Fatal(err)
	}
	w.Notifier, err = Open(t.Context(), Config{
		DB: w.db, Clock: c, Open: func() []inbox.Finding { return w.open }, Alive: func() bool { return true }, Answers: func() []wire.Restriction { return w.given },
		Record: func(e wire.Event) { w.events = append(w.events, e) }, Way: way(),
	})
	if err != nil {
		t.Fatal(err)
	}
}

// tell puts a webhook into force that a fake takes.
func (w *world) tell(t *testing.T, url string) {
	t.Helper()
	m := &model.Watch{Notify: []model.Notify{{To: "webhook", URL: url + "/in", KeyFile: "k"}}}
	if err := w.SetPlan("shop", "https://console.example.com", m, map[string][]byte{"k": []byte("whsec_" + strings.Repeat("c2VjcmV0", 4))}); err != nil {
		t.Fatal(err)
	}
}

// found opens a finding, and looks until it is to be told.
func (w *world) found(t *testing.T) {
	t.Helper()
	id := int64(len(w.open) + 1)
	w.open = append(w.open, inbox.Finding{ID: id, Rule: "undeclared-host", Severity: finding.High, Subject: "web", Opened: w.now, Last: w.now, Count: 1, Body: inbox.Body{What: "web asked for evil.example"}})
	for range 4 {
		w.now = w.now.Add(time.Second)
		w.step(t.Context())
	}
}

// once tries the first channel once.
func (w *world) once(t *testing.T) time.Duration {
	t.Helper()
	pause, tried := w.try(t.Context(), w.channels[0].id)
	if !tried {
		t.Fatal("nothing waits")
	}
	return pause
}

func (w *world) kinds() string {
	var out []string
	for _, e := range w.events {
		out = append(out, e.Kind)
	}
	return strings.Join(out, " ")
}

// TestAMessageSaysWhatWasDone, how that is undone, and where there is more.
func TestAMessageSaysWhatWasDone(t *testing.T) {
	url, requests := fake(t, func(http.ResponseWriter, *http.Request) {})
	w := newWorld(t)
	w.tell(t, url)
	w.given = []wire.Restriction{
		{ID: "a-1", Service: "web", Finding: 1, Until: at.Add(time.Hour)},
		{ID: "a-2", Client: netip.MustParsePrefix("203.0.113.7/32"), Finding: 1, Until: at.Add(time.Hour)},
		{ID: "a-3", Client: netip.MustParsePrefix("203.0.113.8/32"), Slow: true, Finding: 1, Until: at.Add(time.Hour)},
		{ID: "a-4", Client: netip.MustParsePrefix("203.0.113.9/32"), Finding: 1, Until: at.Add(time.Hour)},
		{ID: "a-5", Service: "api", Finding: 2, Until: at.Add(time.Hour)},
	}
	w.found(t)
	w.once(t)
	item := read(t, (<-requests).body)["data"].(map[string]any)["message"].(map[string]any)["findings"].([]any)[0].(map[string]any)
	want := []any{
		"the service web is cut off until 13:00 UTC on 22 November, undone by: ward answers lift a-1", "203.0.113.7/32 is blocked until 13:00 UTC on 22 November, undone by: ward answers lift a-2",
		"203.0.113.8/32 is slowed down until 13:00 UTC on 22 November, undone by: ward answers lift a-3", "and 1 more, see ward answers",
	}
	if d := cmp.Diff(want, item["done"]); d != "" || item["link"] != "https://console.example.com/findings/1" {
		t.Error(d, item["link"])
	}
}

func TestWhatWasntTakenSurvivesARestart(t *testing.T) {
	var down atomic.Bool
	down.Store(true)
	url, requests := fake(t, func(w http.ResponseWriter, _ *http.Request) {
		if down.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	w := newWorld(t)
	w.tell(t, url)
	w.found(t)
	for _, want := range []time.Duration{time.Second, 2 * time.Second, 4 * time.Second} {
		if pause := w.once(t); pause != want {
			t.Errorf("the next try after %s, not %s", pause, want)
		}
	}
	for range 20 {
		if pause := w.once(t); pause > longestWait {
			t.Errorf("%s", pause)
		}
		<-requests
	}
	first := <-requests
	if s := w.Status()[0]; s.Waiting != 1 || !strings.Contains(s.Error, "503") || s.Failed.IsZero() || !s.Sent.IsZero() || s.To != "webhook" || s.Host != host(url) {
		t.Errorf("%+v", s)
	}
	w.start(t) // as after kill -9: nobody has closed the other
	w.tell(t, url)
	down.Store(false)
	for len(requests) > 0 {
		<-requests
	}
	if pause := w.once(t); pause != 0 {
		t.Error(pause)
	}
	if again := <-requests; again.header.Get("webhook-id") != first.header.Get("webhook-id") || again.body != first.body {
		t.Errorf("%s\n%s", first.body, again.body)
	}
	w.start(t)
	w.tell(t, url)
	for range 5 {
		w.now = w.now.Add(time.Minute)
		w.step(t.Context())
	}
	if s := w.Status()[0]; s.Waiting != 0 || s.Sent.IsZero() || s.Error != "" {
		t.Errorf("it is told twice, or how it went is forgotten: %+v", s)
	}
	if w.kinds() != "notify.failed notify.sent" || strings.Contains(fmt.Sprint(w.events), "/in") {
		t.Errorf("%+v", w.events)
	}
}

func TestSecretsAreInNoRow(t *testing.T) {
	url, _ := fake(t, func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusForbidden) })
	w := newWorld(t)
	m := &model.Watch{Notify: []model.Notify{{To: "slack", URLFile: "u", Host: host(url)}, {To: "ntfy", URL: url + "/topic", KeyFile: "k"}, {To: "pagerduty", URL: url + "/x", KeyFile: "k"}}}
	if err := w.SetPlan("shop", "", m, map[string][]byte{"u": []byte(url + "/secret-1"), "k": []byte("secret-2")}); err != nil {
		t.Fatal(err)
	}
	w.found(t)
	for _, c := range w.channels {
		_, _ = w.try(t.Context(), c.id)
	}
	answers, err := w.Test(t.Context(), "")
	if err != nil || len(answers) != 3 || !strings.Contains(answers[0].Error, "403") {
		t.Errorf("%+v %v", answers, err)
	}
	if err := w.db.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(w.path)
	if err != nil || !strings.Contains(string(b), "evil.example") {
		t.Fatal("the message isn't in the database", err)
	}
	for _, where := range []string{string(b), fmt.Sprint(w.events), fmt.Sprint(answers), fmt.Sprint(w.Status())} {
		if strings.Contains(where, "secret-") {
			t.Error("a secret is in what is kept or said")
		}
	}
}

func TestWhatNobodyTakesForADayIsGivenUpAndSaid(t *testing.T) {
	url, _ := fake(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) })
	w := newWorld(t)
	w.tell(t, url)
	w.found(t)
	w.once(t)
	w.now = w.now.Add(giveUp - time.Minute)
	w.step(t.Context())
	if s := w.Status()[0]; s.Waiting != 1 {
		t.Errorf("%+v", s)
	}
	w.now = w.now.Add(time.Minute)
	w.step(t.Context())
	if s := w.Status()[0]; s.Waiting != 0 || s.Lost != 1 {
		t.Errorf("%+v", s)
	}
	if last := w.events[len(w.events)-1]; last.Kind != "notify.failed" || last.Detail["given_up"] != "1" {
		t.Errorf("%+v", w.events)
	}
}

func TestAMessageThatIsRefusedForGoodHoldsUpNone(t *testing.T) {
	answers := []int{http.StatusBadRequest, http.StatusOK}
	url, requests := fake(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(answers[0])
		answers = answers[1:]
	})
	w := newWorld(t)
	w.tell(t, url)
	w.found(t)
	w.now = w.now.Add(time.Minute)
	w.found(t)
	if pause := w.once(t); pause != 0 {
		t.Error(pause)
	}
	w.once(t)
	if one, two := <-requests, <-requests; one.header.Get("webhook-id") == two.header.Get("webhook-id") {
		t.Error("it was sent again")
	}
	if s := w.Status()[0]; s.Waiting != 0 || s.Lost != 1 || s.Error != "" {
		t.Errorf("%+v", s)
	}
}

func TestWhatWaitsIsBounded(t *testing.T) {
	url, _ := fake(t, func(http.ResponseWriter, *http.Request) {})
	w := newWorld(t)
	w.tell(t, url)
	for i := range maxWaiting + 5 {
		w.channels[0].state.queue = append(w.channels[0].state.queue, Message{ID: fmt.Sprint(i), Kind: Found, Count: 1, Items: []Item{{}}, Time: w.now})
	}
	w.step(t.Context())
	if s := w.Status()[0]; s.Waiting != maxWaiting || s.Lost != 5 || w.channels[0].state.queue[0].ID != "5" {
		t.Errorf("%+v", s)
	}
}

func TestAPlanThatIsWrongChangesNothing(t *testing.T) {
	url, _ := fake(t, func(http.ResponseWriter, *http.Request) {})
	w := newWorld(t)
	w.tell(t, url)
	w.found(t)
	for name, m := range map[string]*model.Watch{
		"a short key":          {Notify: []model.Notify{{To: "webhook", URL: url, KeyFile: "k"}}},
		"a heartbeat in clear": {Heartbeat: model.Heartbeat{URL: "http://192.0.2.1/"}},
		"the same twice":       {Notify: []model.Notify{{To: "ntfy", URL: url}, {To: "ntfy", URL: url}}},
	} {
		if err := w.SetPlan("shop", "", m, nil); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	if s := w.Status(); len(s) != 1 || s[0].Waiting != 1 {
		t.Errorf("%+v", s)
	}
	if err := w.SetPlan("shop", "", &model.Watch{}, nil); err != nil {
		t.Fatal(err)
	}
	w.step(t.Context())
	if left, err := load(t.Context(), w.db); err != nil || len(left) != 0 {
		t.Errorf("what nobody is told stays: %v %v", left, err)
	}
	if _, err := w.Test(t.Context(), ""); err == nil {
		t.Error("a test of nobody succeeds")
	}
}

func TestAHeartbeatEndsWhenAPartOfWardDoes(t *testing.T) {
	url, requests := fake(t, func(w http.ResponseWriter, _ *http.Request) {})
	w := newWorld(t)
	if err := w.SetPlan("shop", "", &model.Watch{Heartbeat: model.Heartbeat{URL: url + "/ping/secret", Every: 30}}, nil); err != nil {
		t.Fatal(err)
	}
	lives := true
	minute := func() int {
		for range 60 {
			w.now = w.now.Add(time.Second)
			w.beat.step(t.Context(), w.config.Clock, func() bool { return lives })
		}
		n := len(requests)
		for range n {
			if r := <-requests; r.method != http.MethodGet {
				t.Error(r.method)
			}
		}
		return n
	}
	if n := minute(); n != 2 {
		t.Errorf("%d in a minute", n)
	}
	lives = false
	if n := minute(); n != 0 {
		t.Errorf("%d while a part of Ward is silent", n)
	}
	lives = true
	if n := minute(); n != 2 {
		t.Errorf("%d after it is back", n)
	}
	if s := w.Status(); len(s) != 1 || s[0].To != "heartbeat" || s[0].Sent.IsZero() || strings.Contains(fmt.Sprint(s), "secret") {
		t.Errorf("%+v", s)
	}
}

// TestRunTells runs all of it, as control does.
func TestRunTells(t *testing.T) {
	url, requests := fake(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "{}") })
	w := newWorld(t)
	w.config.Clock = clock.System{}
	w.tell(t, url)
	for i := range 3 {
		w.open = append(w.open, inbox.Finding{ID: int64(i + 1), Rule: "undeclared-host", Severity: finding.High, Count: 1})
	}
	ended := make(chan struct{})
	ctx, stop := context.WithCancel(t.Context())
	go func() { w.Run(ctx); close(ended) }()
	var m struct{ Data struct{ Message Message } }
	select {
	case r := <-requests:
		if err := json.Unmarshal([]byte(r.body), &m); err != nil || m.Data.Message.Count != 3 {
			t.Errorf("%v %s", err, r.body)
		}
	case <-time.After(5 * time.Second):
		t.Error("nothing was told within 5 s")
	}
	stop()
	<-ended
}
