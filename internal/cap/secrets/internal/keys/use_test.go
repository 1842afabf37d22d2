package keys

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/base/jose"
	"github.com/wardhq/ward/internal/base/secret"
	"github.com/wardhq/ward/internal/store"
	"github.com/wardhq/ward/sdk/seal/envelope"
)

// defineAll makes one key of each purpose but the slow one, called as the purpose.
func defineAll(w *world, r *Ring) {
	w.Helper()
	w.do(r.Define(w.Context(), []Definition{
		{Name: "encrypt", Purpose: Encrypt}, {Name: "lookup", Purpose: Lookup}, {Name: "mac", Purpose: MAC}, {Name: "es", Purpose: ES256}, {Name: "ed", Purpose: EdDSA},
	}))
}

func TestEachPurposeServesItsOperationsAndSurvivesARestart(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		ctx := t.Context()
		r := w.open()
		defineAll(w, r)
		w.do(r.Define(ctx, []Definition{{Name: "rs", Purpose: RS256}}))
		plain, owned := w.encrypt(r, "encrypt", "", "a street"), w.encrypt(r, "encrypt", "ann", "ann's street")
		look := w.encrypt(r, "lookup", "", "ann@example.com")
		if !bytes.Equal(look, w.encrypt(r, "lookup", "", "ann@example.com")) {
			t.Error("equal values aren't equal as lookups")
		}
		mac, err := r.MAC(ctx, orders, "mac", Item{Context: address, Data: []byte("m")})
		w.do(err)
		signed := map[string]Signed{}
		for _, name := range []string{"es", "ed", "rs"} {
			signed[name], err = r.Sign(ctx, orders, name, []byte("m"))
			w.do(err)
		}
		d, err := r.DataKey(ctx, orders, "encrypt", "ann")
		w.do(err)
		issued, err := d.Seal(envelope.Context{Service: "orders", Class: "addresses", Table: "t"}, []byte("by the service"))
		w.do(err)

		r = w.restart()
		w.decrypts(r, "encrypt", "", plain, "a street")
		w.decrypts(r, "encrypt", "ann", owned, "ann's street")
		w.decrypts(r, "lookup", "", look, "ann@example.com")
		if ok, err := r.VerifyMAC(ctx, orders, "mac", Item{Context: address, Data: []byte("m")}, mac); !ok || err != nil {
			t.Errorf("mac: %v, %v", ok, err)
		}
		for name, s := range signed {
			if ok, err := r.Verify(ctx, orders, name, []byte("m"), s); !ok || err != nil {
				t.Errorf("%s: %v, %v", name, ok, err)
			}
			if ok, err := r.Verify(ctx, orders, name, []byte("M"), s); ok || err != nil {
				t.Errorf("%s of another message: %v, %v", name, ok, err)
			}
			set, err := r.Public(ctx, name)
			w.do(err)
			if keys, err := jose.ParseKeySet(set); err != nil || keys.Len() != 1 {
				t.Errorf("%s: %v, %v", name, keys, err)
			} else if _, ok := keys.Find(s.KeyID, jose.Alg(s.Algorithm)); !ok {
				t.Errorf("%s: the set %s lacks the key", name, set)
			}
		}
		again, err := r.OpenDataKey(ctx, orders, "encrypt", d.Header(), "ann")
		w.do(err)
		if got, err := again.Open(envelope.Context{Service: "orders", Class: "addresses", Table: "t"}, issued); err != nil || string(got) != "by the service" {
			t.Errorf("%q, %v", got, err)
		}
		keys, err := r.LookupKeys(ctx, orders, "lookup")
		w.do(err)
		id, err := envelope.ParseKeyID(keys[0].KeyID)
		w.do(err)
		l, err := envelope.NewLookupKey(id, keys[0].Key)
		w.do(err)
		noRow := address
		noRow.Row, noRow.Service = "", "orders"
		if got, err := l.Open(noRow, look); err != nil || string(got) != "ann@example.com" {
			t.Errorf("a service's lookup key: %q, %v", got, err)
		}
	})
}

