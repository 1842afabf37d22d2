package flag

import (
	"context"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wardhq/ward/internal/base/clock"
	"github.com/wardhq/ward/internal/base/secret"
	"github.com/wardhq/ward/internal/cap/identity/internal/device"
	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/model/wardfile"
	"github.com/wardhq/ward/internal/store"
	"github.com/wardhq/ward/internal/wardtest/postgres"
	"github.com/wardhq/ward/internal/wire"
)

// world is a detector with a clock of its own.
type world struct {
	*Detector
	t   testing.TB
	dir string

	mu     sync.Mutex
	now    time.Time    // guarded by mu
	events []wire.Event // guarded by mu
}

func key() secret.Bytes { return secret.New([]byte(strings.Repeat("k", secret.KeySize))) }

func newWorld(t testing.TB) *world {
	w := &world{t: t, dir: t.TempDir(), now: time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)}
	w.open(store.Config{Path: filepath.Join(w.dir, "ward.db")})
	return w
}

func (w *world) open(c store.Config) {
	w.t.Helper()
	ticks := clock.Func(func() time.Time { w.mu.Lock(); defer w.mu.Unlock(); return w.now })
	c.Clock = ticks
	db, err := store.Open(w.t.Context(), c)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = db.Close() })
	w.Detector, err = Open(w.t.Context(), Config{DB: db, Key: key(), Clock: ticks, Record: func(e wire.Event) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.events = append(w.events, e)
	}, Place: places})
	if err != nil {
		w.t.Fatal(err)
	}
}

// places puts 10.x in Berlin and 20.x in Sydney.
func places(a netip.Addr) (device.Place, error) {
	switch {
	case a.Is4() && a.As4()[0] == 10:
		return device.Place{City: "Berlin", Country: "DE", Lat: 52.52, Lon: 13.40, Located: true}, nil
	case a.Is4() && a.As4()[0] == 20:
		return device.Place{City: "Sydney", Country: "AU", Lat: -33.87, Lon: 151.21, Located: true}, nil
	}
	return device.Place{}, nil
}

func (w *world) pass(d time.Duration) { w.mu.Lock(); defer w.mu.Unlock(); w.now = w.now.Add(d) }

func (w *world) see(o Observation) Decision {
	w.t.Helper()
	d, err := w.See(w.t.Context(), o)
	if err != nil {
		w.t.Fatal(err)
	}
	return d
}

// until repeats tries, and returns the number of the first that raised a flag.
func (w *world) until(n Name, most int, every time.Duration, try func(i int) Observation) (int, Decision) {
	w.t.Helper()
	for i := range most {
		if d := w.see(try(i)); d.Has(n) {
			return i + 1, d
		}
		w.pass(every)
	}
	return 0, Decision{}
}

func (w *world) kinds() map[string]int {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := map[string]int{}
	for _, e := range w.events {
		out[e.Kind]++
	}
	return out
}

var attacker = netip.MustParseAddr("198.51.100.7")

// far is an address of a network of its own.
func far(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{30 + byte(i>>16), byte(i >> 8), byte(i), 1})
}

func word(s string, args ...any) secret.Bytes { return secret.New(fmt.Appendf(nil, s, args...)) }

