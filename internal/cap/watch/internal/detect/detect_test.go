package detect

import (
	"cmp"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wardhq/ward/internal/finding"
	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/model/vocabulary"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/wire"
)

func epoch() time.Time { return time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC) }

func trap(service string) string { return plan.CanaryPrefix + service + plan.CanarySuffix }

// detector knows web, which faces the Internet, api, and the sensitive vault.
func detector() *Detector {
	d := New(trap)
	d.SetPlan(&plan.Plan{Services: []plan.Service{
		{Service: model.Service{Name: "web", Expose: []model.Expose{{}}}}, {Service: model.Service{Name: "api"}}, {Service: model.Service{Name: "vault", Sensitivity: model.High}},
	}})
	return d
}

func TestEveryRuleIsAWordOfTheModel(t *testing.T) {
	var names []string
	for _, r := range Rules() {
		names = append(names, r.Name)
		if r.Severity < finding.Low || r.Title == "" || r.Why == "" {
			t.Errorf("%+v says too little", r)
		}
	}
	if !slices.Equal(names, vocabulary.WatchRules()) {
		t.Errorf("rules are %q, words %q", names, vocabulary.WatchRules())
	}
}

func addr(n int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{203, 0, byte(n >> 8), byte(n)}), 32)
}

// firstAt feeds sightings one by one and returns at which a rule was first signalled, 0 for never.
func firstAt(d *Detector, n int, every time.Duration, rule string, make func(i int) wire.Sighting) int {
	for i := 1; i <= n; i++ {
		s := make(i)
		if slices.ContainsFunc(d.Sight(&s, epoch().Add(time.Duration(i)*every)), func(s Signal) bool { return s.Rule == rule }) {
			return i
		}
	}
	return 0
}

func TestClientsAreFlaggedByTheir25thRequest(t *testing.T) {
	path := func(i int) []uint32 { return []uint32{uint32(i)} }
	for name, tt := range map[string]struct {
		n, most int
		every   time.Duration
		rule    string
		sight   func(i int) wire.Sighting
	}{
		"guessed routes, fast":        {25, 25, time.Millisecond, "undeclared-routes", func(i int) wire.Sighting { return wire.Sighting{Client: addr(1), Undeclared: path(i)} }},
		"guessed routes, one an hour": {30, 25, time.Hour, "undeclared-routes", func(i int) wire.Sighting { return wire.Sighting{Client: addr(1), Undeclared: path(i)} }},
		"honey":                       {1, 1, time.Second, "honey-path", func(int) wire.Sighting { return wire.Sighting{Client: addr(1), Undeclared: path(1), Honey: "/.env"} }},
		"injections":                  {25, 3, time.Second, "payload", func(int) wire.Sighting { return wire.Sighting{Client: addr(1), Payloads: 1, Class: "SQL"} }},
		"unreadable":                  {25, 10, time.Second, "malformed", func(int) wire.Sighting { return wire.Sighting{Client: addr(1), Malformed: 1} }},
		"kept waiting":                {1, 1, time.Second, "slow-requests", func(int) wire.Sighting { return wire.Sighting{Client: addr(1), Slow: 25} }},
		"spread over 50 addresses":    {200, 120, time.Second, "undeclared-routes", func(i int) wire.Sighting { return wire.Sighting{Client: addr(i % 50), Undeclared: path(i)} }},
	} {
		if at := firstAt(detector(), tt.n, tt.every, tt.rule, tt.sight); at == 0 || at > tt.most {
			t.Errorf("%s: flagged at %d, want by %d", name, at, tt.most)
		}
	}
}

