package prove

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wardhq/ward/internal/model/wardfile"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/plan/policy"
	"github.com/wardhq/ward/internal/prove/escape"
)

const today = "2026-06-01"

const shop = `
app: shop
gateway: {listen: "127.0.0.1:8443"}
services:
  web:
    run: [./web]
    listen: http://:8080
    expose: {routes: [GET /, "GET /books/{id}", POST /cart], to: anyone}
    calls: {catalog: [GET /books/**, "PUT /stock/{id}"], payments: grpc shop.v1.Payments/Charge, redis: tcp, bank: GET /rates}
  catalog:
    run: [./catalog]
    listen: http://:8080
  payments:
    run: [./payments]
    listen: grpc://:9090
  redis:
    run: [./redis]
    listen: tcp://:6379
externals:
  bank: {host: bank.example.com, port: 443, tls: originate, protocol: http}
`

func compile(t *testing.T, text string) (*plan.Plan, *policy.Set) {
	t.Helper()
	m, problems := wardfile.Parse("ward.yaml", strings.NewReader(text))
	if problems.HasErrors() {
		t.Fatal(problems.String())
	}
	p := plan.Build(m)
	set, err := policy.Compile(p, today)
	if err != nil {
		t.Fatal(err)
	}
	return p, set
}

// find returns the attempts that look like a line: "kind METHOD target address".
func find(all []Attempt, line string) []Attempt {
	var out []Attempt
	for _, a := range all {
		if strings.Join(strings.Fields(fmt.Sprintf("%s %s %s %s", a.Kind, a.Call.Method, a.Call.Target, a.Call.Address)), " ") == line {
			out = append(out, a)
		}
	}
	return out
}

func TestInsideAttemptsExpectWhatThePlanGrants(t *testing.T) {
	p, set := compile(t, shop)
	web, skipped := Attempts(p, set, "web", false)
	catalog, _ := Attempts(p, set, "catalog", false)
	if skipped == 0 {
		t.Error("no granted call to an external was left out")
	}
	for name, c := range map[string]struct {
		from    []Attempt
		line    string
		granted bool
	}{
		"a granted pattern":                {web, "route GET /books/ward-attack/deep/er/still catalog:8080", false},
		"a granted pattern, rest":          {web, "route GET /books/deep/er/still catalog:8080", true},
		"a granted pattern, without rest":  {web, "route GET /books catalog:8080", true},
		"a method that isn't granted":      {web, "route DELETE /books/deep/er/still catalog:8080", false},
		"a granted change":                 {web, "route PUT /stock/0 catalog:8080", true},
		"a sibling path":                   {web, "sibling PUT /stock/ward-attackx catalog:8080", true},
		"a path that nobody names":         {web, "unnamed GET /admin catalog:8080", false},
		"dot segments":                     {web, "trick GET /books/deep/er/still/../../../../admin catalog:8080", false},
		"a granted gRPC method":            {web, "route POST /shop.v1.Payments/Charge payments:9090", true},
		"another gRPC method":              {web, "sibling POST /shop.v1.Payments/WardAttack payments:9090", false},
		"a granted TCP port":               {web, "route redis:6379", true},
		"a service without a rule":         {catalog, "closed GET / payments:9090", false},
		"an external without a rule":       {catalog, "closed bank.example.com:443", false},
		"an upstream's address, other end": {catalog, "address 127.64.0.1:9090", false},
		"a route of the external":          {web, "sibling GET /rates/ward-attack bank:80", false},
	} {
		got := find(c.from, c.line)
		if name == "a granted pattern" {
			if len(got) != 0 {
				t.Errorf("%s: the pattern has no such sample", c.line)
			}
			continue
		}
		if len(got) == 0 {
			t.Errorf("%s: no attempt %q", name, c.line)
			continue
		}
		if got[0].Granted != c.granted {
			t.Errorf("%s: %q granted %v (%s), want %v", name, c.line, got[0].Granted, got[0].Why, c.granted)
		}
	}
	if got := find(web, "route GET /rates bank:80"); len(got) != 0 {
		t.Error("a granted call to an external would be made")
	}
}

func TestOutsideAttemptsExpectWhatIsExposed(t *testing.T) {
	p, set := compile(t, shop)
	all, _ := Attempts(p, set, plan.Outside, false)
	for line, granted := range map[string]bool{
		"route GET / 127.0.0.1:8443":                                true,
		"route GET /books/0 127.0.0.1:8443":                         true,
		"route POST /cart 127.0.0.1:8443":                           true,
		"route PUT /stock/0 127.0.0.1:8443":                         false,
		"sibling GET /books/ward-attack/ward-attack 127.0.0.1:8443": false,
		"route POST /shop.v1.Payments/Charge 127.0.0.1:8443":        false,
		"plain GET / 127.0.0.1:8443":                                false,
	} {
		got := find(all, line)
		if len(got) == 0 {
			t.Errorf("no attempt %q", line)
		} else if got[0].Granted != granted {
			t.Errorf("%q granted %v (%s), want %v", line, got[0].Granted, got[0].Why, granted)
		}
	}
	for _, a := range all {
		if a.Kind == "host" && a.Granted {
			t.Errorf("host %q would be the application's", a.Call.Host)
		}
	}
}