func TestWrongUsesAreRefused(t *testing.T) {
	w := newWorld(t)
	ctx, r := t.Context(), w.open()
	defineAll(w, r)
	plain, owned, look := w.encrypt(r, "encrypt", "", "x"), w.encrypt(r, "encrypt", "ann", "x"), w.encrypt(r, "lookup", "", "x")
	w.do(r.Define(ctx, []Definition{{Name: "other", Purpose: Encrypt}}))
	d, err := r.DataKey(ctx, orders, "encrypt", "ann")
	w.do(err)
	w.decrypts(r, "encrypt", "ann", owned, "x") // so that its data key is remembered
	w.do(second(r.OpenDataKey(ctx, orders, "encrypt", d.Header(), "ann")))
	decrypt := func(name, owner string, c envelope.Context, sealed []byte) error {
		_, err := one(r.Decrypt(ctx, orders, name, []Item{{Context: c, Owner: owner, Data: sealed}}))
		return err
	}
	encrypt := func(name, owner string, c envelope.Context) error {
		_, err := one(r.Encrypt(ctx, orders, name, []Item{{Context: c, Owner: owner, Data: []byte("x")}}))
		return err
	}
	other := func(change func(*envelope.Context)) envelope.Context { c := address; change(&c); return c }
	noRow := other(func(c *envelope.Context) { c.Row = "" })
	for name, c := range map[string]struct {
		err  error
		kind fault.Kind
	}{
		"another service's":           {decrypt("encrypt", "", other(func(c *envelope.Context) { c.Service = "web" }), plain), fault.Refused},
		"another class":               {decrypt("encrypt", "", other(func(c *envelope.Context) { c.Class = "cards" }), plain), fault.Refused},
		"another tenant":              {decrypt("encrypt", "", other(func(c *envelope.Context) { c.Tenant = "t" }), plain), fault.Refused},
		"another table":               {decrypt("encrypt", "", other(func(c *envelope.Context) { c.Table = "t" }), plain), fault.Refused},
		"another column":              {decrypt("encrypt", "", other(func(c *envelope.Context) { c.Column = "t" }), plain), fault.Refused},
		"another row":                 {decrypt("encrypt", "", other(func(c *envelope.Context) { c.Row = "8" }), plain), fault.Refused},
		"an owner's as nobody's":      {decrypt("encrypt", "", address, owned), fault.Refused},
		"nobody's as an owner's":      {decrypt("encrypt", "ann", address, plain), fault.Refused},
		"another owner's, remembered": {decrypt("encrypt", "bob", address, owned), fault.Refused},
		"another key's":               {decrypt("other", "", address, plain), fault.Refused},
		"a lookup as a message":       {decrypt("encrypt", "", noRow, look), fault.Refused},
		"a message as a lookup":       {decrypt("lookup", "", noRow, plain), fault.Refused},
		"nothing":                     {decrypt("encrypt", "", address, nil), fault.Refused},
		"a changed bit":               {decrypt("encrypt", "", address, append(bytes.Clone(plain[:len(plain)-1]), plain[len(plain)-1]^1)), fault.Refused},
		"an unknown version":          {decrypt("encrypt", "", address, append(append(bytes.Clone(plain[:4]), make([]byte, 8)...), plain[12:]...)), fault.Refused},
		"no class":                    {encrypt("encrypt", "", envelope.Context{Table: "t"}), fault.Invalid},
		"no place":                    {encrypt("encrypt", "", envelope.Context{Class: "c"}), fault.Invalid},
		"no place, to decrypt":        {decrypt("encrypt", "", envelope.Context{Class: "c"}, plain), fault.Invalid},
		"a lookup with a row":         {encrypt("lookup", "", address), fault.Invalid},
		"a lookup with an owner":      {encrypt("lookup", "ann", noRow), fault.Invalid},
		"an endless owner":            {encrypt("encrypt", strings.Repeat("x", 1025), address), fault.Invalid},
		"encrypt with a signing key":  {encrypt("es", "", address), fault.Invalid},
		"encrypt with a MAC key":      {encrypt("mac", "", address), fault.Invalid},
		"decrypt with a MAC key":      {decrypt("mac", "", address, plain), fault.Invalid},
		"no key":                      {encrypt("none", "", address), fault.NotFound},
		"sign with encrypt":           {second(r.Sign(ctx, orders, "encrypt", nil)), fault.Invalid},
		"verify with mac":             {second(r.Verify(ctx, orders, "mac", nil, Signed{KeyID: "0123456789abcdef"})), fault.Invalid},
		"verify without key ID":       {second(r.Verify(ctx, orders, "es", nil, Signed{})), fault.Invalid},
		"mac with lookup":             {second(r.MAC(ctx, orders, "lookup", Item{Context: address})), fault.Invalid},
		"mac without class":           {second(r.MAC(ctx, orders, "mac", Item{})), fault.Invalid},
		"verify mac with sign":        {second(r.VerifyMAC(ctx, orders, "es", Item{Context: address}, nil)), fault.Invalid},
		"data key of a lookup":        {second(r.DataKey(ctx, orders, "lookup", "")), fault.Invalid},
		"lookup keys of encrypt":      {second(r.LookupKeys(ctx, orders, "encrypt")), fault.Invalid},
		"key set of encrypt":          {second(r.Public(ctx, "encrypt")), fault.Invalid},
		"data key of another owner":   {second(r.OpenDataKey(ctx, orders, "encrypt", d.Header(), "bob")), fault.Refused},
		"data key of nobody":          {second(r.OpenDataKey(ctx, orders, "encrypt", d.Header(), "")), fault.Refused},
		"data key with a tail":        {second(r.OpenDataKey(ctx, orders, "encrypt", append(d.Header(), 0), "ann")), fault.Refused},
		"data key of another key":     {second(r.OpenDataKey(ctx, orders, "other", d.Header(), "ann")), fault.Refused},
		"shred without owner":         {r.Shred(ctx, "encrypt", ""), fault.Invalid},
		"shred under a lookup key":    {r.Shred(ctx, "lookup", "ann"), fault.Invalid},
		"shred an endless owner":      {r.Shred(ctx, "encrypt", strings.Repeat("x", 1025)), fault.Invalid},
		"data key of an endless one":  {second(r.DataKey(ctx, orders, "encrypt", strings.Repeat("x", 1025))), fault.Invalid},
		"readmit who wasn't shredded": {r.Readmit(ctx, "encrypt", "ann"), fault.NotFound},
	} {
		if fault.KindOf(c.err) != c.kind || c.err == nil {
			t.Errorf("%s: %v (%s), want %s", name, c.err, fault.KindOf(c.err), c.kind)
		}
		if c.kind == fault.Refused && fault.PublicText(c.err) != "it can't be decrypted" {
			t.Errorf("%s says why: %v", name, c.err)
		}
	}
}