func TestPeopleAndTheirMistakesArent(t *testing.T) {
	for name, tt := range map[string]struct {
		n     int
		every time.Duration
		sight func(i int) wire.Sighting
	}{
		"one broken link, by everybody, all day": {10_000, 5 * time.Second, func(i int) wire.Sighting { return wire.Sighting{Client: addr(i % 900), Undeclared: []uint32{7}} }},
		"an office with some typos a day":        {20, time.Hour, func(i int) wire.Sighting { return wire.Sighting{Client: addr(1), Undeclared: []uint32{uint32(i)}} }},
		"an odd search now and then":             {500, 6 * time.Minute, func(int) wire.Sighting { return wire.Sighting{Client: addr(1), Payloads: 1, Class: "SQL"} }},
		"a browser that keeps connections ready": {100, time.Second, func(int) wire.Sighting { return wire.Sighting{Client: addr(1), Slow: 6} }},
		"a health check that speaks plain text":  {1000, 10 * time.Second, func(int) wire.Sighting { return wire.Sighting{Client: addr(1), Malformed: 1} }},
	} {
		d := detector()
		for i := 1; i <= tt.n; i++ {
			s := tt.sight(i)
			if out := d.Sight(&s, epoch().Add(time.Duration(i)*tt.every)); len(out) > 0 {
				t.Errorf("%s: at %d: %+v", name, i, out[0])
				break
			}
		}
	}
}

// TestAnInjectionIsShownItself: its evidence isn't what else its client asked for.
func TestAnInjectionIsShownItself(t *testing.T) {
	d := detector()
	s := wire.Sighting{Client: addr(1), Undeclared: []uint32{1}, Example: "POST /a", Payloads: injections, Class: "SQL", Injection: "GET /?q=1' OR '1'='1"}
	if out := d.Sight(&s, epoch()); len(out) != 1 || out[0].Evidence != s.Injection {
		t.Errorf("%+v", out)
	}
}

// TestAnImageElsewhereClosesNobodyOut: what a page of another site makes browsers ask for is said, and not answered.
func TestAnImageElsewhereClosesNobodyOut(t *testing.T) {
	d := detector()
	for i := range 30 {
		s := wire.Sighting{Client: addr(1), CrossSite: 1, Example: "GET /.env"}
		for _, x := range d.Sight(&s, epoch().Add(time.Duration(i)*time.Second)) {
			if !x.Held || i < forced-1 {
				t.Fatalf("at %d: %+v", i, x)
			}
		}
	}
	s := wire.Sighting{Client: addr(1), Honey: "/.env"}
	if out := d.Sight(&s, epoch()); len(out) != 1 || out[0].Held {
		t.Errorf("by itself: %+v", out)
	}
}

func TestAFloodOfClientsStaysBounded(t *testing.T) {
	d := detector()
	for i := range 50_000 {
		s := wire.Sighting{Client: netip.PrefixFrom(netip.AddrFrom4([4]byte{198, byte(i >> 16), byte(i >> 8), byte(i)}), 32), Undeclared: []uint32{uint32(i)}}
		d.Sight(&s, epoch().Add(time.Duration(i)*time.Millisecond))
	}
	if n := len(d.clients.all); n > maxClients {
		t.Errorf("%d clients are remembered", n)
	}
}

func event(kind, subject, object string, detail ...string) wire.Event {
	e := wire.Event{Kind: kind, Subject: subject, Object: object, Time: epoch(), Detail: map[string]string{}}
	for i := 0; i+1 < len(detail); i += 2 {
		e.Detail[detail[i]] = detail[i+1]
	}
	return e
}

