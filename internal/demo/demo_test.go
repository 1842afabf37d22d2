package demo

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wardhq/ward/internal/demo/shop"
	"github.com/wardhq/ward/internal/model/wardfile"
)

func TestModelIsShortAndWithoutErrors(t *testing.T) {
	text := Model(18443, 18090)
	if n := strings.Count(text, "\n"); n > 80 {
		t.Errorf("%d lines", n)
	}
	m, problems := wardfile.Parse("shop.yaml", strings.NewReader(text))
	if problems.HasErrors() {
		t.Fatal(problems.String())
	}
	var names []string
	for _, s := range m.Services {
		names = append(names, string(s.Name))
		if len(s.Run) != 3 || s.Run[1] != ServiceVerb || s.Run[2] != string(s.Name) {
			t.Errorf("%s runs %q", s.Name, s.Run)
		}
	}
	slices.Sort(names)
	if diff := cmp.Diff(slices.Sorted(slices.Values(shop.Names())), names); diff != "" {
		t.Errorf("roles (-shop +model):\n%s", diff)
	}
	if m.Gateway.Listen != "127.0.0.1:18443" || m.Externals[0].Port != 18090 {
		t.Errorf("ports: %s, %d", m.Gateway.Listen, m.Externals[0].Port)
	}
}