func second[T any](_ T, err error) error { return err }

func TestAServiceEncryptsInItsOwnName(t *testing.T) {
	w := newWorld(t)
	ctx, r := t.Context(), w.open()
	defineAll(w, r)
	forged := address
	forged.Service = "web"
	sealed, err := one(r.Encrypt(ctx, orders, "encrypt", []Item{{Context: forged}}))
	w.do(err)
	mac, err := r.MAC(ctx, orders, "mac", Item{Context: forged})
	w.do(err)
	for service, want := range map[string]bool{"web": false, "orders": true, "": true} {
		c := address
		c.Service = service
		if _, err := one(r.Decrypt(ctx, orders, "encrypt", []Item{{Context: c, Data: sealed}})); (err == nil) != want {
			t.Errorf("opens as %q: %v", service, err)
		}
		if ok, err := r.VerifyMAC(ctx, orders, "mac", Item{Context: c}, mac); ok != want || err != nil {
			t.Errorf("verifies as %q: %v, %v", service, ok, err)
		}
	}
	// What orders encrypted, another service may open by saying whose it is.
	c := address
	c.Service = "orders"
	if _, err := one(r.Decrypt(ctx, Caller{Service: "web"}, "encrypt", []Item{{Context: c, Data: sealed}})); err != nil {
		t.Error(err)
	}
}