func TestEventsAreSignals(t *testing.T) {
	for name, tt := range map[string]struct {
		e        wire.Event
		rule     string
		severity finding.Severity
		says     string
	}{
		"a call from a service that faces the Internet": {event("request.denied", "web", "api", "method", "GET", "path", "/x", "reason", "no-route"), "denied-call", finding.High, "web called api: GET /x. web faces the Internet"},
		"a call to a sensitive one":                     {event("request.denied", "api", "vault", "method", "GET", "path", "/x", "reason", "no-rule"), "denied-call", finding.High, "vault is sensitive"},
		"a call between others":                         {event("request.denied", "vault", "api", "method", "GET", "path", "/x", "reason", "no-rule"), "denied-call", finding.Medium, "vault called api"},
		"a declared call without its person":            {event("request.denied", "web", "api", "method", "GET", "path", "/x", "reason", "needs-user"), "denied-call", finding.Low, "web called api"},
		"another's key":                                 {event("request.denied", "api", "ward", "method", "POST", "path", "/v1/keys/vault/encrypt", "reason", "no-rule"), "undeclared-secret", finding.High, "api asked for the key vault, which ward.yaml doesn't give it."},
		"where keys are":                                {event("flag.dns", "api", "", "what", "ward"), "undeclared-secret", finding.Medium, "api looked up ward, where keys are"},
		"another host":                                  {event("request.denied", "api", "bank", "host", "evil.example", "reason", "wrong_host"), "undeclared-host", finding.High, "evil.example"},
		"a peer that isn't of the plan":                 {event("request.denied", "ghost", "api", "method", "GET", "path", "/x", "reason", "unknown-peer"), "unknown-agent", finding.High, "ghost"},
		"a token in the wrong hands":                    {event("token.misused", "web", "api", "token", "its audience is another"), "token-misused", finding.High, "its audience"},
		"brute force":                                   {event("flag.brute-force", "", "p1", "severity", "medium", "reason", "20 tries", "network", "203.0.113.0/24", "client", "203.0.113.7/32", "response", "slow, block, record"), "failed-sign-ins", finding.Medium, "20 tries. Done: slow, block."},
		"a token used twice":                            {event("flag.refresh-reuse", "", "p1", "severity", "high", "reason", "a token came twice", "response", "record"), "replay", finding.High, "A token came twice."},
		"a new device from a new network":               {event("flag.new-device", "", "p1", "severity", "medium", "reason", "a sign-in on a new device from a new network", "response", "mail, record"), "new-device", finding.Low, "Done: mail."},
		"a journey that can't be":                       {event("flag.impossible-travel", "", "p1", "severity", "high", "reason", "Berlin to Sydney", "response", "mail, record"), "new-device", finding.High, "Sydney"},
		"a card in a log":                               {event("flag.card-in-log", "web.1", "", "what", "the number of a payment card"), "leak", finding.High, "web printed the number"},
		"a canary in a log":                             {event("flag.canary", "web", "", "what", "trap (plain)"), "canary", finding.Critical, "web printed a canary"},
		"more than are told apart":                      {event("flag.dns", "web.1", "", "what", plan.Further), "undeclared-name", finding.Medium, "web did that with so many others"},
		"a name":                                        {event("flag.dns", "web", "", "what", "evil.example"), "undeclared-name", finding.Medium, "web looked up evil.example"},
		"a system call":                                 {event("flag.syscall", "web.2", "", "what", "ptrace: another process"), "bypass", finding.High, "web asked the kernel for ptrace: another process. It was refused."},
		"a system call of Ward's own":                   {event("flag.syscall", "ward/gateway", "", "what", "ptrace: another process"), "bypass", finding.Critical, "A program in Ward's own gateway asked the kernel for ptrace"},
		"an address past Ward":                          {event("flag.connect", "web.1", "", "what", "192.0.2.1:443"), "direct-connect", finding.High, "web wanted to connect to 192.0.2.1:443, past Ward"},
		"an address past Ward, of version 6":            {event("flag.connect", "web.1", "", "what", "[2001:db8::1]:443"), "direct-connect", finding.High, "[2001:db8::1]:443, past Ward"},
		"a port of its own machine":                     {event("flag.connect", "web", "", "what", "127.0.0.1:6379"), "direct-connect", finding.Medium, "web wanted to connect to 127.0.0.1:6379, where nothing"},
		"an address that isn't known":                   {event("flag.connect", "web", "", "what", "tried to reach an address"), "direct-connect", finding.High, "web: tried to reach an address."},
		"a write":                                       {event("flag.write", "web.1", "", "what", "/srv/index.html"), "denied-write", finding.Medium, "web wanted to write /srv/index.html, which web may only read"},
		"a port":                                        {event("flag.bind", "web", "", "what", "port 4444, which listen: doesn't declare"), "new-listener", finding.Medium, "port 4444"},
		"a damaged ledger":                              {event("ledger.damaged", "control", "", "problem", "record 4 is another"), "ledger-gap", finding.Critical, "record 4 is another"},
		"lost events":                                   {event("ledger.lost", "agent", ""), "ledger-gap", finding.High, "were lost"},
		"a role that ended":                             {event("role.restart", "up", "gateway"), "silence", finding.Medium, "gateway ended"},
		"a canary in an answer":                         {event("request.canary", "GATEWAY", "web", "secret", "trap"), "canary", finding.Critical, "trap"},
		"a secret in an answer":                         {event("secret.echo", "web", "bank", "secret", "key", "form", "plain"), "leak", finding.High, "key plain"},
	} {
		out := detector().Event(7, &tt.e)
		if len(out) != 1 {
			t.Errorf("%s: %+v", name, out)
			continue
		}
		if want := tt.e.Detail["client"]; want != "" && out[0].Client.String() != want {
			t.Errorf("%s: it is about %s", name, out[0].Client)
		}
		if what := tt.e.Detail["what"]; !strings.Contains(out[0].Evidence, what) {
			t.Errorf("%s: the evidence %q doesn't say %q", name, out[0].Evidence, what)
		}
		if s := out[0]; s.Rule != tt.rule || s.Rating() != tt.severity || !strings.Contains(s.What, tt.says) || s.Record != 7 {
			t.Errorf("%s: %s %s %q", name, s.Rule, s.Rating(), s.What)
		}
	}
	if c := detector().Event(7, new(event("request.denied", "web", "api", "method", "GET", "path", "/x", "reason", "no-rule")))[0]; c.Object != "api GET /x" || c.Call == nil {
		t.Errorf("%+v", c)
	}
	for _, e := range []wire.Event{
		event("request.denied", plan.Outside, "", "end", "gateway", "path", "/x"), event("request.denied", "web", "api", "reason", "quarantined"), event("service.start", "up", "web"),
		event("flag.new-device", "", "p1", "severity", "low", "reason", "a sign-in from a new network"), event("flag.new-device", "", "p1", "severity", "medium", "reason", "a sign-in on a new device", "place", "usual"),
		event("flag.impossible-travel", "", "p1", "severity", "low", "reason", "Berlin to Sydney, on a known device"),
		event("certificate.issued", "control", "spiffe://a/svc/web"), event("sign-in.ok", "", "p1"), event("plan.change", "admin", ""), event("flag.unknown", "web", ""), event("request.allowed", "web", "api"),
	} {
		if out := detector().Event(1, &e); len(out) > 0 {
			t.Errorf("%s: %+v", e.Kind, out)
		}
	}
}

