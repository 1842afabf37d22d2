package keys

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/hex"
	"testing"
	"time"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/base/jose"
	"github.com/wardhq/ward/internal/base/secret"
	"github.com/wardhq/ward/internal/store"
	"github.com/wardhq/ward/internal/wire"
	"github.com/wardhq/ward/sdk/seal/envelope"
)

const oneDay = 24 * time.Hour

func TestDefine(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		ctx, r := t.Context(), w.open()
		w.do(r.Define(ctx, []Definition{{Name: "a", Purpose: Encrypt}, {Name: "b", Purpose: Lookup}, {Name: "a", Purpose: Encrypt}}))
		sealed := w.encrypt(r, "a", "", "x")
		w.refused(r.Define(ctx, []Definition{{Name: "c", Purpose: Encrypt}, {Name: "a", Purpose: Lookup}}), fault.Conflict)
		w.refused(second(r.Get(ctx, "c")), fault.NotFound)
		for _, bad := range []Definition{{Purpose: Encrypt}, {Name: "x"}, {Name: "x", Purpose: "none"}, {Name: "x", Purpose: Encrypt, Rotate: -1}} {
			w.refused(r.Define(ctx, []Definition{bad}), fault.Invalid)
		}
		w.do(r.Define(ctx, []Definition{{Name: "a", Purpose: Encrypt, Rotate: 10 * oneDay}})) // b isn't named any more, and stays
		all, err := r.List(ctx, "")
		w.do(err)
		if len(all) != 2 || all[0].RotateSeconds != int64(10*oneDay/time.Second) || all[1].RotateSeconds != 0 || all[0].State != wire.KeyEnabled {
			t.Errorf("%+v", all)
		}
		if rest, err := r.List(ctx, "a"); err != nil || len(rest) != 1 || rest[0].Name != "b" {
			t.Errorf("%+v, %v", rest, err)
		}
		w.decrypts(r, "a", "", sealed, "x")
		if w.recorded("a", OpCreate) != 1 || w.recorded("a", OpTune) != 1 {
			t.Errorf("%+v", w.uses)
		}
	})
}