func TestABadItemSpoilsNoOther(t *testing.T) {
	w := newWorld(t)
	r := w.open()
	w.define(r, "k", Encrypt)
	sealed := w.encrypt(r, "k", "", "x")
	out, err := r.Decrypt(t.Context(), orders, "k", []Item{{Context: address, Data: sealed}, {Context: address, Data: sealed[1:]}, {Context: envelope.Context{}, Data: sealed}, {Context: address, Data: sealed}})
	w.do(err)
	for i, want := range []string{"x", "", "", "x"} {
		if string(out[i].Data) != want || (out[i].Err == nil) != (want != "") {
			t.Errorf("item %d: %q, %v", i, out[i].Data, out[i].Err)
		}
	}
	if w.recorded("k", OpDecrypt) != 2 || w.recorded("k", OpDecrypt.refused()) != 2 {
		t.Errorf("recorded %+v", w.uses)
	}
}

// TestNoResultWithoutRecord lets the record, and then the database, fail.
func TestNoResultWithoutRecord(t *testing.T) {
	w := newWorld(t)
	ctx, r := t.Context(), w.open()
	defineAll(w, r)
	sealed := w.encrypt(r, "encrypt", "", "x")
	mac, err := r.MAC(ctx, orders, "mac", Item{Context: address})
	w.do(err)
	for _, name := range []string{"es", "lookup"} {
		w.do(r.Rotate(ctx, name, true))
	}
	all := func(name string) {
		t.Helper()
		noRow := address
		noRow.Row = ""
		for op, got := range map[string]func() (any, error){
			"encrypt": func() (any, error) { return r.Encrypt(ctx, orders, "encrypt", []Item{{Context: address}}) },
			"decrypt": func() (any, error) {
				return r.Decrypt(ctx, orders, "encrypt", []Item{{Context: address, Data: sealed}})
			},
			"rewrap":      func() (any, error) { return r.Rewrap(ctx, orders, "encrypt", []Item{{Context: address, Data: sealed}}) },
			"data key":    func() (any, error) { return r.DataKey(ctx, orders, "encrypt", "") },
			"open":        func() (any, error) { return r.OpenDataKey(ctx, orders, "encrypt", sealed[:envelope.HeaderSize], "") },
			"lookup keys": func() (any, error) { return r.LookupKeys(ctx, orders, "lookup") },
			"sign":        func() (any, error) { return r.Sign(ctx, orders, "es", nil) },
			"mac":         func() (any, error) { return r.MAC(ctx, orders, "mac", Item{Context: address}) },
			"verify mac":  func() (any, error) { return r.VerifyMAC(ctx, orders, "mac", Item{Context: address}, mac) },
			"lookup":      func() (any, error) { return r.Encrypt(ctx, orders, "lookup", []Item{{Context: noRow}}) },
		} {
			v, err := got()
			if err == nil {
				t.Errorf("%s: %s gave no error", name, op)
			}
			switch v := v.(type) {
			case []Result:
				if v != nil {
					t.Errorf("%s: %s gave %v", name, op, v)
				}
			case *envelope.DataKey:
				if v != nil {
					t.Errorf("%s: %s gave a key", name, op)
				}
			case []LookupKey:
				if v != nil {
					t.Errorf("%s: %s gave keys", name, op)
				}
			case Signed:
				if v.Signature != nil {
					t.Errorf("%s: %s gave a signature", name, op)
				}
			case []byte:
				if v != nil {
					t.Errorf("%s: %s gave a MAC", name, op)
				}
			case bool:
				if v {
					t.Errorf("%s: %s said yes", name, op)
				}
			}
		}
	}
	w.fail = errors.New("the ledger is full")
	all("record fails")
	w.fail = nil
	w.do(w.db.Close())
	all("store is closed")
	w.connect()
}

