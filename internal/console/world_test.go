package console

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wardhq/ward/internal/base/clock"
	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/cap/watch"
	"github.com/wardhq/ward/internal/capability"
	"github.com/wardhq/ward/internal/finding"
	"github.com/wardhq/ward/internal/ledger"
	"github.com/wardhq/ward/internal/ledger/anchor"
	"github.com/wardhq/ward/internal/ledger/check"
	"github.com/wardhq/ward/internal/ledger/search"
	"github.com/wardhq/ward/internal/model/wardfile"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/telemetry"
	"github.com/wardhq/ward/internal/wire"
)

const shop = `
app: shop
users: {name: Shop, second_factor: optional}
services:
  web:
    run: ./web
    listen: http://:8080
    expose: {routes: [GET /, "GET /books/{id}", POST /checkout], to: anyone}
    calls: {catalog: [GET /books], cart: ["GET,DELETE /carts/{id}"], orders: [GET /orders, POST /orders]}
    secrets: {session-secret: file}
  catalog: {run: ./catalog, listen: "http://:8080"}
  cart: {run: ./cart, listen: "http://:8080", calls: {catalog: "GET /books/{id}"}}
  orders: {run: ./orders, listen: "http://:8080", sensitivity: high, data: [addresses], calls: {payments: POST /charges, mailer: POST /mails, db: tcp}}
  payments: {run: ./payments, listen: "http://:8080", sensitivity: critical, data: [cards], calls: {cards: POST /v1/charges}}
  mailer: {run: ./mailer, listen: "http://:8080"}
  db: {run: ./db, listen: "tcp://:5432"}
secrets: {session-secret: {generate: password}}
externals: {cards: {host: cards.example, port: 443, local_port: 80, tls: originate}}
`

// evil is what a stranger, or a service that was taken over, may say.
const evil = `<script>alert(1)</script>"'><img src=x onerror=alert(2)>{{.}}`

// world is everything that a console looks at, as tests want it.
type world struct {
	t       testing.TB
	plan    *plan.Plan
	now     time.Time
	console *Console
	server  *httptest.Server

	mu        sync.Mutex // guards what follows
	edges     []watch.Edge
	found     []watch.Finding
	standing  []wire.Restriction
	silences  []watch.Silence
	records   []wire.Event
	full      bool                    // the ledger takes nothing
	recording func()                  // while a record is on its way; nil for nothing
	ended     bool                    // the session of the only person
	signedIn  map[string]wire.Session // by the gateway's cookie
	news      int                     // how often something happened
}

func newWorld(t testing.TB, yaml string) *world {
	t.Helper()
	m, problems := wardfile.Parse("ward.yaml", strings.NewReader(yaml))
	if problems.HasErrors() {
		t.Fatal(problems)
	}
	w := &world{t: t, plan: plan.Build(m), now: time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)}
	w.edges = []watch.Edge{
		w.edge(plan.Outside, "web", "GET /", telemetry.Allowed, 41, 38*time.Millisecond), w.edge(plan.Outside, "web", "GET /books/{id}", telemetry.Allowed, 12, 51*time.Millisecond),
		w.edge("web", "catalog", "GET /books", telemetry.Allowed, 52, 9*time.Millisecond), w.edge("web", "cart", "DELETE,GET /carts/{id}", telemetry.Allowed, 8, 4*time.Millisecond),
		w.edge("web", "orders", "POST /orders", telemetry.Allowed, 1.5, 120*time.Millisecond), w.edge("orders", "payments", "POST /charges", telemetry.Allowed, 1.5, 90*time.Millisecond),
		w.edge("payments", "cards", "POST /v1/charges", telemetry.Allowed, 1.5, 80*time.Millisecond), w.edge("orders", "db", "tcp", telemetry.Allowed, 3, 2*time.Millisecond),
		w.edge("mailer", "payments", telemetry.Undeclared, telemetry.Denied, 2, 0), w.edge(plan.Outside, "", telemetry.Undeclared, telemetry.Denied, 6, 0),
	}
	w.found = []watch.Finding{
		{ID: 7, Rule: "undeclared-call", Severity: finding.High, Subject: "mailer", Object: "payments", Opened: w.now.Add(-time.Hour), Last: w.now.Add(-time.Minute), Count: 31},
		{ID: 9, Rule: "undeclared-routes", Severity: finding.Medium, Subject: "203.0.113.7/32", Opened: w.now.Add(-time.Hour), Last: w.now.Add(-time.Minute), Count: 4},
	}
	w.found[0].What, w.found[0].Service = "mailer asked payments for POST /charges "+evil, "mailer"
	w.found[0].Call = &watch.Call{Caller: "mailer", Target: "payments", Method: "POST", Path: "/charges"}
	w.found[0].Traces = []string{"4bf92f3577b34da6a3ce929d0e0e4736"}
	w.found[1].What = "203.0.113.7 asked for 31 paths that no route declares"
	w.found[1].Evidence = append(w.found[1].Evidence, evidence(w.now, "GET /wp-admin "+evil, "203.0.113.7/32"))
	var err error
	w.console, err = New(Config{
		Clock: clock.Func(w.clock), Traffic: w, Kept: w, Inbox: w, Standing: w, Records: w, Report: w.report,
		Ledger: trail{w}, Checks: trail{w},
		Anchors: func() []anchor.State { return nil }, Plan: func() *plan.Plan { return w.plan }, People: http.HandlerFunc(w.people), SignedIn: w.whose, Layers: []capability.Capability{watch.Capability()}, Record: w.record,
	})
	if err != nil {
		t.Fatal(err)
	}
	w.server = httptest.NewServer(w.console.Handler())
	t.Cleanup(w.server.Close)
	return w
}