func TestRotationByAge(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		ctx, r := t.Context(), w.open()
		defineAll(w, r)
		w.do(r.Define(ctx, []Definition{{Name: "mine", Purpose: Encrypt}, {Name: "unused", Purpose: Encrypt}}))
		w.do(r.Import(ctx, "mine", secret.New(random())))
		first, look := w.encrypt(r, "encrypt", "ann", "x"), w.encrypt(r, "lookup", "", "x")
		sign := func() Signed {
			s, err := r.Sign(ctx, orders, "es", []byte("m"))
			w.do(err)
			return s
		}
		before := sign()
		w.pass(90*oneDay - maxAhead)
		w.do(r.Maintain(ctx))
		if k, err := r.Get(ctx, "encrypt"); err != nil || len(k.Versions) != 1 {
			t.Errorf("rotated too early: %+v, %v", k, err)
		}
		old, err := r.Public(ctx, "es")
		w.do(err)
		if sign().KeyID != before.KeyID {
			t.Error("a key signs before it was published for a day")
		}
		w.pass(maxAhead)
		w.do(r.Maintain(ctx))
		w.do(r.Maintain(ctx))
		after := sign()
		if set, err := jose.ParseKeySet(old); err != nil || set.Len() != 2 || after.KeyID == before.KeyID {
			t.Errorf("%v, %v; signs with %s", set, err, after.KeyID)
		} else if _, ok := set.Find(after.KeyID, jose.ES256); !ok {
			t.Error("a verifier's copy of a day doesn't have the key that signs")
		}
		for name, want := range map[string]int64{"encrypt": 2, "lookup": 1, "es": 2, "mine": 1, "unused": 0} {
			if n := w.version(r, name); n != want {
				t.Errorf("%s is at version %d, want %d", name, n, want)
			}
		}
		w.decrypts(r, "encrypt", "ann", first, "x")
		w.decrypts(r, "lookup", "", look, "x")
		if ok, err := r.Verify(ctx, orders, "es", []byte("m"), before); !ok || err != nil {
			t.Errorf("%v, %v", ok, err)
		}
		again, err := one(r.Rewrap(ctx, orders, "encrypt", []Item{{Context: address, Owner: "ann", Data: first}}))
		w.do(err)
		if in, err := envelope.Inspect(again); err != nil || bytes.Equal(again[:12], first[:12]) || !in.Owned {
			t.Errorf("%+v, %v", in, err)
		}
		w.do(r.SetMinVersion(ctx, "encrypt", 2))
		w.decrypts(r, "encrypt", "ann", again, "x")
		w.refused(second(w.decrypt(r, "encrypt", "ann", first)), fault.Refused)
		w.do(r.SetMinVersion(ctx, "es", 2))
		if ok, err := r.Verify(ctx, orders, "es", []byte("m"), before); ok || err != nil {
			t.Errorf("verified by a retired version: %v", err)
		}
		if set, err := r.Public(ctx, "es"); err != nil || bytes.Contains(set, []byte(before.KeyID)) || !bytes.Contains(set, []byte(after.KeyID)) {
			t.Errorf("%s, %v", set, err)
		}
		w.do(r.Rotate(ctx, "lookup", false))
		w.do(r.Rotate(ctx, "lookup", false))
		w.do(r.Disable(ctx, "lookup", 2))
		if all, err := r.LookupKeys(ctx, orders, "lookup"); err != nil || len(all) != 2 || all[1].KeyID != hex.EncodeToString(look[4:12]) {
			t.Errorf("%v, %v", all, err)
		}
		same, err := one(r.Rewrap(ctx, orders, "encrypt", []Item{{Context: address, Owner: "ann", Data: again}}))
		if err != nil || !bytes.Equal(same, again) {
			t.Errorf("what is current was rewrapped: %v", err)
		}
	})
}

func TestRotationByBudget(t *testing.T) {
	for name, c := range map[string]struct {
		budget Budget
		use    func(w *world, r *Ring) error
		fits   int // uses of one version
	}{
		"data keys": {Budget{DataKeys: 3, Messages: 1 << 40, Bytes: 1 << 60}, func(w *world, r *Ring) error { return second(r.DataKey(w.Context(), orders, "k", "")) }, 3},
		"messages":  {Budget{DataKeys: 100, Messages: 5, Bytes: 1 << 60}, func(w *world, r *Ring) error { w.encrypt(r, "k", "", "x"); return nil }, 5},
		"bytes":     {Budget{DataKeys: 100, Messages: 1 << 40, Bytes: 40}, func(w *world, r *Ring) error { w.encrypt(r, "k", "", "0123456789"); return nil }, 4},
		"issued ones count in full": {
			Budget{DataKeys: 100, Messages: 2 * MaxUses, Bytes: 1 << 60},
			func(w *world, r *Ring) error { return second(r.DataKey(w.Context(), orders, "k", "ann")) }, 2,
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.budget = c.budget
			r := w.open()
			w.define(r, "k", Encrypt)
			for i := range 3 * c.fits {
				w.do(c.use(w, r))
				if got, want := w.version(r, "k"), int64(i/c.fits+1); got != want {
					t.Fatalf("use %d is of version %d, want %d", i+1, got, want)
				}
				if i%3 != 1 {
					r = w.restart() // each count is durable, so that a crash never forgets one
				}
			}
		})
	}
}

