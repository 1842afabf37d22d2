package pow

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wardhq/ward/internal/base/secret"
	"github.com/wardhq/ward/internal/wardtest/need"
)

var (
	key = secret.New(bytes.Repeat([]byte{5}, 32))
	now = time.Unix(1_700_000_000, 0)
)

func solve(t testing.TB, c Challenge) int64 {
	t.Helper()
	for n := range c.MaxNumber + 1 {
		if digest(c.Salt, n) == c.Challenge {
			return n
		}
	}
	t.Fatal("no solution")
	return 0
}

func field(t testing.TB, c Challenge, number int64) string {
	t.Helper()
	b, err := json.Marshal(payload{c, number})
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(b)
}

func challenge(t testing.TB, difficulty int64) Challenge {
	t.Helper()
	c, err := New(key, "register", difficulty, now.Add(10*time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestSolvedChallengeIsTakenAndHasOneID(t *testing.T) {
	c := challenge(t, 2000)
	f := field(t, c, solve(t, c))
	first, err := Verify(key, "register", f, now)
	if err != nil || !first.Expires.Equal(now.Add(10*time.Minute)) {
		t.Fatalf("%+v %v", first, err)
	}
	// The caller's store finds a replay by the ID, so no other spelling may have another.
	loose := strings.Replace(f, "=", "", 1)
	upper := c
	upper.Signature = strings.ToUpper(c.Signature)
	for name, again := range map[string]string{"same": f, "other padding": loose, "other case": field(t, upper, solve(t, c))} {
		if s, err := Verify(key, "register", again, now); err == nil && s.ID != first.ID {
			t.Errorf("%s: another ID", name)
		}
	}
	other := challenge(t, 2000)
	if s, err := Verify(key, "register", field(t, other, solve(t, other)), now); err != nil || s.ID == first.ID {
		t.Errorf("another challenge: %v", err)
	}
}

func TestCheatsAreRefused(t *testing.T) {
	c := challenge(t, 200)
	n := solve(t, c)
	change := func(f func(*Challenge)) Challenge {
		x := c
		f(&x)
		return x
	}
	// A challenge of one's own choice, with somebody else's key.
	forged, err := New(secret.New(bytes.Repeat([]byte{6}, 32)), "register", 1, now.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	later := strings.Replace(c.Salt, "expires=1700000600", "expires=1800000600", 1)
	if later == c.Salt {
		t.Fatal("the salt has another form")
	}
	for name, x := range map[string]struct {
		field, purpose string
		at             time.Time
	}{
		"empty":            {"", "register", now},
		"not base64":       {"%%%", "register", now},
		"not JSON":         {base64.StdEncoding.EncodeToString([]byte("{")), "register", now},
		"huge":             {strings.Repeat("A", 1<<20), "register", now},
		"wrong number":     {field(t, c, n+1), "register", now},
		"negative":         {field(t, c, -1), "register", now},
		"expired":          {field(t, c, n), "register", now.Add(10 * time.Minute)},
		"another purpose":  {field(t, c, n), "reset", now},
		"no purpose":       {field(t, c, n), "", now},
		"forged":           {field(t, forged, solve(t, forged)), "register", now},
		"later expiry":     {field(t, change(func(x *Challenge) { x.Salt = later }), n), "register", now},
		"own hash":         {field(t, change(func(x *Challenge) { x.Challenge = digest(x.Salt, n+1) }), n+1), "register", now},
		"no signature":     {field(t, change(func(x *Challenge) { x.Signature = "" }), n), "register", now},
		"other algorithm":  {field(t, change(func(x *Challenge) { x.Algorithm = "SHA-1" }), n), "register", now},
		"no delimiter":     {field(t, change(func(x *Challenge) { x.Salt = strings.TrimSuffix(x.Salt, "&") }), n), "register", now},
		"swapped for hash": {field(t, change(func(x *Challenge) { x.Signature = x.Challenge }), n), "register", now},
	} {
		t.Run(name, func(t *testing.T) {
			if s, err := Verify(key, x.purpose, x.field, x.at); !errors.Is(err, ErrUnsolved) {
				t.Errorf("%+v %v", s, err)
			}
		})
	}
	if _, err := Verify(secret.Bytes{}, "register", field(t, c, n), now); err == nil {
		t.Error("taken without a key")
	}
}

func TestDigitsCantMoveFromNumberToSalt(t *testing.T) { // it would give new IDs and another expiry for one work
	for range 50 {
		c := challenge(t, 5000)
		n := solve(t, c)
		if n < 10 {
			continue
		}
		moved := c
		moved.Salt += string(rune('0' + n/1000%10))
		for _, rest := range []int64{n % 10, n % 100, n % 1000} {
			if _, err := Verify(key, "register", field(t, moved, rest), now); err == nil {
				t.Fatal("spliced")
			}
		}
	}
}

func TestBadChallengesArentMade(t *testing.T) {
	for name, f := range map[string]func() error{
		"no key":        func() error { _, err := New(secret.Bytes{}, "x", 10, now); return err },
		"no purpose":    func() error { _, err := New(key, "", 10, now); return err },
		"no difficulty": func() error { _, err := New(key, "x", 0, now); return err },
		"endless":       func() error { _, err := New(key, "x", most+1, now); return err },
	} {
		if f() == nil {
			t.Error(name)
		}
	}
}

func TestDifficultyGrowsWithTheLoad(t *testing.T) {
	last := int64(0)
	for _, recent := range []int{0, 10, 11, 30, 100, 1000, 1 << 40} {
		d := Difficulty(recent, 10)
		if d < last || d < Easy || d > Hard {
			t.Errorf("%d: %d after %d", recent, d, last)
		}
		last = d
	}
	if Difficulty(10, 10) != Easy || Difficulty(11, 10) != 2*Easy || last != Hard || Difficulty(5, 0) <= Easy {
		t.Error("steps")
	}
}

func TestOurScriptSolvesIt(t *testing.T) {
	node, dir := need.Program(t, "node"), t.TempDir()
	c := challenge(t, 20_000)
	j, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "pow.mjs"), Script(), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), node, "--input-type=module", "-e",
		`const { solve } = await import("./pow.mjs"); const c = JSON.parse(process.env.C); console.log(btoa(JSON.stringify({ ...c, number: await solve(c) })), await solve({ ...c, maxnumber: -1 }))`)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "C="+string(j))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	got := strings.Fields(string(out))
	if len(got) != 2 || got[1] != "null" {
		t.Fatalf("%s", out)
	}
	if _, err := Verify(key, "register", got[0], now); err != nil {
		t.Error(err)
	}
}

func FuzzVerify(f *testing.F) {
	c := challenge(f, 10)
	f.Add(field(f, c, solve(f, c)))
	f.Add("e30=")
	f.Fuzz(func(t *testing.T, s string) {
		if got, err := Verify(secret.New(bytes.Repeat([]byte{9}, 32)), "register", s, now); err == nil {
			t.Errorf("forged: %+v", got)
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	c := challenge(b, 100)
	f := field(b, c, solve(b, c))
	for b.Loop() {
		if _, err := Verify(key, "register", f, now); err != nil {
			b.Fatal(err)
		}
	}
}