// trail is the file of the audit trail.
type trail struct{ w *world }

func (x trail) Status() ledger.Status {
	x.w.mu.Lock()
	defer x.w.mu.Unlock()
	return ledger.Status{Records: int64(len(x.w.records) + x.w.news), Segments: 1, Bytes: 4 << 20, Room: "enough", Waited: 12, Later: 3}
}

func (x trail) Checkpoint() (ledger.Checkpoint, error) {
	return ledger.Checkpoint{Records: x.Status().Records, Root: "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=", Time: x.w.clock().Add(-time.Second)}, nil
}

func (x trail) State() check.State {
	return check.State{Records: 12, Checked: x.w.clock().Add(-3 * time.Hour), Took: 40 * time.Millisecond}
}
func (x trail) Ask() {}

func evidence(at time.Time, text, client string) (e struct {
	Time   time.Time `json:"time"`
	Text   string    `json:"text"`
	Client string    `json:"client,omitempty"`
	Record int64     `json:"record"`
},
) {
	e.Time, e.Text, e.Client, e.Record = at, text, client, 12
	return e
}

func (w *world) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *world) after(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

func (w *world) edge(caller, target, route string, v telemetry.Verdict, rate float64, p99 time.Duration) watch.Edge {
	return watch.Edge{Label: telemetry.Label{Caller: caller, Target: target, Route: route, Verdict: v}, Source: "agent", Rate: rate, P99: p99, Total: 100}
}

func (w *world) Edges(time.Duration) []watch.Edge {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]watch.Edge(nil), w.edges...)
}

func (w *world) History(q watch.HistoryQuery) ([]watch.History, error) {
	var out []watch.History
	for _, e := range w.Edges(0) {
		h := watch.History{Label: e.Label, Source: e.Source, Measure: q.Measure}
		for i := range int(q.Since / q.Step) {
			v := e.Rate * (1 + float64(i%7)/5)
			if q.Measure == watch.P99 {
				v = e.P99.Seconds() * (1 + float64(i%5)/9)
			}
			h.Values = append(h.Values, &v)
		}
		if q.Measure == watch.Requests || q.Measure == watch.P99 && e.Verdict == telemetry.Allowed {
			out = append(out, h)
		}
	}
	return out, nil
}

func (w *world) Processes() []watch.Process {
	return []watch.Process{{Service: "web", Memory: 48 << 20, Start: w.clock().Add(-3 * time.Hour)}}
}
func (w *world) SLOs() ([]watch.SLO, error) { return nil, nil }
func (w *world) Ends(string) time.Time      { return w.clock().Add(40 * time.Minute) }

func (w *world) Traces(watch.TraceQuery) ([]watch.Summary, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []watch.Summary
	for i := w.news; i > 0; i-- {
		out = append(out, watch.Summary{Trace: telemetry.TraceID{1, byte(i)}, Start: w.now, Took: time.Second, Spans: 1, Worst: w.edges[8].Label})
	}
	return append(out, watch.Summary{Trace: telemetry.TraceID{1}, Start: w.now.Add(-time.Minute), Took: 1300 * time.Millisecond, Spans: 4, Worst: w.edges[4].Label, Status: 502}), nil
}

func (w *world) Spans() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return uint64(w.news)
}