func TestDisable(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		ctx, r, replica := t.Context(), w.open(), w.open()
		w.define(r, "k", Encrypt)
		first := w.encrypt(r, "k", "", "x")
		w.do(r.Rotate(ctx, "k", false))
		next := w.encrypt(r, "k", "", "x")
		w.decrypts(replica, "k", "", first, "x")

		w.do(r.Disable(ctx, "k", 0))
		for _, r := range []*Ring{r, replica} {
			w.refused(second(w.decrypt(r, "k", "", first)), fault.Refused)
			w.refused(second(r.DataKey(ctx, orders, "k", "")), fault.Refused)
		}
		w.refused(r.Rotate(ctx, "k", false), fault.Refused)
		w.do(r.Enable(ctx, "k", 0))
		w.decrypts(replica, "k", "", first, "x")

		w.do(r.Disable(ctx, "k", 2))
		w.refused(second(w.decrypt(replica, "k", "", next)), fault.Refused)
		w.decrypts(replica, "k", "", first, "x")
		w.encrypt(replica, "k", "", "y")
		if n := w.version(r, "k"); n != 3 {
			t.Errorf("version %d encrypts after 2 was disabled", n)
		}
		w.do(r.Enable(ctx, "k", 2))
		w.decrypts(r, "k", "", next, "x")
		w.refused(r.Disable(ctx, "k", 9), fault.NotFound)
		w.refused(r.SetMinVersion(ctx, "k", 4), fault.Invalid)
		w.refused(r.SetMinVersion(ctx, "k", 0), fault.Invalid)
	})
}

// TestARefusalCountsForWhatIsUnderWay changes the key between what a use has done and its commit.
func TestARefusalCountsForWhatIsUnderWay(t *testing.T) {
	for name, change := range map[string]func(context.Context, *Ring) error{
		"disable": func(ctx context.Context, r *Ring) error { return r.Disable(ctx, "k", 0) },
		"delete":  func(ctx context.Context, r *Ring) error { return second(r.ScheduleDeletion(ctx, "k", 0)) },
		"shred":   func(ctx context.Context, r *Ring) error { return r.Shred(ctx, "k", "ann") },
		"min":     func(ctx context.Context, r *Ring) error { return r.SetMinVersion(ctx, "k", 2) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			ctx, r, replica := t.Context(), w.open(), w.open()
			w.define(r, "k", Encrypt)
			sealed := w.encrypt(r, "k", "ann", "x")
			w.do(r.Rotate(ctx, "k", false))
			w.decrypts(r, "k", "ann", sealed, "x")
			before := w.recorded("k", OpDecrypt)
			commit := r.counter.commits
			r.counter.commits = func(ctx context.Context, g *group) error {
				r.counter.commits = commit
				w.do(change(ctx, replica))
				return commit(ctx, g)
			}
			w.refused(second(w.decrypt(r, "k", "ann", sealed)), fault.Refused)
			if got := w.recorded("k", OpDecrypt); got != before {
				t.Errorf("%d decryptions are recorded that nobody got", got-before)
			}
		})
	}
}