func TestAttacksAreSeenInTime(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name        string
		flag        Name
		within      int
		every       time.Duration
		observation func(i int) Observation
	}{
		{"hydra on one account", BruteForce, 22, 300 * time.Millisecond, func(i int) Observation {
			return Observation{Kind: PasswordFailed, Person: "alice", Address: attacker, Password: word("guess%d", i)}
		}},
		{"hydra, which doesn't wait for the pauses", BruteForce, 15, 30 * time.Millisecond, func(i int) Observation {
			if i < 6 {
				return Observation{Kind: PasswordFailed, Person: "alice", Address: attacker, Password: word("guess%d", i)}
			}
			return Observation{Kind: PasswordHasty, Person: "alice", Address: attacker}
		}},
		{"hydra on an account that isn't there", BruteForce, 22, 300 * time.Millisecond, func(i int) Observation {
			return Observation{Kind: UnknownIdentifier, Identifier: "nobody@example.com", Address: attacker, Password: word("guess%d", i)}
		}},
		{"one account, from an address per try", BruteForce, 22, time.Second, func(i int) Observation {
			return Observation{Kind: PasswordFailed, Person: "alice", Address: far(i), Password: word("guess%d", i)}
		}},
		{"one account, a try every ten minutes", BruteForce, 60, 10 * time.Minute, func(i int) Observation {
			return Observation{Kind: PasswordFailed, Person: "alice", Address: far(i), Password: word("guess%d", i)}
		}},
		{"one account, a try every three hours", BruteForce, totalLimit, 3 * time.Hour, func(i int) Observation {
			return Observation{Kind: PasswordFailed, Person: "alice", Address: far(i), Password: word("guess%d", i)}
		}},
		{"one password on many accounts, from one network", PasswordSpraying, 13, time.Second, func(i int) Observation {
			return Observation{Kind: PasswordFailed, Person: fmt.Sprint("p", i), Address: attacker, Password: word("Spring2026!")}
		}},
		{"three passwords on many accounts, without their sketch helping", PasswordSpraying, 13, time.Second, func(i int) Observation {
			return Observation{Kind: PasswordFailed, Person: fmt.Sprint("p", i), Address: attacker, Password: word("Spring%d", i%3)}
		}},
		{"one password, an address and an account per try", PasswordSpraying, 13, time.Minute, func(i int) Observation {
			return Observation{Kind: PasswordFailed, Person: fmt.Sprint("p", i), Address: far(i), Password: word("Spring2026!")}
		}},
		{"one password, an account every ten minutes, from everywhere", PasswordSpraying, 13, 10 * time.Minute, func(i int) Observation {
			return Observation{Kind: PasswordFailed, Person: fmt.Sprint("p", i), Address: far(i), Password: word("Spring2026!")}
		}},
		{"one password, fifty addresses in turn", PasswordSpraying, 13, time.Second, func(i int) Observation {
			return Observation{Kind: PasswordFailed, Person: fmt.Sprint("p", i), Address: far(i % 50), Password: word("Spring2026!")}
		}},
		{"one password, fifty addresses, an account an hour", PasswordSpraying, 13, time.Hour, func(i int) Observation {
			return Observation{Kind: PasswordFailed, Person: fmt.Sprint("p", i), Address: far(i % 50), Password: word("Spring2026!")}
		}},
		{"many passwords, fifty addresses, an account a second", CredentialStuffing, 40, time.Second, func(i int) Observation {
			return Observation{Kind: PasswordFailed, Person: fmt.Sprint("p", i), Address: far(i % 50), Password: word("leak%d", i)}
		}},
		{"one account, fifty addresses, a try an hour", BruteForce, 60, time.Hour, func(i int) Observation {
			return Observation{Kind: PasswordFailed, Person: "alice", Address: far(i % 50), Password: word("guess%d", i)}
		}},
		{"pairs from a leak, from one network", CredentialStuffing, 13, time.Second, func(i int) Observation {
			return Observation{Kind: PasswordFailed, Person: fmt.Sprint("p", i), Address: attacker, Password: word("leak%d", i)}
		}},
		{"pairs from a leak, every ten minutes", CredentialStuffing, 60, 10 * time.Minute, func(i int) Observation {
			return Observation{Kind: PasswordFailed, Person: fmt.Sprint("p", i), Address: attacker, Password: word("leak%d", i)}
		}},
		{"pairs from a leak, an address per try, one tool", CredentialStuffing, 40, time.Second, func(i int) Observation {
			return Observation{Kind: PasswordFailed, Person: fmt.Sprint("p", i), Address: far(i), Fingerprint: "t13d", Password: word("leak%d", i)}
		}},
		{"pairs from a leak, an address and a fingerprint per try", CredentialStuffing, 40, time.Second, func(i int) Observation {
			return Observation{Kind: PasswordFailed, Person: fmt.Sprint("p", i), Address: far(i), Fingerprint: fmt.Sprint(i), Password: word("leak%d", i)}
		}},
		{"who has an account?", Enumeration, 15, time.Second, func(i int) Observation {
			return Observation{Kind: UnknownIdentifier, Identifier: fmt.Sprint("i", i), Address: attacker}
		}},
		{"who has an account? from everywhere", Enumeration, 40, time.Second, func(i int) Observation {
			return Observation{Kind: UnknownIdentifier, Identifier: fmt.Sprint("i", i), Address: far(i)}
		}},
		{"codes sent to tire somebody", FactorFatigue, 6, 20 * time.Second, func(int) Observation {
			return Observation{Kind: FactorSent, Person: "alice", Address: attacker}
		}},
		{"codes guessed", FactorFatigue, 8, 5 * time.Second, func(int) Observation {
			return Observation{Kind: FactorFailed, Person: "alice", Address: attacker}
		}},
		{"factors taken away", FactorsRemoved, 2, time.Minute, func(int) Observation {
			return Observation{Kind: FactorRemoved, Person: "alice", Address: attacker}
		}},
		{"a refresh token twice", RefreshReuse, 1, 0, func(int) Observation { return Observation{Kind: RefreshReused, Person: "alice", Address: attacker} }},
		{"a code twice", RefreshReuse, 1, 0, func(int) Observation { return Observation{Kind: CodeReplayed, Person: "alice", Address: attacker} }},
		{"a token with another key", Moved, 1, 0, func(int) Observation { return Observation{Kind: DPoPMismatch, Person: "alice", Address: attacker} }},
		{"a session elsewhere", Moved, 1, 0, func(int) Observation { return Observation{Kind: SessionMoved, Person: "alice", Address: attacker} }},
		{"a passkey's copy", PasskeyCloned, 1, 0, func(int) Observation { return Observation{Kind: PasskeyClone, Person: "alice", Address: attacker} }},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			n, d := w.until(c.flag, c.within, c.every, c.observation)
			if n == 0 {
				t.Fatalf("not seen within %d: %v", c.within, w.kinds())
			}
			t.Logf("at try %d: %+v", n, d)
			e := w.events[len(w.events)-1]
			if w.kinds()["flag."+c.flag.String()] != 1 || e.Detail["severity"] == "" || e.Detail["severity"] == "low" || e.Detail["reason"] == "" || !strings.HasSuffix(e.Detail["client"], "/32") {
				t.Errorf("events %+v", w.events)
			}
			if text := fmt.Sprintf("%+v", w.events); strings.Contains(text, "guess") || strings.Contains(text, "Spring") || strings.Contains(text, "@") {
				t.Errorf("an event says what was typed: %s", text)
			}
		})
	}
}