// TestAStrangerCantSpringATrap: a service may look up what its users name. Only its own trap's host, which nobody else can know, cuts it off.
func TestAStrangerCantSpringATrap(t *testing.T) {
	for _, host := range []string{"backup-db.internal", trap(""), trap("api"), trap("web") + ".example.com"} {
		e := event("flag.dns", "web", "", "what", host)
		if s := detector().Event(1, &e)[0]; s.Rule != "undeclared-name" {
			t.Errorf("%s: %+v", host, s)
		}
	}
}

// TestWhatWardAttackDoesIsNoAlarm, for two minutes, and for the service that it probes.
func TestWhatWardAttackDoesIsNoAlarm(t *testing.T) {
	d := detector()
	look := func(service string, after time.Duration) Signal {
		e := event("flag.dns", service, "", "what", trap(service))
		e.Time = e.Time.Add(after)
		return d.Event(1, &e)[0]
	}
	run := event("probe.run", "admin", "web")
	d.Event(1, &run)
	if s := look("web", time.Minute); s.Rating() != finding.Low || !s.Held || s.Subject != "ward attack" || s.Service != "" || s.Lasts == 0 {
		t.Errorf("%+v", s)
	}
	if s := look("api", time.Minute); s.Rating() != finding.Critical || s.Held {
		t.Errorf("another service: %+v", s)
	}
	if s := look("web", 3*time.Minute); s.Rating() != finding.Critical || s.Held {
		t.Errorf("later: %+v", s)
	}
}