func TestDeletion(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		ctx, r := t.Context(), w.open()
		defineAll(w, r)
		sealed := w.encrypt(r, "encrypt", "ann", "x")
		w.do(second(r.DataKey(ctx, Caller{Service: "web"}, "encrypt", "bob")))
		for _, wait := range []time.Duration{-1, time.Hour, MinWait - 1, maxWait + 1} {
			w.refused(second(r.ScheduleDeletion(ctx, "encrypt", wait)), fault.Invalid)
		}
		k, err := r.Get(ctx, "encrypt")
		w.do(err)
		if l := k.Loss; l.DataKeys != 1 || l.Messages != 1 || l.Owners != 2 || len(l.Services) != 2 || !l.LastUse.Equal(w.now) {
			t.Errorf("%+v", l)
		}
		at, err := r.ScheduleDeletion(ctx, "encrypt", 0)
		w.do(err)
		if !at.Equal(w.now.Add(DefaultWait)) {
			t.Errorf("on %s", at)
		}
		w.refused(second(r.ScheduleDeletion(ctx, "encrypt", 0)), fault.Conflict)
		w.refused(second(w.decrypt(r, "encrypt", "ann", sealed)), fault.Refused)
		w.pass(DefaultWait - time.Second)
		w.do(r.Maintain(ctx))
		w.do(r.CancelDeletion(ctx, "encrypt"))
		w.decrypts(r, "encrypt", "ann", sealed, "x")
		w.refused(r.CancelDeletion(ctx, "encrypt"), fault.Conflict)

		w.do(second(r.ScheduleDeletion(ctx, "encrypt", MinWait)))
		w.pass(MinWait)
		w.do(r.Maintain(ctx))
		w.refused(second(w.decrypt(r, "encrypt", "ann", sealed)), fault.Refused)
		r = w.restart()
		w.refused(second(w.decrypt(r, "encrypt", "ann", sealed)), fault.Refused)
		w.refused(r.CancelDeletion(ctx, "encrypt"), fault.Conflict)
		w.refused(r.Rotate(ctx, "encrypt", false), fault.Refused)
		w.refused(r.Import(ctx, "encrypt", secret.New(random())), fault.Conflict)
		defineAll(w, r) // the plan still has it
		w.refused(second(r.DataKey(ctx, orders, "encrypt", "")), fault.Refused)
		if k, err = r.Get(ctx, "encrypt"); err != nil || k.State != wire.KeyDestroyed || k.Versions[0].State != wire.KeyDestroyed {
			t.Errorf("%+v, %v", k, err)
		}
		w.do(w.db.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
			var keks, versions, owners int
			w.do(tx.QueryRow(ctx, "SELECT count(kek) FROM keys_key WHERE name = 'encrypt'").Scan(&keks))
			w.do(tx.QueryRow(ctx, "SELECT count(sealed) FROM keys_version WHERE name = 'encrypt'").Scan(&versions))
			w.do(tx.QueryRow(ctx, "SELECT count(*) FROM keys_owner WHERE name = 'encrypt'").Scan(&owners))
			if keks+versions+owners != 0 {
				t.Errorf("left: %d keks, %d versions, %d owners", keks, versions, owners)
			}
			return nil
		}))
		w.encrypt(r, "lookup", "", "x") // the others work
	})
}

func TestShred(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		ctx, r, replica := t.Context(), w.open(), w.open()
		w.define(r, "k", Encrypt)
		w.define(r, "other", Encrypt)
		first, bob, other := w.encrypt(r, "k", "ann", "x"), w.encrypt(r, "k", "bob", "x"), w.encrypt(r, "other", "ann", "x")
		w.do(r.Rotate(ctx, "k", false))
		next := w.encrypt(r, "k", "ann", "x")
		w.decrypts(replica, "k", "ann", first, "x")
		w.decrypts(replica, "k", "ann", next, "x")
		header := first[:envelope.HeaderSize]

		w.do(r.Shred(ctx, "k", "ann"))
		w.do(r.Shred(ctx, "k", "ann"))
		gone := func(r *Ring) {
			t.Helper()
			for _, sealed := range [][]byte{first, next} {
				w.refused(second(w.decrypt(r, "k", "ann", sealed)), fault.Refused)
			}
			w.refused(second(r.OpenDataKey(ctx, orders, "k", header, "ann")), fault.Refused)
			w.refused(second(r.DataKey(ctx, orders, "k", "ann")), fault.Refused)
			w.refused(second(one(r.Encrypt(ctx, orders, "k", []Item{{Context: address, Owner: "ann"}}))), fault.Refused)
			w.decrypts(r, "k", "bob", bob, "x")
			w.decrypts(r, "other", "ann", other, "x")
		}
		gone(r)
		gone(replica)
		r = w.restart()
		gone(r)
		w.do(r.Readmit(ctx, "k", "ann"))
		again := w.encrypt(r, "k", "ann", "y")
		w.decrypts(r, "k", "ann", again, "y")
		for _, sealed := range [][]byte{first, next} {
			w.refused(second(w.decrypt(r, "k", "ann", sealed)), fault.Refused)
		}
		// An owner who was never seen can be shredded before.
		w.do(r.Disable(ctx, "k", 0))
		w.do(r.Shred(ctx, "k", "carl"))
		w.do(r.Enable(ctx, "k", 0))
		w.refused(second(r.DataKey(ctx, orders, "k", "carl")), fault.Refused)
	})
}