func TestEachKindHasAName(t *testing.T) {
	for k := PasswordFailed; k <= PasswordHasty; k++ {
		if k.String() == "" || KindOf(k.String()) != k {
			t.Errorf("%d: %q", k, k)
		}
	}
	for name, want := range map[string]Kind{"password.wrong": PasswordFailed, "refresh-reuse": RefreshReused, "pkce-failure": CodeMisused} {
		if KindOf(name) != want {
			t.Errorf("%s: %s", name, KindOf(name))
		}
	}
	if KindOf("nonsense") != 0 || KindOf("") != 0 || Kind(200).String() != "" || Name(200).String() != "" {
		t.Error("nonsense has a name")
	}
}

func TestFlagsAndResponsesAreThoseOfTheModel(t *testing.T) {
	var text strings.Builder
	text.WriteString("ward: 1\nname: shop\nusers:\n  flags:\n")
	for n := BruteForce; n < names; n++ {
		fmt.Fprintf(&text, "    %s: [slow, step-up, block, end-sessions, mail]\n", n)
	}
	m, problems := wardfile.Parse("ward.yaml", strings.NewReader(text.String()))
	for _, p := range problems {
		if strings.Contains(p.Message, "flag") || strings.Contains(p.Message, "response") {
			t.Error(p)
		}
	}
	if len(m.Users.Flags) != int(names)-1 {
		t.Fatalf("%d flags", len(m.Users.Flags))
	}
	w := newWorld(t)
	if err := w.Configure(m.Users.Flags); err != nil {
		t.Fatal(err)
	}
	for n := BruteForce; n < names; n++ {
		if w.responses[n] != slow|stepUp|block|endSessions|mail {
			t.Errorf("%s: %b", n, w.responses[n])
		}
	}
	if err := w.Configure([]model.Flag{{Name: "brute-force", Response: []string{"record"}}}); err != nil || w.responses[BruteForce] != 0 || w.responses[RefreshReuse] != endSessions|mail {
		t.Error("record is nothing more", err)
	}
	for _, f := range []model.Flag{{Name: "nonsense"}, {Name: ""}, {Name: "brute-force", Response: []string{"shout"}}} {
		if w.Configure([]model.Flag{f}) == nil {
			t.Errorf("%+v is taken", f)
		}
	}
}