// TestOneCommitForAllWhoWait holds the commit of a first use while 32 others come.
func TestOneCommitForAllWhoWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hold, calls := make(chan struct{}), 0
		var counts []int64
		c := newCounter(func(_ context.Context, g *group) error {
			calls++
			var n int64
			for _, u := range g.sorted() {
				n += u.Count
			}
			counts = append(counts, n)
			<-hold
			return nil
		})
		k := &key{name: "k"}
		v := &version{}
		var all sync.WaitGroup
		add := func() {
			all.Go(func() {
				if err := c.add(context.Background(), &tally{key: k, version: v, caller: orders, op: OpDecrypt, done: 1}); err != nil {
					t.Error(err)
				}
			})
		}
		add()
		synctest.Wait()
		for range 32 {
			add()
		}
		synctest.Wait()
		close(hold)
		all.Wait()
		if calls != 2 || counts[0] != 1 || counts[1] != 32 {
			t.Errorf("%d commits of %v", calls, counts)
		}
	})
}

func TestConcurrentUsesAreCountedExactly(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		rings := []*Ring{w.open(), w.open()} // replicas
		w.define(rings[0], "k", Encrypt)
		const callers, each = 16, 12
		var all sync.WaitGroup
		for i := range callers {
			all.Go(func() {
				r := rings[i%len(rings)]
				owner := []string{"", "ann", "bob"}[i%3]
				for range each {
					sealed, err := one(r.Encrypt(t.Context(), orders, "k", []Item{{Context: address, Owner: owner, Data: []byte("x")}}))
					if err != nil {
						t.Error(err)
						return
					}
					if _, err := w.decrypt(rings[(i+1)%len(rings)], "k", owner, sealed); err != nil {
						t.Error(err)
					}
				}
			})
		}
		all.Wait()
		k, err := w.restart().Get(t.Context(), "k")
		w.do(err)
		got := map[string]int64{}
		for _, u := range k.Uses {
			got[u.Op] = u.Count
		}
		if got["encrypt"] != callers*each || got["decrypt"] != callers*each || len(got) != 2 {
			t.Errorf("the database counts %v", got)
		}
		if len(k.Versions) != 1 || k.Versions[0].Messages != callers*each {
			t.Errorf("%+v", k.Versions)
		}
		if e, d := w.recorded("k", OpEncrypt), w.recorded("k", OpDecrypt); e != callers*each || d != callers*each {
			t.Errorf("recorded %d and %d", e, d)
		}
	})
}

// TestNothingSecretIsInTheDatabaseOrTheRecord looks for the material of everything.
func TestNothingSecretIsInTheDatabaseOrTheRecord(t *testing.T) {
	w := newWorld(t)
	ctx, r := t.Context(), w.open()
	defineAll(w, r)
	d, err := r.DataKey(ctx, orders, "encrypt", "ann@example.com")
	w.do(err)
	look, err := r.LookupKeys(ctx, orders, "lookup")
	w.do(err)
	mine := random()
	w.do(r.Import(ctx, "mac", secret.New(bytes.Clone(mine))))
	_, err = r.MAC(ctx, orders, "mac", Item{Context: address})
	w.do(err)
	k, _ := r.loaded.get("encrypt")
	var dump []byte
	w.do(w.db.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		for _, q := range []string{"SELECT kek FROM keys_key", "SELECT sealed FROM keys_version", "SELECT sealed FROM keys_owner", "SELECT owner FROM keys_owner", "SELECT name FROM keys_owner"} {
			rows, err := tx.Query(ctx, q)
			if err != nil {
				return err
			}
			for rows.Next() {
				var b []byte
				if err := rows.Scan(&b); err != nil {
					return err
				}
				dump = append(dump, b...)
			}
		}
		return nil
	}))
	if len(dump) < 500 {
		t.Fatalf("only %d bytes were found", len(dump))
	}
	for name, b := range map[string][]byte{"data key": d.Reveal(), "lookup key": look[0].Key.Reveal(), "kek": k.kek.Reveal(), "imported": mine, "owner": []byte("ann@example.com")} {
		if bytes.Contains(dump, b) {
			t.Errorf("the %s is in the database", name)
		}
	}
	for _, u := range w.uses {
		if u.Class == "7" || u.Column == "7" || u.Table == "7" {
			t.Errorf("a row is recorded: %+v", u)
		}
	}
}

