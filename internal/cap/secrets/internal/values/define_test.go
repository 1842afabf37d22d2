package values

import (
	"context"
	"crypto/tls"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/base/secret"
	"github.com/wardhq/ward/internal/cap/secrets/internal/sealed"
	"github.com/wardhq/ward/internal/wire"
)

func (w *world) value(s *Store, name string, stage Stage) string {
	w.t.Helper()
	v, err := s.Get(context.Background(), Query{Name: name, Stage: stage})
	w.do(err)
	return string(v.Secret.Reveal())
}

func defining(w *world) {
	s, ctx := w.open(), context.Background()
	defs := []Definition{{Name: "by-hand"}, {Name: "pw", Generate: "password"}, {Name: "key", Generate: "key", Canary: true}, {Name: "cert", Generate: "certificate"}}
	w.do(s.Define(ctx, defs))
	pw, key := w.value(s, "pw", Current), w.value(s, "key", Current)
	if len(pw) != 32 || len(key) != 44 {
		w.t.Errorf("made %d and %d characters", len(pw), len(key))
	}
	if _, err := tls.X509KeyPair([]byte(w.value(s, "cert", Current)), []byte(w.value(s, "cert", Current))); err != nil {
		w.t.Error(err)
	}
	list, err := s.List(ctx)
	w.do(err)
	names := map[string]int64{}
	for _, l := range list {
		names[l.Name] = l.Current
		if !l.Declared {
			w.t.Errorf("%s isn't declared", l.Name)
		}
	}
	if d := cmp.Diff(map[string]int64{"by-hand": 0, "cert": 1, "key": 1, "pw": 1}, names); d != "" {
		w.t.Error(d)
	}
	if info, err := s.Info(ctx, "by-hand"); err != nil || !info.Declared || info.Newest != 0 {
		w.t.Errorf("%+v, %v", info, err)
	}
	w.set(s, "pw", "by a human", Current)
	w.told()
	slices.Reverse(defs)
	s = w.open()
	w.do(s.Define(ctx, defs))                                                     // as before, in another order
	w.do(s.Define(ctx, append(slices.Clone(defs), Definition{Name: "more"})))     // really another plan
	w.do(s.Define(ctx, []Definition{{Name: "pw", Generate: "password"}, {}}[:1])) // fewer
	if got := w.told(); got != nil {
		w.t.Errorf("plans that lack nothing did something: %q", got)
	}
	w.has(s, "pw", Current, "by a human")
	w.has(s, "key", Current, key)
	if info, err := s.Info(ctx, "key"); err != nil || info.Declared {
		w.t.Errorf("%+v, %v", info, err)
	}
	for name, d := range map[string]Definition{
		"no name":     {},
		"bad name":    {Name: "A"},
		"bad kind":    {Name: "a", Generate: "horse"},
		"two sources": {Name: "a", Generate: "key", Sealed: []byte("x")},
		"too often":   {Name: "a", Generate: "key", Rotate: time.Minute},
		"backwards":   {Name: "a", Generate: "key", Rotate: -time.Hour},
		"not age":     {Name: "a", Sealed: []byte("age?")},
	} {
		if err := s.Define(ctx, []Definition{{Name: "fine", Generate: "key"}, d}); fault.KindOf(err) != fault.Invalid {
			w.t.Errorf("%s: %v", name, err)
		}
	}
	w.refused(s.Define(ctx, []Definition{{Name: "a"}, {Name: "a"}}), fault.Invalid, "twice")
	if _, err := s.Info(ctx, "fine"); err == nil {
		w.t.Error("a part of a bad plan is in force")
	}
	if info, err := s.Info(ctx, "pw"); err != nil || !info.Declared {
		w.t.Errorf("a bad plan took the last good one out of force: %+v, %v", info, err)
	}
}

func sealedFiles(w *world) {
	s, ctx := w.open(), context.Background()
	file := func(value, to string) []byte {
		b, err := sealed.Seal(text(value), to)
		w.do(err)
		return b
	}
	first := file("one", s.Recipient())
	w.do(s.Define(ctx, []Definition{{Name: "partner", Sealed: first}}))
	w.has(s, "partner", Current, "one")
	w.set(s, "partner", "by a human", Current)
	w.do(s.Define(ctx, []Definition{{Name: "partner", Sealed: first}, {Name: "other"}}))
	w.has(s, "partner", Current, "by a human")
	w.do(s.Define(ctx, []Definition{{Name: "partner", Sealed: file("two", s.Recipient())}}))
	w.has(s, "partner", Current, "two")
	stranger, err := sealed.NewIdentity()
	w.do(err)
	w.refused(s.Define(ctx, []Definition{{Name: "partner", Sealed: file("three", stranger.Recipient())}}), fault.Refused, "the sealed file of the secret partner: it is sealed for others")
	w.refused(s.Define(ctx, []Definition{{Name: "partner", Sealed: file("", s.Recipient())}}), fault.Invalid, "empty")
	w.has(s, "partner", Current, "two")
	info, err := s.Info(ctx, "partner")
	if err != nil || info.Newest != 3 || !info.Sealed {
		w.t.Errorf("%+v, %v", info, err)
	}
}

