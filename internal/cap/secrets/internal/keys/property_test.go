package keys

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/wardhq/ward/internal/base/fault"
)

// oracle is what must be true of one key, by rules much simpler than the code.
type oracle struct {
	versions  int64 // made so far
	min       int64
	disabled  bool
	off       map[int64]bool // versions
	deleteAt  time.Time
	destroyed bool
	shredded  map[string]bool
	sealed    []*sealed

	encrypts, decrypts, refusals int64
}

// sealed is a ciphertext, and what became of it.
type sealed struct {
	data    []byte
	owner   string
	plain   string
	version int64
	lost    bool // its owner was shredded since
}

func (o *oracle) usable() bool { return !o.disabled && !o.destroyed && o.deleteAt.IsZero() }

func (o *oracle) opens(s *sealed) bool {
	return o.usable() && !s.lost && !o.shredded[s.owner] && !o.off[s.version] && s.version >= o.min
}

// touch is what any use of a usable key does first: a current version that may not be used is replaced.
func (o *oracle) touch() {
	if o.usable() && (o.versions == 0 || o.off[o.versions]) {
		o.versions++
	}
}

type life struct {
	w    *world
	rand *rand.Rand
	r    *Ring
	o    oracle
	log  []string
}

// TestLifeOfAKeyAgainstAnOracle does random steps, with a restart or another replica in between at any time.
func TestLifeOfAKeyAgainstAnOracle(t *testing.T) {
	for seed := range uint64(12) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			w := newWorld(t)
			l := &life{w: w, rand: rand.New(rand.NewPCG(seed, 4)), o: oracle{min: 1, off: map[int64]bool{}, shredded: map[string]bool{}}}
			l.r = w.open()
			w.define(l.r, "k", Encrypt)
			replica := w.open()
			for range 150 {
				switch l.rand.IntN(12) {
				case 0:
					l.r = w.restart()
					replica = w.open()
				case 1:
					l.r, replica = replica, l.r
				default:
					l.step(t)
				}
				if t.Failed() {
					t.Fatalf("after %q", l.log)
				}
			}
			if e, d, x := w.recorded("k", OpEncrypt), w.recorded("k", OpDecrypt), w.recorded("k", OpDecrypt.refused()); e != l.o.encrypts || d != l.o.decrypts || x != l.o.refusals {
				t.Errorf("recorded %d, %d and %d, the oracle has %d, %d and %d", e, d, x, l.o.encrypts, l.o.decrypts, l.o.refusals)
			}
		})
	}
}

func (l *life) step(t *testing.T) {
	ctx, o := t.Context(), &l.o
	owner := []string{"", "ann", "bob"}[l.rand.IntN(3)]
	number := 1 + l.rand.Int64N(max(1, o.versions))
	step := l.rand.IntN(30)
	l.log = append(l.log, fmt.Sprint(step, " ", owner, " ", number))
	outcome := func(what string, err error, want bool) {
		if (err == nil) != want {
			t.Errorf("%s: %v, want success: %v", what, err, want)
		}
	}
	switch {
	case step < 9:
		l.encrypt(t, owner)
	case step < 18 && len(o.sealed) > 0:
		l.decrypt(t, o.sealed[l.rand.IntN(len(o.sealed))])
	case step == 18:
		err := l.r.Rotate(ctx, "k", false)
		outcome("rotate", err, o.usable())
		if err == nil {
			o.versions++
		}
	case step == 19:
		outcome("disable", l.r.Disable(ctx, "k", 0), !o.destroyed)
		o.disabled = o.disabled || !o.destroyed
	case step <= 21:
		outcome("enable", l.r.Enable(ctx, "k", 0), !o.destroyed)
		o.disabled = o.disabled && o.destroyed
	case step == 22 && o.versions > 0:
		outcome("disable version", l.r.Disable(ctx, "k", number), !o.destroyed)
		o.off[number] = true
	case step == 23 && o.versions > 0:
		outcome("enable version", l.r.Enable(ctx, "k", number), !o.destroyed)
		delete(o.off, number)
	case step == 24:
		want := !o.destroyed && (number == 1 || number <= o.versions && !o.off[o.versions])
		outcome("min version", l.r.SetMinVersion(ctx, "k", number), want)
		if want {
			o.min = number
		}
	case step == 25 && owner != "":
		outcome("shred", l.r.Shred(ctx, "k", owner), !o.destroyed)
		if o.destroyed {
			return
		}
		o.shredded[owner] = true
		for _, s := range o.sealed {
			s.lost = s.lost || s.owner == owner
		}
	case step == 26 && owner != "":
		outcome("readmit", l.r.Readmit(ctx, "k", owner), !o.destroyed && o.shredded[owner])
		delete(o.shredded, owner)
	case step == 27:
		outcome("delete", second(l.r.ScheduleDeletion(ctx, "k", MinWait)), !o.destroyed && o.deleteAt.IsZero())
		if o.deleteAt.IsZero() {
			o.deleteAt = l.w.now.Add(MinWait)
		}
	case step == 28:
		outcome("undelete", l.r.CancelDeletion(ctx, "k"), !o.destroyed && !o.deleteAt.IsZero())
		if !o.destroyed {
			o.deleteAt = time.Time{}
		}
	case step == 29:
		l.w.pass(oneDay)
		l.w.do(l.r.Maintain(ctx))
		o.destroyed = o.destroyed || !o.deleteAt.IsZero() && !l.w.now.Before(o.deleteAt)
	}
}

func (l *life) encrypt(t *testing.T, owner string) {
	plain := fmt.Sprint("value ", l.rand.Uint64())
	l.o.touch()
	data, err := one(l.r.Encrypt(t.Context(), orders, "k", []Item{{Context: address, Owner: owner, Data: []byte(plain)}}))
	if want := l.o.usable() && !l.o.shredded[owner]; (err == nil) != want {
		t.Errorf("encrypt: %v, want success: %v", err, want)
	}
	if err == nil {
		l.o.sealed = append(l.o.sealed, &sealed{data: data, owner: owner, plain: plain, version: l.o.versions})
		l.o.encrypts++
	}
}

func (l *life) decrypt(t *testing.T, s *sealed) {
	l.o.touch()
	got, err := l.w.decrypt(l.r, "k", s.owner, s.data)
	want := l.o.opens(s)
	switch {
	case (err == nil) != want:
		t.Errorf("decrypt version %d of %d for %q: %v, want success: %v", s.version, l.o.versions, s.owner, err, want)
	case want && got != s.plain:
		t.Errorf("decrypted %q instead of %q", got, s.plain)
	case !want && fault.KindOf(err) != fault.Refused:
		t.Errorf("decrypt: %v is %s", err, fault.KindOf(err))
	}
	if want {
		l.o.decrypts++
	} else if l.o.usable() {
		l.o.refusals++
	}
}