func (w *world) Trace(id telemetry.TraceID) ([]telemetry.SpanRecord, error) {
	if id != (telemetry.TraceID{1}) {
		return nil, fault.New(fault.NotFound, "this trace isn't kept")
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	at := w.now.Add(-time.Minute).UnixNano()
	span := func(n, parent byte, i int, from, took time.Duration) telemetry.SpanRecord {
		return telemetry.SpanRecord{Trace: id, ID: telemetry.SpanID{n}, Parent: telemetry.SpanID{parent}, Label: w.edges[i].Label, Start: at + int64(from), Took: took, Status: 200}
	}
	all := []telemetry.SpanRecord{
		span(1, 0, 0, 0, 1300*time.Millisecond), span(2, 1, 4, 20*time.Millisecond, 1200*time.Millisecond),
		span(3, 2, 5, 60*time.Millisecond, 900*time.Millisecond), span(4, 3, 6, 80*time.Millisecond, 800*time.Millisecond), span(5, 2, 5, 61*time.Millisecond, 20*time.Millisecond),
	}
	all[4].App = &telemetry.App{Service: "orders", Name: "reserve " + evil, Kind: telemetry.KindInternal, Failed: true, Message: evil, Attributes: []telemetry.Attribute{{Key: "user_agent", Value: evil}}}
	return all, nil
}

func (w *world) Logs(context.Context, watch.LogQuery) (watch.LogResult, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	r := watch.LogResult{Last: uint64(w.news)}
	for i := w.news; i > 0; i-- {
		r.Entries = append(r.Entries, watch.LogEntry{Service: "web", Time: w.now.Truncate(time.Hour).Add(time.Duration(i) * time.Second), Text: "something happened", Seq: uint64(10 + i)})
	}
	for i, text := range []string{"listening on :8080", `level=error msg="` + evil + `"`, "GET /books 200"} {
		r.Entries = append(r.Entries, watch.LogEntry{Service: "web", Time: w.now.Truncate(time.Hour).Add(-time.Duration(i) * time.Second), Text: text, Level: watch.LogLevel(1 + i%4), Seq: uint64(i)})
	}
	return r, nil
}

func (w *world) List(_ context.Context, q watch.FindingQuery) ([]watch.Finding, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []watch.Finding
	for _, f := range w.found {
		if f.Closed.IsZero() != q.Closed {
			out = append(out, f)
		}
	}
	return out, nil
}

func (w *world) report(_ context.Context, id int64) (watch.FindingReport, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, f := range w.found {
		if f.ID == id {
			return watch.FindingReport{Finding: f, Answers: append([]wire.Restriction(nil), w.standing...), Title: "A call that isn't declared", Why: "No line of ward.yaml lets it.", Right: "`ward findings allow 7` shows <it>.", Offer: "quarantine", Allow: "@@ ward.yaml:12 @@\n+ payments: POST /charges\n- nothing " + evil}, nil
		}
	}
	return watch.FindingReport{}, fault.New(fault.NotFound, "there is no such finding")
}

func (w *world) Close(_ context.Context, id int64, by, note string) (watch.Finding, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range w.found {
		if f := &w.found[i]; f.ID == id {
			f.Closed, f.ClosedBy, f.Note = w.now, by, note
			return *f, nil
		}
	}
	return watch.Finding{}, fault.New(fault.NotFound, "there is no such finding")
}

func (w *world) Silence(_ context.Context, s watch.Silence) (watch.Silence, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s.ID = int64(len(w.silences) + 1)
	w.silences = append(w.silences, s)
	return s, nil
}

func (w *world) EndSilence(_ context.Context, id int64, _ string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.silences = nil
	return nil
}

func (w *world) Restrict(_ context.Context, r wire.Restriction) (wire.Restriction, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if r.Client.IsValid() && r.Client.Addr().IsPrivate() && !r.Sure {
		return r, fault.Wrap(fault.Invalid, "spared", watch.ErrSpared)
	}
	r.ID = fmt.Sprintf("a%d", len(w.standing)+1)
	if r.Until.IsZero() {
		r.Until = w.now.Add(10 * time.Minute)
	}
	w.standing = append(w.standing, r)
	return r, nil
}

func (w *world) Lift(_ context.Context, answer, _ string) (wire.Restriction, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, r := range w.standing {
		if r.ID == answer {
			w.standing = append(w.standing[:i:i], w.standing[i+1:]...)
			return r, nil
		}
	}
	return wire.Restriction{}, fault.New(fault.NotFound, "no such answer is in force")
}

func (w *world) Restrictions() (wire.Restrictions, <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return wire.Restrictions{All: append([]wire.Restriction(nil), w.standing...)}, nil
}

func (w *world) Silences() []watch.Silence {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]watch.Silence(nil), w.silences...)
}

func (w *world) Search(_ context.Context, q search.Query, f func(ledger.Record) bool) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if q.Kind == "ledger.lost" {
		return nil
	}
	for i := w.news; i > 0 && q.From == 0; i-- {
		f(ledger.Record{Index: int64(12 + i), Event: wire.Event{Source: "control", Time: w.now, Kind: "plan.applied"}})
	}
	f(ledger.Record{Index: 12, Event: wire.Event{Source: "gateway", Time: w.now, Kind: "request.denied", Subject: plan.Outside, Object: "web", Detail: map[string]string{"path": "/" + evil, "user_agent": evil}}})
	return nil
}