func TestOnlyWardsOwnRefusalsCountAsStopped(t *testing.T) {
	tests := []struct {
		name   string
		status int
		body   string
		want   Result
	}{
		{"the answer holds what was wanted", 200, "users: Ada", Result{Succeeded: true, Evidence: "users: Ada"}},
		{"the answer is something else", 200, "hello", Result{Evidence: "status 200: hello"}},
		{
			"the gateway has no route", 404, "404 Not Found\nno such route\nid: d-1\n",
			Result{Layer: "gateway: no such route", Evidence: "status 404: 404 Not Found no such route id: d-1"},
		},
		{
			"the request was ambiguous", 400, "400 Bad Request\nthe path holds a dot segment\n",
			Result{Layer: "gateway: ambiguous request refused", Evidence: "status 400: 400 Bad Request the path holds a dot segment"},
		},
		{"the shop has no such page", 404, "404 page not found\n", Result{Evidence: "status 404: 404 page not found"}},
		{"the shop says no", 403, "internal callers only\n", Result{Evidence: "status 403: internal callers only"}},
		{"the shop is broken", 502, "oops", Result{Evidence: "status 502: oops"}},
		{
			"a file isn't shown", 404, "open /x: no such file or directory",
			Result{Layer: "sandbox: private root", Evidence: "status 404: open /x: no such file or directory"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := judgePage(reply{status: tt.status, body: tt.body}, "Ada", "gateway")
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestWallsAreToldFromErrors(t *testing.T) {
	for text, want := range map[string]wall{
		"dial tcp: lookup payments on 127.0.0.53:53: no such host":            wallName,
		"charge: rpc error: code = Unavailable desc = dial tcp: no such host": wallName,
		"dial tcp 127.0.0.1:80: connect: permission denied":                   wallPort,
		"dial tcp 127.0.0.1:80: connect: connection refused":                  wallRoute,
		"dial tcp 192.0.2.1:80: connect: network is unreachable":              wallRoute,
		"open ../orders/data/orders.json: no such file or directory":          wallFile,
		"open /etc/shadow: permission denied":                                 wallFile,
		"unexpected EOF":                                                      wallOther,
	} {
		if got := wallOf(errors.New(text)); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
	if got := wallOf(fmt.Errorf("hunt: %w", errAlone)); got != wallProcess {
		t.Errorf("alone: %s", got)
	}
}

func TestIntruderBringsBackWhatItFinds(t *testing.T) {
	file := filepath.Join(t.TempDir(), "orders.json")
	if err := os.WriteFile(file, []byte("Ada <&>"), 0o600); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/" {
			http.NotFound(w, r)
			return
		}
		fmt.Fprint(w, "internal=", r.Header.Get("X-Internal"))
	}))
	defer server.Close()
	tests := []struct {
		name string
		e    errand
		want booty
	}{
		{"a file", errand{Read: file}, booty{OK: true, Text: "Ada <&>"}},
		{"no file", errand{Read: file + "x"}, booty{Text: "open " + file + "x: no such file or directory", Error: wallFile}},
		{"a write", errand{Write: file}, booty{OK: true, Text: "written"}},
		{"a page", errand{Get: server.URL}, booty{OK: true, Text: "internal=true"}},
		{"no page", errand{Get: server.URL + "/x"}, booty{Text: "404 page not found\n", Error: wallOther}},
		{"a variable that no process has", errand{Hunt: "NO_PROCESS_HAS_THIS"}, booty{Error: wallProcess}},
		{"nothing to do", errand{}, booty{Text: "no errand", Error: wallOther}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			if err := Intrude(t.Context(), tt.e.encode(), &out); err != nil {
				t.Fatal(err)
			}
			got, ok := readBooty("Dear M, your note: " + out.String() + "\n")
			if !ok {
				t.Fatalf("unreadable: %s", out.String())
			}
			if tt.want.Text == "" {
				got.Text = ""
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	if err := Intrude(t.Context(), "%", &bytes.Buffer{}); err == nil {
		t.Error("an unreadable errand was done")
	}
	if _, ok := readBooty("Dear M, exec: no such file"); ok {
		t.Error("a report was found where none is")
	}
}

func TestTableTellsWhatTheRowsSay(t *testing.T) {
	yes, no := Result{Succeeded: true}, Result{Layer: "agent: no"}
	r := Report{
		Without: Session{OK: true}, With: Session{OK: true}, Seconds: 1.25,
		Rows: []Row{
			{Attack: "a", Hole: "h", Without: yes, With: no},
			{Attack: "b", Hole: "hole", Without: Result{Succeeded: true, Evidence: "as b says"}, With: Result{Succeeded: true, Evidence: "b again"}},
		},
	}
	r.judge()
	var b bytes.Buffer
	if err := r.print(&b, false); err != nil {
		t.Fatal(err)
	}
	want := `
ATTACK  HOLE  WITHOUT   WITH WARD  STOPPED BY
a       h     succeeds  stopped    agent: no
b       hole  succeeds  succeeds   NOTHING

"mailer:" is done inside of that service, taken over by an order whose note its template engine runs.
2 attacks: 1 stopped, 1 open. The shop without Ward works, with Ward works.

not as it should be: b
  without Ward: as b says
  with Ward:    b again
All of it happened just now, in 1.2 s; --json shows the evidence of each cell.
`
	if diff := cmp.Diff(want, b.String()); diff != "" || r.OK {
		t.Errorf("ok=%v (-want +got):\n%s", r.OK, diff)
	}
}

func TestVerdictIsNoWhereAnythingIsAmiss(t *testing.T) {
	yes, stopped, failed := Result{Succeeded: true}, Result{Layer: "x"}, Result{}
	works := Session{OK: true}
	tests := []struct {
		name          string
		row           Row
		without, with Session
		want          bool
	}{
		{"stopped as claimed", Row{Without: yes, With: stopped}, works, works, true},
		{"not stopped", Row{Without: yes, With: yes}, works, works, false},
		{"failed for a reason of its own", Row{Without: yes, With: failed}, works, works, false},
		{"no attack at all", Row{Without: failed, With: stopped}, works, works, false},
		{"the guarded shop doesn't work", Row{Without: yes, With: stopped}, works, Session{}, false},
		{"the plain shop doesn't work", Row{Without: yes, With: stopped}, Session{}, works, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := Report{Without: tt.without, With: tt.with, Rows: []Row{tt.row}}
			r.judge()
			if r.OK != tt.want {
				t.Errorf("ok = %v", r.OK)
			}
		})
	}
}