func TestAServiceThatEndsAgainAndAgain(t *testing.T) {
	d := detector()
	exits := func(gap time.Duration) (at int) {
		for i := 1; i <= 10; i++ {
			e := event("service.exit", "up", "api", "reason", "exit status 1")
			e.Time = e.Time.Add(time.Duration(i) * gap)
			if len(d.Event(1, &e)) > 0 {
				return i
			}
		}
		return 0
	}
	if at := exits(time.Minute); at != 3 {
		t.Errorf("said at %d", at)
	}
	d = detector()
	if at := exits(6 * time.Minute); at != 0 {
		t.Errorf("said at %d, though it is slow", at)
	}
}

func TestWhatIsFarFromHabit(t *testing.T) {
	d := detector()
	use := func(at time.Time, n int64) bool {
		e := event("key.use", "api", "key:cards")
		e.Time, e.Count = at, n
		return len(d.Event(1, &e)) > 0
	}
	now := epoch()
	for h := range 24 {
		if use(now.Add(time.Duration(h)*time.Hour), 500+int64(h)) {
			t.Fatal("an ordinary day")
		}
	}
	now = now.Add(24 * time.Hour)
	if use(now, 4000) {
		t.Error("eight times as often isn't far")
	}
	if !use(now.Add(time.Minute), 2000) {
		t.Error("twelve times as often is")
	}
	if use(now.Add(2*time.Minute), 2000) {
		t.Error("it is said twice in an hour")
	}
	if (&habit{}).add(now, 1_000_000) {
		t.Error("without habits nothing is far from them")
	}
	for h := range 10 {
		d.Volume("api", "bank", 10<<20, now.Add(time.Duration(h)*time.Hour))
	}
	if out := d.Volume("api", "bank", 200<<20, now.Add(10*time.Hour)); len(out) != 1 || out[0].Rule != "egress-volume" || !strings.Contains(out[0].What, "sent 200 MB to bank") {
		t.Errorf("%+v", out)
	}
}

func TestAdministrationFromSomewhereNew(t *testing.T) {
	d := detector()
	act := func(network string, days int) int {
		e := event("admin.request", "p1", "GET /v1/users", "network", network)
		e.Time = e.Time.Add(time.Duration(days) * 24 * time.Hour)
		return len(d.Event(1, &e))
	}
	for i, step := range []struct {
		network string
		day     int
		signals int
	}{{"198.51.100.1/32", 0, 0}, {"198.51.100.1/32", 20, 0}, {"203.0.113.9/32", 21, 1}, {"203.0.113.9/32", 22, 0}, {"198.51.100.1/32", 40, 0}, {"203.0.113.9/32", 60, 1}} {
		if n := act(step.network, step.day); n != step.signals {
			t.Errorf("step %d: %d signals", i, n)
		}
	}
	entered := func(role, network string) int {
		e := event("console.entered", "ada@example.com", "the console", "person", "p2", "role", role, "network", network)
		return len(d.Event(1, &e))
	}
	if n := entered("operator", "198.51.100.7/32") + entered("viewer", "198.51.100.8/32"); n != 0 || entered("operator", "198.51.100.9/32") != 1 {
		t.Error("the console isn't administration, or looking on is")
	}
	if !d.Administrates(netip.MustParsePrefix("198.51.100.7/32")) || d.Administrates(netip.MustParsePrefix("198.51.100.8/32")) {
		t.Error("whose networks operators of the console use isn't known")
	}
	if !d.Administrates(netip.MustParsePrefix("198.51.100.1/32")) || d.Administrates(netip.MustParsePrefix("198.51.100.2/32")) {
		t.Error("whose networks are an administrator's isn't known")
	}
}

