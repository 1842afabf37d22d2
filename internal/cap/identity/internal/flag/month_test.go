package flag

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"testing"
	"time"
	"unsafe"
)

// person of the simulation: a device that is known or not, and a browser that many have.
type person struct {
	name    string
	known   bool
	browser string
}

// morning is what one person does at one sign-in: mistakes as people make them, then success; sometimes the password is forgotten.
func (w *world) morning(r *rand.Rand, p person, office netip.Addr) (flags []Name) {
	o := Observation{Person: p.name, Address: office, Known: p.known, Fingerprint: p.browser}
	see := func(k Kind, password string) {
		x := o
		x.Kind = k
		if k == UnknownIdentifier {
			x.Person, x.Identifier = "", fmt.Sprint(p.name, "typo", r.IntN(3))
		}
		if password != "" {
			x.Password = word("%s", password)
		}
		flags = append(flags, w.see(x).Flags...)
		w.pass(time.Duration(2+r.IntN(8)) * 100 * time.Millisecond)
	}
	if r.Float64() < 0.015 {
		see(UnknownIdentifier, p.name+"right")
	}
	for r.Float64() < 0.08 {
		see(PasswordFailed, fmt.Sprint(p.name, "typo", r.IntN(20)))
	}
	if r.Float64() < 0.01 { // forgotten
		see(PasswordFailed, []string{"Welcome1", "Summer2026", "Password1"}[r.IntN(3)])
		for see(PasswordFailed, fmt.Sprint(p.name, r.IntN(5))); r.Float64() < 0.6; {
			see(PasswordFailed, fmt.Sprint(p.name, r.IntN(5)))
		}
		if r.Float64() < 0.3 {
			return flags // gives up for today
		}
		see(ResetRequested, "")
	}
	see(PasswordOK, "")
	if r.Float64() < 0.05 {
		see(FactorFailed, "")
	}
	see(SignInOK, "")
	return flags
}

// month is workDays of so many people behind one address, most of them between eight and ten. It counts the
// flags other than those of a new device.
func (w *world) month(r *rand.Rand, people []person, office netip.Addr) (signIns int, flags map[Name]int) {
	flags = map[Name]int{}
	start := w.now
	for day := range workDays {
		w.pass(start.Add(time.Duration(day)*24*time.Hour + 8*time.Hour).Sub(w.now))
		for i, p := range r.Perm(len(people)) {
			for _, n := range w.morning(r, people[p], office) {
				if n != NewDevice {
					flags[n]++
				}
			}
			signIns++
			if i < len(people)*4/5 {
				w.pass(time.Duration(r.IntN(30)) * time.Second)
			} else {
				w.pass(time.Duration(r.IntN(360)) * time.Second)
			}
		}
	}
	return signIns, flags
}

func crowd(n int, known bool) []person {
	var out []person
	for i := range n {
		out = append(out, person{fmt.Sprint("person", i), known, []string{"t13d-chrome", "t13d-firefox", "t13d-safari"}[i%3]})
	}
	return out
}

func TestNormalMonthRaisesNothing(t *testing.T) {
	t.Parallel() // it mostly waits for the disk, as all of these do
	office := netip.MustParseAddr("10.1.2.3")
	for _, c := range []struct {
		name  string
		known bool
		size  int
	}{
		{"500 people behind one address", true, 500},
		{"500 people whose browsers forget", false, 500},
		{"20 people whose browsers forget", false, 20},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			signIns, flags := w.month(rand.New(rand.NewPCG(1, 1)), crowd(c.size, c.known), office)
			t.Logf("%d sign-ins, flags %v", signIns, flags)
			if len(flags) > 0 {
				t.Errorf("flags %v: %+v", flags, w.events)
			}
		})
	}
}

func TestAttackWithinANormalMonthIsSeen(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	office := netip.MustParseAddr("10.1.2.3")
	r := rand.New(rand.NewPCG(7, 7))
	if _, flags := w.month(r, crowd(200, false), office); len(flags) > 0 {
		t.Fatal(flags)
	}
	if w.usual.Days < 10 || w.usual.Rate <= 0 || w.usual.Rate > 0.1 {
		t.Errorf("learned %+v", w.usual)
	}
	// From within the office, other passwords each time, in the middle of the morning.
	w.pass(24 * time.Hour)
	for _, p := range crowd(100, false) {
		w.morning(r, p, office)
	}
	n, _ := w.until(CredentialStuffing, 40, 2*time.Second, func(i int) Observation {
		return Observation{Kind: PasswordFailed, Person: fmt.Sprint("person", 100+i), Address: office, Password: word("x%d", i)}
	})
	if n == 0 {
		t.Error("stuffing hides behind the colleagues")
	}
	t.Logf("at try %d", n)
}

func TestBaselineIsntTaughtByAttacks(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for range 60 {
		for i := range 100 {
			w.see(Observation{Kind: SignInOK, Person: fmt.Sprint(i), Address: far(i), Known: true})
		}
		for i := range 500 {
			w.see(Observation{Kind: PasswordFailed, Person: fmt.Sprint("v", i), Address: far(1000 + i)})
		}
		w.pass(24 * time.Hour)
	}
	if rate := w.usual.failureRate(); rate > 0.3 {
		t.Errorf("a failure rate of %.2f seems usual", rate)
	}
}