func rotation(w *world) {
	s, ctx := w.open(), context.Background()
	const day = 24 * time.Hour
	w.do(s.Define(ctx, []Definition{{Name: "gen", Generate: "password", Rotate: 30 * day}, {Name: "hand", Rotate: 30 * day}, {Name: "never", Generate: "key"}}))
	w.set(s, "hand", "x", Current)
	first := w.value(s, "gen", Current)
	w.now = w.now.Add(30*day - time.Second)
	w.do(s.Maintain(ctx))
	w.has(s, "gen", Current, first)
	due := func(name string) bool {
		info, err := s.Info(ctx, name)
		w.do(err)
		return info.Due
	}
	if due("hand") {
		w.t.Error("due too early")
	}
	w.now = w.now.Add(time.Second)
	w.told()
	w.do(s.Maintain(ctx))
	w.do(s.Maintain(ctx))
	if d := cmp.Diff([]string{"secret.rotated control gen 2"}, w.told()); d != "" {
		w.t.Error(d)
	}
	w.has(s, "gen", Previous, first)
	if w.value(s, "gen", Current) == first || !due("hand") || due("gen") {
		w.t.Error("not rotated, or not flagged")
	}
	w.has(s, "hand", Current, "x")
	// A plan that says less time counts from when the value was made.
	w.now = w.now.Add(2 * day)
	w.do(s.Define(ctx, []Definition{{Name: "gen", Generate: "password", Rotate: day}}))
	w.do(s.Maintain(ctx))
	if info, _ := s.Info(ctx, "gen"); info.Newest != 3 {
		w.t.Errorf("version %d", info.Newest)
	}
	w.do(s.Define(ctx, nil))
	w.now = w.now.Add(100 * day)
	w.do(s.Maintain(ctx))
	if info, _ := s.Info(ctx, "gen"); info.Newest != 3 || info.RotatesAt != 0 {
		w.t.Errorf("rotated without being asked: %+v", info)
	}
}

// system is another system with its own idea of which values count, as a database has of a user's passwords.
type system struct {
	valid map[string]bool
	last  string
	fails error
	tries int
}

func (y *system) Try(_ context.Context, _ string, pending secret.Bytes) error {
	y.tries++
	if y.fails != nil {
		return y.fails
	}
	y.last = string(pending.Reveal())
	y.valid[y.last] = true
	return nil
}

func (y *system) Done(context.Context, string) error {
	maps.DeleteFunc(y.valid, func(v string, _ bool) bool { return v != y.last })
	return y.fails
}

func rotationWithHook(w *world) {
	s, ctx := w.open(), context.Background()
	w.set(s, "db", "one", Current)
	y := &system{valid: map[string]bool{"one": true}}
	w.rotators["db"] = y
	w.do(s.Define(ctx, []Definition{{Name: "db", Generate: "password", Rotate: time.Hour}}))
	counts := func() {
		w.t.Helper()
		if v := w.value(s, "db", Current); !y.valid[v] {
			w.t.Error("the current value doesn't count at its system")
		}
	}
	y.fails = errors.New("it doesn't answer")
	w.now = w.now.Add(time.Hour)
	if err := s.Maintain(ctx); !errors.Is(err, y.fails) {
		w.t.Errorf("got %v", err)
	}
	counts()
	w.do(s.Maintain(ctx)) // not again at once
	w.has(s, "db", Current, "one")
	y.fails = nil
	s = w.open() // killed in between
	w.do(s.Define(ctx, []Definition{{Name: "db", Generate: "password", Rotate: time.Hour}}))
	pending := w.value(s, "db", Pending)
	w.now = w.now.Add(retryAfter)
	w.do(s.Maintain(ctx))
	counts()
	w.has(s, "db", Current, pending)
	if !y.valid["one"] || y.tries != 2 {
		w.t.Errorf("the value before was taken away at once; %d tries", y.tries)
	}
	w.refused(s.Generate(ctx, "ann", "db"), fault.Conflict, "is valid until")
	w.now = w.now.Add(Overlap)
	w.do(s.Maintain(ctx))
	counts()
	if y.valid["one"] || len(y.valid) != 1 {
		w.t.Error("the value before still counts")
	}
	w.do(s.Generate(ctx, "ann", "db"))
	counts()
	if w.value(s, "db", Current) == pending || w.value(s, "db", Previous) != pending {
		w.t.Error("not rotated at a human's wish")
	}
	w.told()
	w.do(s.Maintain(ctx))
	if got := w.told(); got != nil {
		w.t.Errorf("nothing is due: %q", got)
	}
}