// TestAWeekOfOrdinaryLifeFindsNothing is seven simulated days of a shop: visits, mistakes, restarts, keys used by day.
func TestAWeekOfOrdinaryLifeFindsNothing(t *testing.T) {
	d := detector()
	said := map[string]int{}
	take := func(all []Signal) {
		for _, s := range all {
			said[s.Rule]++
		}
	}
	for minute := range 7 * 24 * 60 {
		now := epoch().Add(time.Duration(minute) * time.Minute)
		busy := int64(100 + 80*((minute/60)%24))
		e := event("key.use", "api", "key:cards")
		e.Time, e.Count = now, busy
		take(d.Event(1, &e))
		take(d.Volume("api", "bank", busy<<10, now))
		if minute%11 == 0 { // somebody follows an old link
			s := wire.Sighting{Client: addr(minute % 200), Undeclared: []uint32{uint32(minute % 17)}}
			take(d.Sight(&s, now))
		}
		if minute%97 == 0 { // a search that looks odd
			s := wire.Sighting{Client: addr(minute % 300), Payloads: 1, Class: "SQL"}
			take(d.Sight(&s, now))
		}
		if minute%(24*60) == 0 { // a deployment
			for _, name := range []string{"web", "api", "vault"} {
				e := event("service.exit", "up", name, "reason", "restart")
				e.Time = now
				take(d.Event(1, &e))
			}
		}
	}
	if len(said) > 0 {
		t.Errorf("%v", said)
	}
}

func BenchmarkSight(b *testing.B) {
	d := detector()
	for i := 0; b.Loop(); i++ {
		s := wire.Sighting{Client: addr(i % 5000), Undeclared: []uint32{uint32(i)}, Example: fmt.Sprintf("GET /%d", i%10)}
		d.Sight(&s, epoch().Add(time.Duration(i)*time.Millisecond))
	}
}

func BenchmarkEvent(b *testing.B) {
	d := detector()
	e := event("request.denied", "web", "api", "method", "GET", "path", "/x", "reason", "no-route")
	for b.Loop() {
		d.Event(1, &e)
	}
}

// TestEveryRuleHasItsPage: docs/detection.md says of each rule what holds.
func TestEveryRuleHasItsPage(t *testing.T) {
	b, err := os.ReadFile("../../../../../docs/detection.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range Rules() {
		_, section, ok := strings.Cut(string(b), "\n## "+r.Name+"\n")
		section, _, _ = strings.Cut(section, "\n## ")
		answer := cmp.Or(string(r.Answer), "none")
		if r.Answer == "" && r.Offer != "" {
			answer = "(" + string(r.Offer) + ")"
		}
		if want := fmt.Sprintf("%s. Severity %s, answer %s.", r.Title, r.Severity, answer); !ok || !strings.HasPrefix(section, want) || !strings.Contains(section, r.Why) || strings.Count(section, "\n- ") != 3 {
			t.Errorf("the section of %s doesn't begin with %q and say why, by what, not by what, and what if it is right", r.Name, want)
		}
		if want := "\n- If it is right: " + cmp.Or(r.Right, "–") + "\n"; !strings.Contains(section+"\n", want) {
			t.Errorf("the section of %s lacks %q", r.Name, want)
		}
	}
	if n := strings.Count(string(b), "\n## "); n != len(Rules()) {
		t.Errorf("%d sections for %d rules", n, len(Rules()))
	}
}