func TestReadOnlyLeavesGrantedChangesOut(t *testing.T) {
	p, set := compile(t, shop)
	all, _ := Attempts(p, set, "web", true)
	for _, a := range all {
		if a.Granted && a.Call.Method != "" && a.Call.Method != "GET" {
			t.Errorf("%s would be made", a.Call.String())
		}
	}
	if len(find(all, "route DELETE /books catalog:8080")) == 0 {
		t.Error("a change that isn't granted is left out, though it would only be refused")
	}
}

func TestPathsFillEveryPattern(t *testing.T) {
	for pattern, want := range map[string][]string{
		"/":                 {"/"},
		"/a/{id}":           {"/a/ward-attack", "/a/0"},
		"/a/*/b":            {"/a/ward-attack/b", "/a/0/b"},
		"/**":               {"/deep/er/still", "/x", "/"},
		"/a/{x}/**":         {"/a/ward-attack/deep/er/still", "/a/0/x", "/a/ward-attack"},
		"/books/{id}/pages": {"/books/ward-attack/pages", "/books/0/pages"},
	} {
		if diff := cmp.Diff(want, paths(pattern)); diff != "" {
			t.Errorf("%s: %s", pattern, diff)
		}
	}
}

func TestAnswersAreJudged(t *testing.T) {
	own := func(status int) string {
		return fmt.Sprintf("HTTP/1.1 %d X\r\nX-Ward-Error: %d\r\nContent-Length: 0\r\n\r\n", status, status)
	}
	for name, c := range map[string]struct {
		wire string
		want Outcome
	}{
		"a service's answer":            {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", Reached},
		"a service's refusal":           {"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", Reached},
		"a service's error":             {"HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n", Reached},
		"a denial":                      {"HTTP/1.1 403 Forbidden\r\nX-Ward-Denial: d-abc\r\nContent-Length: 0\r\n\r\n", Refused},
		"a refusal before the decision": {own(400), Refused},
		"a service that doesn't answer": {own(502), Passed},
		"an upgrade":                    {"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n", Reached},
		"nothing":                       {"", Refused},
		"another protocol":              {"-ERR unknown command\r\n", Reached},
		"a page that looks like Ward's": {"HTTP/1.1 400 X\r\nCache-Control: no-store\r\nContent-Length: 15\r\n\r\n400 Bad Request", Reached},
	} {
		if got := readAnswer(strings.NewReader(c.wire), "GET"); got.Outcome != c.want {
			t.Errorf("%s: %v (%s), want %v", name, got.Outcome, got.Detail, c.want)
		}
	}
}

func TestProbeAnswersItsJob(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/closed" {
			w.Header().Set("X-Ward-Denial", "d-1")
			w.WriteHeader(403)
		}
	})}
	s.Protocols = new(http.Protocols)
	s.Protocols.SetHTTP1(true)
	s.Protocols.SetUnencryptedHTTP2(true)
	go func() { _ = s.Serve(ln) }()
	defer s.Close()
	address := ln.Addr().String()
	job := Job{Calls: []Call{
		{ID: 0, Address: address, Protocol: "http", Method: "GET", Target: "/", Host: "x"},
		{ID: 1, Address: address, Protocol: "http", Method: "GET", Target: "/closed", Host: "x"},
		{ID: 2, Address: "127.0.0.1:1", Protocol: "http", Method: "GET", Target: "/", Host: "x"},
		{ID: 3, Address: "no-such-name.invalid:80", Protocol: "tcp"},
		{ID: 4, Address: address, Protocol: "h2", Method: "GET", Target: "/", Host: "x"},
		{ID: 5, Address: address, Protocol: "h2", Method: "GET", Target: "/closed", Host: "x"},
		{ID: 6, Address: address, Protocol: "tcp"},
	}}
	in, err := json.Marshal(job)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := inside(bytes.NewReader(in), &out); err != nil {
		t.Fatal(err)
	}
	var found Findings
	if err := json.Unmarshal(out.Bytes(), &found); err != nil {
		t.Fatal(err)
	}
	var got []Outcome
	for _, a := range found.Answers {
		got = append(got, a.Outcome)
	}
	want := []Outcome{Reached, Refused, Unreachable, Unreachable, Reached, Refused, Reached}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s\n%+v", diff, found.Answers)
	}
}

