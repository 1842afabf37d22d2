package password

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/base/secret"
)

func pw(s string) secret.Bytes { return secret.New([]byte(s)) }

func TestHashIsVerifiedAndCurrent(t *testing.T) {
	h := New(Config{})
	encoded, err := h.Hash(t.Context(), pw("correct horse Bättery"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(encoded, "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Errorf("form: %s", encoded)
	}
	for typed, want := range map[string]bool{
		"correct horse Bättery":         true,
		"correct horse Ba\u0308ttery":   true, // another keyboard's ä
		"correct\u00a0horse Bättery":    true, // a no-break space
		"correct horse bättery":         false,
		"correct horse Bättery ":        false,
		"":                              false,
		"correct horse Bättery\x00":     false,
		strings.Repeat("a", MaxBytes+1): false,
	} {
		ok, upgrade, err := h.Verify(t.Context(), encoded, pw(typed))
		if ok != want || upgrade || err != nil {
			t.Errorf("%.30q: %v %v %v", typed, ok, upgrade, err)
		}
	}
	again, err := h.Hash(t.Context(), pw("correct horse Bättery"))
	if err != nil || again == encoded {
		t.Errorf("the salt is used twice: %v", err)
	}
}

// The strings were made by passlib 1.7.4 and Django 3.2; Django's scrypt form by Python's hashlib.
func imported() map[string]string {
	return map[string]string{
		"passlib pbkdf2":        "$pbkdf2$1000$QEhpLSWktNY657z3/l9rjQ$WZ/sYZr881lPxk2vWC4jEiEjLbA",
		"passlib pbkdf2-sha256": "$pbkdf2-sha256$1000$AkCI8R5DiNG6t5ZSSiklJA$rd9gwmu4dpiJa2/tYWsjDCf5roPEzxtCd75eX6/2h5U",
		"PHC pbkdf2-sha256":     "$pbkdf2-sha256$i=1000,l=32$AkCI8R5DiNG6t5ZSSiklJA$rd9gwmu4dpiJa2/tYWsjDCf5roPEzxtCd75eX6/2h5U",
		"passlib pbkdf2-sha512": "$pbkdf2-sha512$1000$AADAGKO0do7x3hujtDbm/A$Q9fbDSDEBVcLR.uoBuxaFFGPokuGVZOSkGWGoaVOhgPbCPI9PQnXkD/TGfBMtxiWICo1rqt6UNMWrOveu4AXtQ",
		"passlib scrypt":        "$scrypt$ln=10,r=8,p=1$jrEWAiDkvHdOSWnNGcO4tw$6v9INgVE40ULCbc9bxBlGc/d6dc5esnaD3GX1VeY1wg",
		"argon2id":              "$argon2id$v=19$m=1024,t=1,p=2$zDlnbM3Zu5dSynnP2TvHeA$WUhZOduaSrRS8cby9iGErg",
		"argon2i":               "$argon2i$v=19$m=1024,t=2,p=1$uNdaC4EQIoRw7j1njHGuVQ$L+sdRU1qw/HAxSpjKOEUUw",
		"bcrypt":                "$2b$05$8GF82pdK.N7cBUP4TqI6TO5HmUXzLWJ1DtWvUt0MqzBIVXzQR34wS",
		"Django pbkdf2_sha256":  "pbkdf2_sha256$1000$Pf3GNeGt0MRsS7NiZwQL5Z$yZW0B/FnDMXNFyKc7bkEqzfwwhILd7vvMaW1JYe2m00=",
		"Django pbkdf2_sha1":    "pbkdf2_sha1$1000$caZeN41zqivfXZVYlvqbso$IahZkUCRwYt3+TT8Nu3R3sOQYNs=",
		"Django bcrypt_sha256":  "bcrypt_sha256$$2b$05$MJ9Lt9WPPgn4In8hutM5nuPVdJGuuMSZoOMjvlmK0DV6vGjHjDTi6",
		"Django bcrypt":         "bcrypt$$2b$05$EY2cRfLHRnHVnNu9yGw0DObIkPlbeqrqaw2O2BEB/98gJhZzecsqm",
		"Django argon2":         "argon2$argon2id$v=19$m=1024,t=2,p=8$WHhydWZYVmxIZWxtaUc4NXc4RncwdA$R6q2kDfvO1vHS8NcyDe7pQ",
		"Django scrypt":         "scrypt$1024$saltsaltsaltsalt$8$5$rZJ9GvjQN7Eo1tBtYDNwwPwwxMgsjIUsUGLP26bqGwV8/6hBe/nyx9XP197T7zjoCRJXLTqFvQgjW4wxJMr/VA==",
	}
}

func TestImportedHashesAreVerifiedAndUpgraded(t *testing.T) {
	h := New(Config{})
	for name, encoded := range imported() {
		t.Run(name, func(t *testing.T) {
			if ok, upgrade, err := h.Verify(t.Context(), encoded, pw("correct horse Bättery")); !ok || !upgrade || err != nil {
				t.Errorf("right password: %v %v %v", ok, upgrade, err)
			}
			if ok, _, err := h.Verify(t.Context(), encoded, pw("correct horse battery")); ok || err != nil {
				t.Errorf("wrong password: %v %v", ok, err)
			}
		})
	}
}

func TestImportedHashOfUnnormalisedBytesStillMatches(t *testing.T) {
	e := current([]byte("saltsaltsaltsalt"))
	typed := "correct horse Ba\u0308ttery"
	e.key = e.argon2([]byte(typed))
	ok, upgrade, err := New(Config{}).Verify(t.Context(), e.phc(), pw(typed))
	if !ok || !upgrade || err != nil {
		t.Errorf("%v %v %v", ok, upgrade, err)
	}
}

func TestHostileHashesAreRefusedBeforeTheyCost(t *testing.T) {
	const salt, key = "c2FsdHNhbHRzYWx0c2FsdA", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
	for name, s := range map[string]string{
		"nothing":                     "",
		"plain text":                  "hunter2",
		"argon2 memory":               "$argon2id$v=19$m=4194304,t=1,p=1$" + salt + "$" + key,
		"argon2 passes":               "$argon2id$v=19$m=131072,t=5,p=1$" + salt + "$" + key,
		"argon2 overflow":             "$argon2id$v=19$m=8,t=2147483647,p=1$" + salt + "$" + key,
		"argon2 lanes":                "$argon2id$v=19$m=19456,t=2,p=255$" + salt + "$" + key,
		"argon2 no memory":            "$argon2id$v=19$m=0,t=2,p=1$" + salt + "$" + key,
		"argon2 too little for lanes": "$argon2id$v=19$m=8,t=2,p=16$" + salt + "$" + key,
		"argon2 old version":          "$argon2id$v=16$m=19456,t=2,p=1$" + salt + "$" + key,
		"argon2 order":                "$argon2id$v=19$t=2,m=19456,p=1$" + salt + "$" + key,
		"argon2 sign":                 "$argon2id$v=19$m=+19456,t=2,p=1$" + salt + "$" + key,
		"argon2 without key":          "$argon2id$v=19$m=19456,t=2,p=1$" + salt + "$",
		"argon2 key of a byte":        "$argon2id$v=19$m=19456,t=2,p=1$" + salt + "$AA",
		"argon2 loose base64":         "$argon2id$v=19$m=19456,t=2,p=1$" + salt + "$" + key[:42] + "B",
		"argon2d":                     "$argon2d$v=19$m=1024,t=2,p=1$" + salt + "$" + key,
		"bcrypt cost":                 "$2b$31$8GF82pdK.N7cBUP4TqI6TO5HmUXzLWJ1DtWvUt0MqzBIVXzQR34wS",
		"bcrypt cost of letters":      "$2b$xx$8GF82pdK.N7cBUP4TqI6TO5HmUXzLWJ1DtWvUt0MqzBIVXzQR34wS",
		"bcrypt with the x bug":       "$2x$05$8GF82pdK.N7cBUP4TqI6TO5HmUXzLWJ1DtWvUt0MqzBIVXzQR34wS",
		"bcrypt cut":                  "$2b$05$8GF82pdK.N7cBUP4TqI6TO5HmUXzLWJ1DtWvUt0MqzBIVXzQR34w",
		"scrypt memory":               "$scrypt$ln=20,r=8,p=1$" + salt + "$" + key,
		"scrypt shift":                "$scrypt$ln=63,r=1,p=1$" + salt + "$" + key,
		"scrypt lanes":                "$scrypt$ln=14,r=8,p=1000000$" + salt + "$" + key,
		"scrypt overflow":             "scrypt$1048576$salt$2147483647$2147483647$" + key + "=",
		"scrypt not a power":          "scrypt$1000$salt$8$1$" + key + "=",
		"pbkdf2 iterations":           "$pbkdf2-sha256$3000001$" + salt + "$" + key,
		"pbkdf2 iterations by blocks": "$pbkdf2$2000000$" + salt + "$" + key,
		"pbkdf2 no iterations":        "$pbkdf2-sha256$0$" + salt + "$" + key,
		"pbkdf2 long key":             "$pbkdf2-sha256$1$" + salt + "$" + strings.Repeat("A", 88),
		"Django argon2 in Django":     "argon2$argon2$argon2$" + salt,
		"too long":                    "$pbkdf2-sha256$1$" + strings.Repeat("A", 600) + "$" + key,
	} {
		if _, err := Parse(s); err == nil {
			t.Errorf("%s: taken", name)
		} else if len(s) > 8 && strings.Contains(err.Error(), s[len(s)-8:]) {
			t.Errorf("%s: the error shows the hash", name)
		}
	}
}

func TestUnknownUserCostsWhatAKnownOneCosts(t *testing.T) {
	h := New(Config{})
	encoded, err := h.Hash(t.Context(), pw("correct horse"))
	if err != nil {
		t.Fatal(err)
	}
	type work struct {
		Scheme        scheme
		KiB           uint32
		Cost, Threads int
		Salt, Key     int
		Typed         string
	}
	for _, typed := range []string{"wrong", "Ba\u0308ttery", "", strings.Repeat("x", MaxBytes+1), "tab\t"} {
		var done [2][]work
		for i, enc := range []string{encoded, ""} {
			h.derive = func(e Encoded, p []byte) bool {
				done[i] = append(done[i], work{e.scheme, e.kib, e.cost, e.threads, len(e.salt), len(e.key), string(p)})
				return e.matches(p)
			}
			if ok, upgrade, err := h.Verify(t.Context(), enc, pw(typed)); ok || upgrade || err != nil {
				t.Errorf("%.10q: %v %v %v", typed, ok, upgrade, err)
			}
		}
		if d := cmp.Diff(done[0], done[1]); d != "" {
			t.Errorf("%.10q: known and unknown differ: %s", typed, d)
		}
		if typed == "wrong" && len(done[1]) != 1 {
			t.Errorf("%d hashes", len(done[1]))
		}
	}
}

func TestUnknownUserIsNeverLetIn(t *testing.T) {
	h := New(Config{})
	h.derive = func(Encoded, []byte) bool { return true } // even by the dummy's own password
	if ok, _, err := h.Verify(t.Context(), "", pw("any")); ok || err != nil {
		t.Errorf("%v %v", ok, err)
	}
}

func TestFullQueueSaysWhenToComeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := New(Config{Places: 1, Queue: 2})
		free := make(chan struct{})
		h.derive = func(Encoded, []byte) bool { <-free; return false }
		results := make(chan error, 3)
		for range 3 { // one works, two wait
			go func() {
				_, _, err := h.Verify(context.Background(), "", pw("x"))
				results <- err
			}()
		}
		synctest.Wait()
		_, _, err := h.Verify(context.Background(), "", pw("x"))
		busy, ok := errors.AsType[*BusyError](err)
		if !ok || busy.RetryAfter <= 0 || fault.KindOf(err) != fault.Exhausted {
			t.Errorf("got %v", err)
		}
		close(free)
		for range 3 {
			if err := <-results; err != nil {
				t.Error(err)
			}
		}
		if _, _, err := h.Verify(context.Background(), "", pw("x")); err != nil {
			t.Errorf("afterwards: %v", err)
		}
	})
}

func TestWhoGivesUpLeavesTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := New(Config{Places: 1, Queue: 1})
		free := make(chan struct{})
		h.derive = func(Encoded, []byte) bool { <-free; return false }
		done := make(chan error, 2)
		go func() { _, _, err := h.Verify(context.Background(), "", pw("x")); done <- err }()
		synctest.Wait()
		ctx, cancel := context.WithCancel(context.Background())
		go func() { _, _, err := h.Verify(ctx, "", pw("x")); done <- err }()
		synctest.Wait()
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		go func() { _, _, err := h.Verify(context.Background(), "", pw("x")); done <- err }() // the place in the queue is free again
		synctest.Wait()
		close(free)
		for range 2 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	})
}

func TestOneLargeImportedHashAtATimeAndOthersGoOn(t *testing.T) {
	const large = "$argon2id$v=19$m=131072,t=1,p=1$c2FsdHNhbHRzYWx0c2FsdA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
	synctest.Test(t, func(t *testing.T) {
		h := New(Config{Places: 3, Queue: 9})
		free := make(chan struct{})
		started := make(chan uint32, 9)
		h.derive = func(e Encoded, _ []byte) bool {
			started <- e.memory()
			if e.memory() > currentMemory {
				<-free
			}
			return false
		}
		done := make(chan error, 9)
		for range 4 {
			go func() { _, _, err := h.Verify(context.Background(), large, pw("x")); done <- err }()
		}
		synctest.Wait()
		if len(started) != 1 {
			t.Errorf("%d large hashes at once", len(started))
		}
		if _, _, err := h.Verify(context.Background(), "", pw("x")); err != nil {
			t.Errorf("an ordinary sign-in meanwhile: %v", err)
		}
		close(free)
		for range 4 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	})
}