func TestResponsesFollowTheConfiguration(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		response string
		did      func(Decision, time.Time) bool
	}{
		{"slow", func(d Decision, _ time.Time) bool { return d.Delay > 0 }},
		{"block", func(d Decision, now time.Time) bool { return d.Block.After(now) }},
		{"step-up", func(d Decision, _ time.Time) bool { return d.StepUp }},
		{"end-sessions", func(d Decision, _ time.Time) bool { return d.EndSessions }},
		{"mail", func(d Decision, _ time.Time) bool { return d.Mail }},
	} {
		for _, on := range []string{"record", c.response} {
			w := newWorld(t)
			if err := w.Configure([]model.Flag{{Name: "brute-force", Response: []string{on}}, {Name: "password-spraying", Response: []string{"record"}}}); err != nil {
				t.Fatal(err)
			}
			n, d := w.until(BruteForce, 30, time.Second, func(int) Observation {
				return Observation{Kind: PasswordFailed, Person: "alice", Address: attacker}
			})
			if got := c.did(d, w.now); n == 0 || got != (on == c.response) {
				t.Errorf("%s configured: %s happened %v: %+v", on, c.response, got, d)
			}
		}
	}
}

func TestDelaysGrowAndEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if err := w.Configure([]model.Flag{{Name: "brute-force", Response: []string{"slow"}}}); err != nil {
		t.Fatal(err)
	}
	try := Observation{Kind: PasswordFailed, Person: "alice", Address: attacker}
	_, d := w.until(BruteForce, 30, time.Second, func(int) Observation { return try })
	tries := 0
	for end := w.now.Add(24 * time.Hour); w.now.Before(end); {
		if wait, refused := d.Refused(w.now); refused {
			w.pass(wait)
			if d = w.Ask(try); d.Delay > 0 {
				t.Fatalf("after waiting, %v more", d.Delay)
			}
		}
		d = w.see(try)
		if d.Delay > slowest {
			t.Fatalf("waits %v", d.Delay)
		}
		tries++
	}
	if tries > 2*24*60+20 {
		t.Errorf("%d tries a day", tries)
	}
	w.pass(48 * time.Hour)
	if d := w.Ask(try); d.Delay > 0 || d.StepUp {
		t.Errorf("two days later: %+v", d)
	}
}