func TestMovedMaterialIsRefused(t *testing.T) {
	for name, change := range map[string]string{
		"kek of another key":      "UPDATE keys_key SET kek = (SELECT kek FROM keys_key WHERE name = 'b') WHERE name = 'a'",
		"another purpose":         "UPDATE keys_key SET purpose = 'lookup' WHERE name = 'a'",
		"version of another":      "UPDATE keys_version SET sealed = (SELECT sealed FROM keys_version WHERE name = 'b') WHERE name = 'a'",
		"another number":          "UPDATE keys_version SET number = 2 WHERE name = 'a'",
		"another ID":              "UPDATE keys_version SET id = x'0102030405060708' WHERE name = 'a'",
		"owner's key of another":  "UPDATE keys_owner SET sealed = (SELECT sealed FROM keys_owner WHERE name = 'b') WHERE name = 'a'",
		"another hash of owner's": "UPDATE keys_owner SET owner = (SELECT owner FROM keys_owner WHERE name = 'b') WHERE name = 'a'",
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			r := w.open()
			for _, n := range []string{"a", "b"} {
				w.define(r, n, Encrypt)
				w.encrypt(r, n, "ann", "x")
			}
			sealed := w.encrypt(r, "a", "ann", "x")
			w.do(w.db.Write(t.Context(), func(ctx context.Context, tx *store.Tx) error {
				_, err := tx.Exec(ctx, change)
				return err
			}))
			r = w.restart()
			if got, err := w.decrypt(r, "a", "ann", sealed); err == nil {
				t.Errorf("decrypted %q", got)
			}
			if got, err := r.LookupKeys(t.Context(), orders, "a"); err == nil {
				t.Errorf("gave the key of an encryption away: %v", got)
			}
		})
	}
}

func TestAnotherRootOpensNothing(t *testing.T) {
	w := newWorld(t)
	r := w.open()
	w.define(r, "k", Encrypt)
	sealed := w.encrypt(r, "k", "", "x")
	old := w.root
	w.root = secret.New(bytes.Repeat([]byte{8}, 32))
	if _, err := w.decrypt(w.restart(), "k", "", sealed); err == nil {
		t.Fatal("opened")
	}
	next := w.root
	w.root = old
	r = w.restart()
	w.define(r, "unused", MAC)
	w.do(r.Reseal(t.Context(), next))
	w.decrypts(r, "k", "", sealed, "x")
	r = w.restart() // after a crash between it and what else is sealed, it is done again
	w.do(r.Reseal(t.Context(), next))
	w.decrypts(r, "k", "", sealed, "x")
	w.root = next
	w.decrypts(w.restart(), "k", "", sealed, "x")
	w.root = old
	if _, err := w.decrypt(w.restart(), "k", "", sealed); err == nil {
		t.Error("the old root still opens")
	}
}

func TestADataKeyServesOnlyForItsTimeAndUses(t *testing.T) {
	w := newWorld(t)
	r := w.open()
	w.define(r, "k", Encrypt)
	header := func() string { return string(w.encrypt(r, "k", "", "x")[:envelope.HeaderSize]) }
	first := header()
	if header() != first {
		t.Error("each message has its own data key")
	}
	w.pass(sealerAge)
	next := header()
	if next == first {
		t.Error("a data key is used for more than its time")
	}
	k, _ := r.loaded.get("k")
	s, _ := k.sealers.get("")
	s.uses.Store(1)
	if header() != next || header() == next {
		t.Error("a data key is used for more than its messages")
	}
	s, _ = k.sealers.get("")
	s.bytes.Store(0)
	last := header()
	if string(s.key.Header()) == last {
		t.Error("a data key is used for more than its bytes")
	}
	if got, err := r.Get(t.Context(), "k"); err != nil || got.Versions[0].DataKeys != 4 {
		t.Errorf("%+v, %v", got, err)
	}
}