func TestProbeRefusesNonsense(t *testing.T) {
	if err := inside(strings.NewReader("{"), io.Discard); err == nil {
		t.Error("half a job is taken")
	}
}

// paper answers every call as a table says, without a network.
type paper struct {
	through func(Call) bool
	escapes []escape.Report
	err     error
}

func (p paper) Probe(_ context.Context, _ string, job Job) (Findings, error) {
	f := Findings{Escapes: p.escapes}
	for _, c := range job.Calls {
		a := Answer{ID: c.ID, Outcome: Refused}
		if p.through(c) {
			a.Outcome = Reached
		}
		f.Answers = append(f.Answers, a)
	}
	return f, p.err
}

func TestDifferencesAreFoundBothWays(t *testing.T) {
	p, set := compile(t, shop)
	granted := map[string]bool{}
	all, _ := Attempts(p, set, "web", false)
	for _, a := range all {
		granted[a.Call.String()] = a.Granted
	}
	asPlanned := func(c Call) bool { return granted[c.String()] }
	const charge = "grpc POST /shop.v1.Payments/Charge at payments:9090"
	const admin = "GET /admin at catalog:8080"
	for name, c := range map[string]struct {
		world paper
		want  []string
	}{
		"as planned":        {paper{through: asPlanned}, nil},
		"a hole":            {paper{through: func(c Call) bool { return c.String() == admin && len(c.Header) == 0 || asPlanned(c) }}, []string{admin}},
		"a missing right":   {paper{through: func(c Call) bool { return c.String() != charge && asPlanned(c) }}, []string{charge}},
		"an escape":         {paper{through: asPlanned, escapes: []escape.Report{{Name: "e", Tries: "x", Result: escape.Result{Verdict: escape.Succeeded}}}}, []string{"e: x"}},
		"an escape unmade":  {paper{through: asPlanned, escapes: []escape.Report{{Name: "e", Tries: "x"}}}, []string{"e: x"}},
		"an attempt not to": {paper{through: asPlanned, escapes: []escape.Report{{Result: escape.Result{Verdict: escape.NotApplicable}}}}, nil},
		"no probe":          {paper{through: asPlanned, err: errors.New("gone")}, []string{"probe"}},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := Attack(t.Context(), Config{Plan: p, Today: today, Inside: []string{"web"}, Prober: c.world})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, d := range r.Differences {
				got = append(got, d.Request)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
			if r.Attackers[0].Differences != len(c.want) {
				t.Errorf("the sum says %d differences", r.Attackers[0].Differences)
			}
		})
	}
}

func TestReportIsReadable(t *testing.T) {
	r := &Report{App: "shop", Seconds: 1.25, Attackers: []Attacker{
		{Name: plan.Outside, Attempts: 3, Granted: 1, Reached: 1, Refused: 2, Skipped: 1},
		{Name: "web", Attempts: 140, Granted: 2, Reached: 1, Refused: 4, Escapes: 135, Differences: 1},
	}, Differences: []Difference{{
		Attacker: "web", Target: "catalog", Kind: "route", Request: "GET /\x1b[2J<&> at catalog:8080", Expected: "reached", Line: 9, Happened: "refused: 403 (d-1)",
	}}}
	want := `  ATTACKER  ATTEMPTS  GRANTED  REACHED  REFUSED  ESCAPES  DIFFERENCES
   outside         3        1        1        2        0            0
       web       140        2        1        4      135            1

web → catalog (route)
  GET /?[2J<&> at catalog:8080
  expected  reached, by line 9 of ward.yaml
  happened  refused: 403 (d-1)

143 attempts in 1.2 s: 1 difference from the plan
1 call not tried: granted calls to externals, and what --read-only leaves out
`
	if diff := cmp.Diff(want, r.Text("ward.yaml")); diff != "" {
		t.Error(diff)
	}
	var b bytes.Buffer
	if err := r.WriteJUnit(&b, "ward.yaml"); err != nil {
		t.Fatal(err)
	}
	var back junitSuites
	if err := xml.NewDecoder(bufio.NewReader(&b)).Decode(&back); err != nil {
		t.Fatal(err)
	}
	if back.Tests != 3 || back.Failures != 1 || len(back.Suites) != 2 || back.Suites[1].Cases[1].Failure == nil {
		t.Errorf("JUnit came back as %+v", back)
	}
}

func FuzzUnmarshalOutcome(f *testing.F) {
	f.Add([]byte(`"reached"`))
	f.Add([]byte(`7`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var o, back Outcome
		if o.UnmarshalJSON(b) != nil {
			return
		}
		text, err := o.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		if err := back.UnmarshalJSON(text); err != nil || back != o {
			t.Errorf("%v came back as %v (%v)", o, back, err)
		}
	})
}