func TestVictimIsNeverLockedOut(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	home := netip.MustParseAddr("10.0.0.1")
	for day := range 3 {
		for i := range 2000 {
			w.see(Observation{Kind: PasswordFailed, Person: "alice", Address: attacker, Password: word("g%d", i)})
			w.see(Observation{Kind: PasswordFailed, Person: "alice", Address: far(i), Password: word("g%d", i)})
			w.see(Observation{Kind: PasswordFailed, Person: "alice", Address: home, Password: word("g%d", i)}) // even from her own network
			w.pass(5 * time.Second)
		}
		known := Observation{Kind: PasswordFailed, Person: "alice", Address: home, Known: true}
		if d := w.Ask(known); d.Delay > 0 || !d.Block.IsZero() || d.StepUp {
			t.Errorf("day %d: her own device: %+v", day, d)
		}
		if d := w.see(known); d.Delay > 0 || !d.Block.IsZero() {
			t.Errorf("day %d: a mistake on her own device: %+v", day, d)
		}
		// On a new device in a network that attacks nobody she needs a second factor, and may even make a mistake.
		fresh := Observation{Kind: PasswordFailed, Person: "alice", Address: netip.AddrFrom4([4]byte{11, byte(day), 0, 1})}
		if d := w.Ask(fresh); d.Delay > 0 || !d.Block.IsZero() || !d.StepUp {
			t.Errorf("day %d: a new device: %+v", day, d)
		}
		if d := w.see(fresh); d.Delay > 0 || !d.Block.IsZero() {
			t.Errorf("day %d: a mistake on a new device: %+v", day, d)
		}
		if d := w.Ask(Observation{Kind: PasswordFailed, Person: "alice", Address: attacker}); d.Block.IsZero() || d.Block.Sub(w.now) > longest {
			t.Errorf("day %d: the attacker: %+v", day, d)
		}
		if d := w.Ask(Observation{Kind: PasswordFailed, Person: "bob", Address: home}); !d.Block.IsZero() {
			t.Errorf("day %d: somebody else at home: %+v", day, d)
		}
		w.pass(20 * time.Hour)
	}
}

func TestMistakesPutRightAreForgotten(t *testing.T) {
	w := newWorld(t)
	home := netip.MustParseAddr("10.0.0.1")
	for range 50 {
		for range 6 {
			if d := w.see(Observation{Kind: PasswordFailed, Person: "alice", Address: home}); len(d.Flags) > 0 {
				t.Fatalf("%v", d.Flags)
			}
		}
		w.see(Observation{Kind: SignInOK, Person: "alice", Address: home, Known: true})
		w.pass(2 * time.Minute)
	}
	// What others tried isn't.
	n, _ := w.until(BruteForce, 22, time.Second, func(i int) Observation {
		w.see(Observation{Kind: SignInOK, Person: "alice", Address: home, Known: true})
		return Observation{Kind: PasswordFailed, Person: "alice", Address: attacker}
	})
	if n == 0 {
		t.Error("the person's sign-ins hide an attack from elsewhere")
	}
}

// TestAnImpatientPersonIsntAnAttack presses the button again while it says to wait.
func TestAnImpatientPersonIsntAnAttack(t *testing.T) {
	w := newWorld(t)
	home := netip.MustParseAddr("10.0.0.1")
	for range 50 {
		for i := range 13 {
			o := Observation{Kind: PasswordFailed, Person: "alice", Address: home}
			if i > 5 {
				o.Kind = PasswordHasty
			}
			if d := w.see(o); len(d.Flags) > 0 {
				t.Fatalf("at %d: %v", i, d.Flags)
			}
		}
		w.see(Observation{Kind: SignInOK, Person: "alice", Address: home, Known: true})
		w.pass(2 * time.Minute)
	}
}