func TestPolicy(t *testing.T) {
	strict := Policy{Words: words(t)}
	second := Policy{Words: words(t), SecondFactor: true}
	for _, c := range []struct {
		name, password string
		policy         Policy
		about          []string
		refused        bool
	}{
		{"long and uncommon", "tangled-umbrella-frost-71", strict, nil, false},
		{"fourteen as the only factor", "kW8!xpQ2#vBn4t", strict, nil, true},
		{"fourteen with a second", "kW8!xpQ2#vBn4t", second, nil, false},
		{"seven", "kW8!xpQ", second, nil, true},
		{"eight characters, sixteen bytes", "жѪщ8ыЯ!ў", second, nil, false},
		{"common", "password123", second, nil, true},
		{"keyboard", "qwertyuiopasdfghjkl", strict, nil, true},
		{"repeats", strings.Repeat("a", 64), strict, nil, true},
		{"own address", "marguerite.delacroix", strict, []string{"marguerite.delacroix@example.org"}, true},
		{"control character", "tangled-umbrella\x07frost-71", strict, nil, true},
		{"longest", strings.Repeat("tangled-umbrella", 64), strict, nil, false},
		{"too long", strings.Repeat("tangled-umbrella", 64) + "x", strict, nil, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := c.policy.Check(pw(c.password), c.about)
			if (err != nil) != c.refused {
				t.Errorf("got %v", err)
			}
			if err != nil && (fault.KindOf(err) != fault.Invalid || strings.Contains(err.Error(), c.password)) {
				t.Errorf("a bad error: %v", err)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range imported() {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		e, err := Parse(s)
		if err != nil {
			return
		}
		if e.memory() > maxMemory || len(e.key) == 0 || e.scheme == unknown {
			t.Errorf("out of bounds: %+v", e)
		}
		if e.Current() {
			if again, err := Parse(e.phc()); err != nil || !cmp.Equal(e, again, cmp.AllowUnexported(Encoded{})) {
				t.Errorf("doesn't survive: %v", err)
			}
		}
	})
}

func FuzzNormalise(f *testing.F) {
	f.Add("Ba\u0308ttery \u00a0x")
	known := words(f)
	f.Fuzz(func(t *testing.T, s string) {
		once, err := Normalise(pw(s))
		if err != nil {
			return
		}
		if twice, err := Normalise(once); err != nil || string(twice.Reveal()) != string(once.Reveal()) {
			t.Errorf("not stable: %v", err)
		}
		if score := Strength(once, known, []string{s}); score < 0 || score > 4 {
			t.Errorf("score %d", score)
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	h := New(Config{})
	for b.Loop() {
		if _, _, err := h.Verify(b.Context(), "", pw("correct horse")); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkStrengthOfWorst(b *testing.B) {
	known := words(b)
	for _, s := range []string{strings.Repeat("a1", 512), strings.Repeat("password", 128), "tangled-umbrella-frost-71"} {
		b.Run(fmt.Sprintf("%.8s", s), func(b *testing.B) {
			for b.Loop() {
				Strength(pw(s), known, nil)
			}
		})
	}
}