// meddler sets a pending version of its own while a rotation tries another.
type meddler struct{ set func() }

func (m meddler) Try(context.Context, string, secret.Bytes) error { m.set(); return nil }
func (m meddler) Done(context.Context, string) error              { return nil }

func rotationOvertaken(w *world) {
	s, ctx := w.open(), context.Background()
	w.set(s, "db", "one", Current)
	w.rotators["db"] = meddler{func() { w.set(s, "db", "by a human", Pending) }}
	w.refused(s.Generate(ctx, "ann", "db"), fault.Conflict, "changed meanwhile")
	w.has(s, "db", Current, "one")
	w.has(s, "db", Pending, "by a human")
}

func firstWithHook(w *world) {
	s, ctx := w.open(), context.Background()
	y := &system{valid: map[string]bool{}, fails: errors.New("it isn't up yet")}
	w.rotators["db"] = y
	w.do(s.Define(ctx, []Definition{{Name: "db", Generate: "password"}}))
	w.has(s, "db", Current, "")
	if err := s.Maintain(ctx); !errors.Is(err, y.fails) {
		w.t.Error(err)
	}
	w.has(s, "db", Current, "")
	y.fails = nil
	w.now = w.now.Add(retryAfter)
	w.do(s.Maintain(ctx))
	if v := w.value(s, "db", Current); !y.valid[v] {
		w.t.Error("the first value doesn't count at its system")
	}
	if info, _ := s.Info(ctx, "db"); info.Newest != 1 {
		w.t.Errorf("%+v", info)
	}
}

func rotationAndHumans(w *world) {
	s, ctx := w.open(), context.Background()
	w.do(s.Define(ctx, []Definition{{Name: "gen", Generate: "password", Rotate: time.Hour}}))
	w.set(s, "gen", "prepared", Pending)
	w.now = w.now.Add(time.Hour)
	if err := s.Maintain(ctx); fault.KindOf(err) != fault.Conflict {
		w.t.Errorf("got %v", err)
	}
	w.has(s, "gen", Pending, "prepared")
	w.do(s.Promote(ctx, "ann", "gen"))
	w.now = w.now.Add(time.Hour)
	w.do(s.Maintain(ctx))
	w.has(s, "gen", Previous, "prepared")
}

func importing(w *world) {
	s, ctx := w.open(), context.Background()
	w.do(s.Define(ctx, []Definition{{Name: "stripe-key"}}))
	w.set(s, "old", "stays", Current)
	env := []byte("STRIPE_KEY=sk_1\nexport DB.URL='postgres://x'\nEMPTY=\nold=other\n")
	got, err := s.Import(ctx, "ann", wire.SecretsImport{Dotenv: env})
	w.do(err)
	want := wire.SecretsImported{Secrets: []wire.SecretImported{
		{Variable: "STRIPE_KEY", Name: "stripe-key", Version: 1, Declared: true}, {Variable: "DB.URL", Name: "db-url", Version: 1}, {Variable: "old", Name: "old", Version: 1, Kept: true},
	}}
	if d := cmp.Diff(want, got); d != "" {
		w.t.Error(d)
	}
	w.has(s, "stripe-key", Current, "sk_1")
	w.has(s, "old", Current, "stays")
	w.told()
	_, err = s.Import(ctx, "ann", wire.SecretsImport{Dotenv: env, Replace: true})
	w.do(err)
	w.has(s, "old", Current, "other")
	for name, bad := range map[string]string{"a line": "A=1\nhunter2", "a name": "A=1\n_X=hunter2", "one name for two": "A_B=1\na-b=hunter2"} {
		if _, err := s.Import(ctx, "ann", wire.SecretsImport{Dotenv: []byte("FRESH=1\n" + bad)}); fault.KindOf(err) != fault.Invalid {
			w.t.Errorf("%s: %v", name, err)
		}
	}
	w.do(s.Delete(ctx, "ann", "old"))
	_, err = s.Import(ctx, "ann", wire.SecretsImport{Dotenv: []byte("FRESH=1\nOLD=2")})
	w.refused(err, fault.Conflict, "deleted")
	if _, err := s.Info(ctx, "fresh"); err == nil {
		w.t.Error("a part of an import that failed was taken")
	}
}