func TestOneMailADay(t *testing.T) {
	w := newWorld(t)
	mails := 0
	for i := range 24 * 6 {
		if w.see(Observation{Kind: RefreshReused, Person: "alice", Address: far(i)}).Mail {
			mails++
		}
		w.pass(10 * time.Minute)
	}
	if mails != 1 {
		t.Errorf("%d mails within a day", mails)
	}
	if !w.see(Observation{Kind: RefreshReused, Person: "alice", Address: attacker}).Mail {
		t.Error("no mail the day after")
	}
	if w.see(Observation{Kind: RefreshReused, Address: attacker}).Mail {
		t.Error("a mail to nobody")
	}
}

func TestWhatMayBeABugHasNoResponse(t *testing.T) {
	for _, k := range []Kind{ProofReplayed, CodeMisused} {
		w := newWorld(t)
		d := w.see(Observation{Kind: k, Person: "alice", Address: attacker})
		if len(d.Flags) != 1 || d.EndSessions || d.Mail || d.StepUp || len(w.events) != 1 || w.events[0].Detail["severity"] != "low" {
			t.Errorf("%s: %+v %+v", k, d, w.events)
		}
	}
}

func TestManyVictimsGetNoMailFromOneAttacker(t *testing.T) {
	w := newWorld(t)
	if err := w.Configure([]model.Flag{{Name: "password-spraying", Response: []string{"mail", "end-sessions"}}, {Name: "credential-stuffing", Response: []string{"mail", "end-sessions"}}}); err != nil {
		t.Fatal(err)
	}
	for i := range 500 {
		if d := w.see(Observation{Kind: PasswordFailed, Person: fmt.Sprint(i), Address: attacker, Password: word("same")}); d.Mail || d.EndSessions {
			t.Fatalf("%+v", d)
		}
	}
}

func TestColleaguesOfAnAttackerKeepTheirDevices(t *testing.T) {
	w := newWorld(t)
	if err := w.Configure([]model.Flag{{Name: "credential-stuffing", Response: []string{"slow", "block", "step-up"}}}); err != nil {
		t.Fatal(err)
	}
	for i := range 50 {
		w.see(Observation{Kind: PasswordFailed, Person: fmt.Sprint("v", i), Address: attacker, Fingerprint: "f", Password: word("x%d", i)})
	}
	colleague := Observation{Kind: PasswordFailed, Person: "bob", Address: attacker, Fingerprint: "f"}
	if d := w.Ask(colleague); d.Block.IsZero() || !d.StepUp {
		t.Errorf("a new device in the attacker's network: %+v", d)
	}
	colleague.Known = true
	if d := w.Ask(colleague); !d.Block.IsZero() || d.Delay > 0 || d.StepUp {
		t.Errorf("bob's own device: %+v", d)
	}
}

func TestMistakesOnKnownDevicesMakeNoAttackOfANetwork(t *testing.T) {
	w := newWorld(t)
	for i := range 100 {
		d := w.see(Observation{Kind: PasswordFailed, Person: fmt.Sprint("p", i), Address: attacker, Known: true, Password: word("expired")})
		if len(d.Flags) > 0 {
			t.Fatalf("at the %dth: %v", i+1, d.Flags)
		}
	}
}

func TestOneWrongPasswordOfManyWhoThenSignInIsNoSpray(t *testing.T) {
	w := newWorld(t)
	for i := range 40 { // new people, who try last year's first password
		o := Observation{Kind: PasswordFailed, Person: fmt.Sprint("p", i), Address: attacker, Password: word("Welcome1")}
		d := w.see(o)
		o.Kind = SignInOK
		w.see(o)
		if len(d.Flags) > 0 {
			t.Fatalf("at the %dth: %v", i+1, d.Flags)
		}
		w.pass(10 * time.Second)
	}
}

func TestNothingIsSaidToBeBlockedThatIsNot(t *testing.T) {
	w := newWorld(t)
	n, d := w.until(BruteForce, 22, time.Second, func(i int) Observation {
		return Observation{Kind: PasswordFailed, Person: "alice", Address: far(i)}
	})
	if e := w.events[len(w.events)-1]; n == 0 || !d.Block.IsZero() || e.Detail["response"] != "slow, step-up, mail, record" {
		t.Errorf("%+v %+v", d, e)
	}
}