// flood is random accounts from random addresses with random passwords.
func (w *world) flood(n int) {
	for i := range n {
		w.see(Observation{Kind: UnknownIdentifier, Identifier: fmt.Sprint("flood", i), Address: far(i), Fingerprint: fmt.Sprint("f", i), Password: word("p%d", i)})
	}
}

func TestMemoryIsBoundedUnderAFlood(t *testing.T) {
	w := newWorld(t)
	heap := func() int {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int(m.HeapAlloc)
	}
	w.flood(80_000)
	full := heap()
	w.flood(80_000)
	if after := heap(); after > full+2<<20 {
		t.Errorf("grows from %d to %d MB", full>>20, after>>20)
	}
	if len(w.dirty) > maxDirty {
		t.Errorf("%d dirty", len(w.dirty))
	}
	fixed := len(w.accounts.slots)*int(unsafe.Sizeof(w.accounts.slots[0]))*2 + len(w.sources.slots)*int(unsafe.Sizeof(w.sources.slots[0])) +
		len(w.sketches.slots)*int(unsafe.Sizeof(w.sketches.slots[0])) + len(w.standings.slots)*int(unsafe.Sizeof(w.standings.slots[0])) + len(w.raised.slots)*int(unsafe.Sizeof(w.raised.slots[0]))
	bitmaps := spans * kinds * 2 * 8 * (sourceSlots*sourceWords + sketchSlots*sketchWords + globalWords)
	t.Logf("tables %.1f MB, bitmaps at most %.1f MB, heap %d MB", float64(fixed)/1e6, float64(bitmaps)/1e6, full>>20)
	if fixed+bitmaps > 24<<20 {
		t.Errorf("%d bytes in all", fixed+bitmaps)
	}
	if err := w.Save(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestFloodDoesntHideAnAttack(t *testing.T) {
	w := newWorld(t)
	for range 10 {
		w.see(Observation{Kind: PasswordFailed, Person: "alice", Address: attacker})
	}
	w.flood(100_000) // at once: the account's span goes on
	n, _ := w.until(BruteForce, 10, 0, func(int) Observation {
		return Observation{Kind: PasswordFailed, Person: "alice", Address: attacker}
	})
	if n == 0 {
		t.Error("a flood pushed the attack's counter out")
	}
}

func TestHostileClockOnlyGoesForward(t *testing.T) {
	w := newWorld(t)
	for range 10 {
		w.see(Observation{Kind: PasswordFailed, Person: "alice", Address: attacker})
	}
	w.pass(-48 * time.Hour)
	if n, _ := w.until(BruteForce, 10, 0, func(int) Observation {
		return Observation{Kind: PasswordFailed, Person: "alice", Address: attacker}
	}); n == 0 {
		t.Error("a clock that went back hides an attack")
	}
}

func TestDistinctIsEstimated(t *testing.T) {
	for _, words := range []int{sketchWords, sourceWords, globalWords} {
		for _, n := range []int{1, 8, 40, 2 * words * 64} {
			s := source{words: words}
			s.roll(time.Unix(1e9, 0))
			for i := range 2 * n { // each twice
				s.add(failed, hash([]byte("k"), 'x', fmt.Sprint(i/2)))
			}
			if got := s.distinct(short, failed); got < 0.7*float64(n) || got > 1.3*float64(n) {
				t.Errorf("%d words: %d look like %.1f", words, n, got)
			}
		}
	}
}

func BenchmarkSee(b *testing.B) {
	w := newWorld(b)
	for i := 0; b.Loop(); i++ {
		_, _ = w.See(b.Context(), Observation{Kind: PasswordFailed, Person: fmt.Sprint("p", i%100_000), Address: far(i % 50_000), Fingerprint: "t13d", Password: word("p%d", i)})
	}
}

func BenchmarkAsk(b *testing.B) {
	w := newWorld(b)
	w.flood(10_000)
	for i := 0; b.Loop(); i++ {
		w.Ask(Observation{Kind: PasswordFailed, Person: fmt.Sprint("p", i%100_000), Address: far(i % 50_000), Fingerprint: "t13d"})
	}
}

func BenchmarkSignIn(b *testing.B) {
	w := newWorld(b)
	for i := 0; b.Loop(); i++ {
		_, _ = w.See(b.Context(), Observation{Kind: SignInOK, Person: fmt.Sprint("p", i%100_000), Address: far(i % 50_000), Known: true})
	}
}

func TestUsualFailuresHaveBounds(t *testing.T) {
	for u, want := range map[usual]float64{{}: 0.3, {Days: 2, Rate: 0.9}: 0.3, {Days: 9, Rate: 0.9}: 0.5, {Days: 9}: 0.1, {Days: 9, Rate: 0.125}: 0.375} {
		if got := u.failureRate(); got != want {
			t.Errorf("%+v: %f", u, got)
		}
	}
}