func (w *world) record(_ context.Context, e wire.Event) error {
	if w.recording != nil {
		w.recording()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.full {
		return fault.New(fault.Unavailable, "the ledger takes nothing")
	}
	w.records = append(w.records, e)
	return nil
}

// people is the administration of users: one person, with a name that somebody chose with care.
func (w *world) people(rw http.ResponseWriter, r *http.Request) {
	at := w.clock().Add(-time.Hour)
	p := map[string]any{"id": "u1", "email": "eve@example.com", "name": evil, "verified": true, "groups": []string{"staff"}, "roles": []string{}, "factors": []map[string]any{{"kind": "totp", "label": evil, "added": at}}}
	var out any
	switch r.Method + " " + r.URL.Path {
	case "GET /v1/users":
		all := []any{}
		w.mu.Lock()
		for i := w.news; i > 0; i-- {
			all = append(all, map[string]any{"id": fmt.Sprintf("a%d", i), "email": fmt.Sprintf("ada%d@example.com", i)})
		}
		w.mu.Unlock()
		out = map[string]any{"users": append(all, p)}
	case "GET /v1/users/u1":
		out = p
	case "GET /v1/users/u1/sessions":
		w.mu.Lock()
		all := []any{}
		if !w.ended {
			for i := w.news; i > 0; i-- {
				all = append(all, map[string]any{"id": fmt.Sprintf("n%d", i), "device": "a new one", "started": at, "seen": at})
			}
			all = append(all, map[string]any{"id": "s1", "device": evil, "place": "Ghent", "methods": []string{"passkey"}, "started": at, "seen": at, "expires": at.Add(9 * time.Hour)})
		}
		w.mu.Unlock()
		out = map[string]any{"sessions": all}
	case "DELETE /v1/users/u1/sessions/s1", "DELETE /v1/users/u1/sessions/n1":
		w.mu.Lock()
		w.ended = true
		w.mu.Unlock()
		out = map[string]any{}
	default:
		rw.WriteHeader(http.StatusNotFound)
		out = map[string]string{"error": "not_found", "message": "there is no such user"}
	}
	_ = json.NewEncoder(rw).Encode(out)
}

// somebody has a cookie.
type somebody struct {
	w      *world
	cookie string
	token  string
}

// enters lets somebody in.
func (w *world) enters(role string) *somebody {
	w.t.Helper()
	return w.entersAs("ada", role)
}

func (w *world) entersAs(name, role string) *somebody {
	w.t.Helper()
	link, err := w.console.Invite(w.t.Context(), wire.ConsoleAsk{By: name, Role: role})
	if err != nil {
		w.t.Fatal(err)
	}
	b := &somebody{w: w}
	b.follows(link.Path)
	return b
}

// follows has a browser come in by a link.
func (b *somebody) follows(path string) {
	b.w.t.Helper()
	resp, _ := b.get(path)
	for _, c := range resp.Cookies() {
		b.cookie = c.Name + "=" + c.Value
	}
	_, page := b.get("/findings")
	if m := regexp.MustCompile(`name="token" value="([^"]+)"`).FindStringSubmatch(page); m != nil {
		b.token = m[1]
	}
}

func (b *somebody) get(path string) (*http.Response, string) {
	b.w.t.Helper()
	return b.ask(http.MethodGet, path, "", nil)
}

// post sends a form as a page of the console does.
func (b *somebody) post(path string, form url.Values) (*http.Response, string) {
	b.w.t.Helper()
	form.Set("token", b.token)
	return b.ask(http.MethodPost, path, form.Encode(), map[string]string{"Content-Type": "application/x-www-form-urlencoded", "Sec-Fetch-Site": "same-origin"})
}

func (b *somebody) ask(method, path, body string, headers map[string]string) (*http.Response, string) {
	b.w.t.Helper()
	r, err := http.NewRequestWithContext(b.w.t.Context(), method, b.w.server.URL+path, strings.NewReader(body))
	if err != nil {
		b.w.t.Fatal(err)
	}
	if b.cookie != "" {
		r.Header.Set("Cookie", b.cookie)
	}
	for k, v := range headers {
		r.Header.Set(k, v)
	}
	resp, err := (&http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}).Do(r)
	if err != nil {
		b.w.t.Fatal(err)
	}
	defer resp.Body.Close()
	all, err := io.ReadAll(resp.Body)
	if err != nil {
		b.w.t.Fatal(err)
	}
	return resp, string(all)
}