func TestCountsSurviveARestart(t *testing.T) {
	t.Parallel()
	for _, engine := range []string{"sqlite", "postgres"} {
		t.Run(engine, func(t *testing.T) {
			w := newWorld(t)
			c := store.Config{Path: filepath.Join(w.dir, "ward.db")}
			if engine == "postgres" {
				c = store.Config{URL: postgres.Start(t).Database(t)}
				w.open(c)
			}
			// A try every ten minutes, and a restart every hour.
			n := 0
			for n = range 60 {
				if n%6 == 5 {
					if err := w.Save(t.Context()); err != nil {
						t.Fatal(err)
					}
					w.open(c)
				}
				if w.see(Observation{Kind: PasswordFailed, Person: "alice", Address: far(n)}).Has(BruteForce) {
					break
				}
				w.pass(10 * time.Minute)
			}
			if n < 30 || n > 45 {
				t.Errorf("seen at try %d: counts are lost or doubled", n)
			}
			w.see(Observation{Kind: SignInOK, Person: "alice", Address: attacker})
			w.open(c)
			if d := w.see(Observation{Kind: SignInOK, Person: "alice", Address: far(99)}); !d.Has(NewDevice) {
				t.Error("habits are lost")
			}
		})
	}
}

func TestRunSavesAtItsEnd(t *testing.T) {
	w := newWorld(t)
	for range 10 {
		w.see(Observation{Kind: PasswordFailed, Person: "alice", Address: attacker})
	}
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		stop()
		w.Run(ctx, func(err error) { t.Error(err) })
	})
	w.open(store.Config{Path: filepath.Join(w.dir, "ward.db")})
	if a := w.accounts.find(w.digest(tagAccount, "palice")); a == nil || a.total != 10 {
		t.Errorf("%+v", a)
	}
}

func TestRegistrationsAndResets(t *testing.T) {
	w := newWorld(t)
	ask := Observation{Kind: Register, Address: attacker}
	quiet := w.Work(attacker)
	n := 0
	for d := w.Ask(ask); d.Delay == 0 && n < 100; d = w.Ask(ask) {
		w.see(ask)
		w.pass(time.Second)
		n++
	}
	if n < 5 || n > 12 {
		t.Errorf("%d registrations from one network", n)
	}
	if hard := w.Work(attacker); hard < 4*quiet {
		t.Errorf("work %d, in quiet times %d", hard, quiet)
	}
	if d := w.Ask(Observation{Kind: Register, Address: far(1)}); d.Delay > 0 || w.Work(far(1)) != quiet {
		t.Error("another network pays for it")
	}
	for i := range 200 {
		w.see(Observation{Kind: Register, Address: far(i)})
	}
	if w.Work(far(9999)) < 4*quiet {
		t.Error("registrations from everywhere cost nothing")
	}
	for i := range resetsPerHour {
		o := Observation{Kind: ResetRequested, Person: "alice", Address: far(5000 + i)}
		if d := w.Ask(o); d.Delay > 0 {
			t.Errorf("reset %d: %+v", i, d)
		}
		w.see(o)
	}
	if d := w.Ask(Observation{Kind: ResetRequested, Person: "alice", Address: far(6000)}); d.Delay == 0 {
		t.Error("resets without end")
	}
	if d := w.Ask(Observation{Kind: PasswordFailed, Person: "alice", Address: far(6000)}); d.Delay > 0 {
		t.Error("resets hold up sign-in")
	}
	w.pass(3 * time.Hour)
	if d := w.Ask(Observation{Kind: ResetRequested, Person: "alice", Address: far(6000)}); d.Delay > 0 {
		t.Error("a limit that doesn't end")
	}
}
