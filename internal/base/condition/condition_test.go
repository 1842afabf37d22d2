package condition

import (
	"strings"
	"testing"
)

func language(t testing.TB) *Language {
	t.Helper()
	l, err := New()
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func alice() *Vars {
	return &Vars{
		UserID: "u1", Email: "alice@example.com", Groups: []string{"staff"}, Params: map[string]string{"owner": "u1"},
		Method: "GET", Path: "/orders/u1", IP: "10.1.2.3", Now: 1_700_000_000, // 2023-11-14T22:13:20Z, a Tuesday
	}
}

func TestConditionsHoldOrNot(t *testing.T) {
	l := language(t)
	for text, want := range map[string]bool{
		`params.owner == user.id`:                           true,
		`params["owner"] != user.id`:                        false,
		`params.nothing == user.id`:                         false, // an error denies
		`!(params.nothing == user.id)`:                      false, // also behind a negation
		`"staff" in user.groups && !("root" in user.roles)`: true,
		`user.email.endsWith("@example.com")`:               true,
		`cidr("10.0.0.0/8").containsIP(ip)`:                 true,
		`cidr("192.168.0.0/16").containsIP(ip)`:             false,
		`now.getHours() >= 22`:                              true,
		`now.getDayOfWeek("Europe/Berlin") == 2`:            true,
		`now < timestamp("2020-01-01T00:00:00Z")`:           false,
		`method == "GET" && path.startsWith("/orders/")`:    true,
		`1 / 0 == 1`: false,
		`[1,2,3].all(a, [1,2,3].all(b, a * b < 100))`:       true,
		`user.groups.exists(g, g.matches("^(s|t)+aff$"))`:   true,
		`false || params.nothing == "x" || user.id == "u1"`: true,
	} {
		c, err := l.Compile(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got := c.Holds(alice()); got != want {
			t.Errorf("%s: %v, want %v", text, got, want)
		}
	}
}

func TestNobodyIsNoUser(t *testing.T) {
	c, err := language(t).Compile(`params.owner == user.id`)
	if err != nil {
		t.Fatal(err)
	}
	if c.Holds(&Vars{Params: map[string]string{"owner": "u1"}}) || c.Holds(nil) || (*Condition)(nil).Holds(alice()) {
		t.Error("holds without a user")
	}
}

func TestBadConditionsAreRefusedWithTheirPlace(t *testing.T) {
	l := language(t)
	for text, want := range map[string]string{
		`user.nmae == "x"`:             "at character",
		`user.id`:                      "type string",
		`user.id == 1`:                 "no matching overload",
		`params.owner ==`:              "at character",
		`import("os")`:                 "reserved",
		strings.Repeat("a", 1025):      "1,024",
		`"` + strings.Repeat("(", 900): "at character",
	} {
		if _, err := l.Compile(text); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%.30s: %v", text, err)
		}
	}
}

func TestCostIsBounded(t *testing.T) {
	c, err := language(t).Compile(`user.groups.all(a, user.groups.all(b, user.groups.all(c, user.groups.all(d, a + b + c + d != ""))))`)
	if err != nil {
		t.Fatal(err)
	}
	v := alice()
	v.Groups = make([]string, 1000)
	if c.Holds(v) {
		t.Error("a condition beyond its cost holds")
	}
}

func FuzzCompile(f *testing.F) {
	for _, s := range []string{`params.owner == user.id`, `[1].all(x, x > 0)`, `cidr("::/0").containsIP(ip)`, `"\xff"`} {
		f.Add(s)
	}
	l := language(f)
	f.Fuzz(func(_ *testing.T, text string) {
		if c, err := l.Compile(text); err == nil {
			c.Holds(alice())
		}
	})
}

func BenchmarkHolds(b *testing.B) {
	c, err := language(b).Compile(`params.owner == user.id && "staff" in user.groups`)
	if err != nil {
		b.Fatal(err)
	}
	v := alice()
	for b.Loop() {
		c.Holds(v)
	}
}