func TestImport(t *testing.T) {
	w := newWorld(t)
	ctx, r := t.Context(), w.open()
	defineAll(w, r)
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	w.do(err)
	wrong, err := x509.MarshalPKCS8PrivateKey(p384)
	w.do(err)
	right, err := generateSigner(ES256)
	w.do(err)
	for name, c := range map[string]struct {
		key   string
		plain []byte
	}{"short": {"encrypt", make([]byte, 31)}, "long": {"mac", make([]byte, 33)}, "none": {"lookup", nil}, "another curve": {"es", wrong}, "another algorithm": {"ed", bytes.Clone(right)}, "no DER": {"es", []byte("x")}} {
		if err := r.Import(ctx, c.key, secret.New(c.plain)); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	before := w.encrypt(r, "encrypt", "", "x")
	m := random()
	w.do(r.Import(ctx, "encrypt", secret.New(bytes.Clone(m))))
	sealed := w.encrypt(r, "encrypt", "", "y")
	k, err := r.Get(ctx, "encrypt")
	w.do(err)
	if v := k.Versions[1]; k.Current != 2 || !v.Imported || k.Versions[0].Imported || !k.NextRotation.IsZero() {
		t.Errorf("%+v", k)
	}
	w.decrypts(r, "encrypt", "", before, "x")
	// Who brought the key opens the message without Ward.
	mine, err := envelope.KeyFrom(m)
	w.do(err)
	in, err := envelope.Inspect(sealed)
	w.do(err)
	wrapper, err := envelope.NewWrapper(in.Key, "encrypt", "", mine)
	w.do(err)
	d, err := wrapper.Open(sealed[:envelope.HeaderSize])
	w.do(err)
	c := address
	c.Service = "orders"
	if got, err := d.Open(c, sealed); err != nil || string(got) != "y" {
		t.Errorf("%q, %v", got, err)
	}
	w.do(r.Import(ctx, "es", secret.New(right)))
	if !bytes.Equal(right, make([]byte, len(right))) {
		t.Error("imported material was left in memory")
	}
	s, err := r.Sign(ctx, orders, "es", []byte("m"))
	w.do(err)
	if ok, err := r.Verify(ctx, orders, "es", []byte("m"), s); !ok || err != nil {
		t.Errorf("%v, %v", ok, err)
	}
}

func TestASigningKeyRotatedByHand(t *testing.T) {
	w := newWorld(t)
	ctx, r := t.Context(), w.open()
	w.define(r, "es", ES256)
	sign := func() string {
		s, err := r.Sign(ctx, orders, "es", nil)
		w.do(err)
		return s.KeyID
	}
	first := sign()
	w.do(r.Rotate(ctx, "es", false))
	if sign() != first {
		t.Error("it signs before it was published for a day")
	}
	w.pass(maxAhead)
	next := sign()
	if next == first {
		t.Error("it doesn't sign after a day")
	}
	w.do(r.Rotate(ctx, "es", true))
	if sign() == next {
		t.Error("it doesn't sign at once")
	}
	// A published one doesn't help when the current one is disabled; another is made.
	w.do(r.Rotate(ctx, "es", false))
	w.do(r.Disable(ctx, "es", 3))
	sign()
	if k, err := r.Get(ctx, "es"); err != nil || k.Current != 5 || k.Versions[3].State != wire.KeyPublished || k.Versions[2].State != wire.KeyDisabled {
		t.Errorf("%+v, %v", k, err)
	}
}
