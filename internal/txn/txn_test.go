package txn

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wardhq/ward/internal/base/jose"
	"github.com/wardhq/ward/internal/plan/policy"
)

type fixed time.Time

func (f fixed) Now() time.Time { return time.Time(f) }

const (
	issuer = "spiffe://shop.internal/ward/gateway"
	domain = "shop.internal"
)

var start = time.Unix(1_700_000_000, 0)

func minter(t testing.TB) *Minter {
	t.Helper()
	k, err := jose.GenerateKey(jose.EdDSA)
	if err != nil {
		t.Fatal(err)
	}
	return &Minter{Key: k, Issuer: issuer, TrustDomain: domain, Clock: fixed(start)}
}

func alice() *Context {
	return &Context{
		Context: policy.Context{Person: &policy.Person{ID: "u1", Email: "alice@example.com", Groups: []string{"staff"}, FactorAt: 99}, IP: "192.0.2.7"},
		Session: "s1", Name: "Alice",
	}
}

func TestWhatIsMintedIsRead(t *testing.T) {
	m := minter(t)
	want := alice()
	if err := m.Mint(want, "GET /orders/{id}"); err != nil {
		t.Fatal(err)
	}
	got, err := Check(want.Token, m.Key.Public(), issuer, domain, start)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	other := alice()
	if err := m.Mint(other, ""); err != nil || other.ID == want.ID {
		t.Error("two transactions have one identifier", err)
	}
	nobody := &Context{}
	if err := m.Mint(nobody, ""); err != nil {
		t.Fatal(err)
	}
	if got, err := Check(nobody.Token, m.Key.Public(), issuer, domain, start); err != nil || got.Person != nil {
		t.Errorf("a token of nobody: %+v, %v", got, err)
	}
}

func TestOthersTokensAreRefused(t *testing.T) {
	m, rogue := minter(t), minter(t)
	c := alice()
	if err := m.Mint(c, ""); err != nil {
		t.Fatal(err)
	}
	other := *m
	other.TrustDomain = "other.internal"
	foreign := alice()
	if err := other.Mint(foreign, ""); err != nil {
		t.Fatal(err)
	}
	self := *m
	self.Issuer = "spiffe://shop.internal/svc/web"
	claimed := alice()
	if err := self.Mint(claimed, ""); err != nil {
		t.Fatal(err)
	}
	access, err := m.Key.Sign("at+jwt", map[string]any{"iss": issuer, "aud": domain, "sub": "u1", "txn": "x", "iat": start.Unix(), "exp": start.Add(time.Minute).Unix()})
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		token string
		keys  jose.Keys
		at    time.Time
	}{
		"ended":              {c.Token, m.Key.Public(), start.Add(Life + leeway + time.Second)},
		"from the future":    {c.Token, m.Key.Public(), start.Add(-leeway - time.Second)},
		"another key":        {c.Token, rogue.Key.Public(), start},
		"another audience":   {foreign.Token, m.Key.Public(), start},
		"another issuer":     {claimed.Token, m.Key.Public(), start},
		"another kind":       {access, m.Key.Public(), start},
		"changed":            {strings.Replace(c.Token, ".", ".e", 1), m.Key.Public(), start},
		"nothing":            {"", m.Key.Public(), start},
		"a thousand letters": {strings.Repeat("a.", 1000), m.Key.Public(), start},
	} {
		if got, err := Check(tt.token, tt.keys, issuer, domain, tt.at); err == nil {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func BenchmarkMint(b *testing.B) {
	m := minter(b)
	for b.Loop() {
		if err := m.Mint(alice(), "GET /orders/{id}"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCheck(b *testing.B) {
	m, c := minter(b), alice()
	if err := m.Mint(c, ""); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := Check(c.Token, m.Key.Public(), issuer, domain, start); err != nil {
			b.Fatal(err)
		}
	}
}
