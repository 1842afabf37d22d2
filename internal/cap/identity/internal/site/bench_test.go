package site

import (
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wardhq/ward/internal/base/clock"
	"github.com/wardhq/ward/internal/base/secret"
	"github.com/wardhq/ward/internal/cap/identity/internal/account"
	"github.com/wardhq/ward/internal/cap/identity/internal/roster"
	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/store"
)

// cpu is the time that this process has used, client and all.
func cpu() time.Duration {
	var r syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &r) != nil {
		return 0
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// BenchmarkPasskeySignIn is what the service does for one, sixteen at a time: the flow of a browser, the challenge, the
// answer, the session. The client's signature is in the figure; HTTP and TLS aren't.
func BenchmarkPasskeySignIn(b *testing.B) {
	w := newWorld(b, store.Config{})
	k, _ := w.withPasskey("ada@example.org")
	k.cred.Counter = 1<<32 - 1 // answer makes it 0: a passkey that doesn't count
	device, _ := account.NewToken()
	b.SetParallelism(8)
	start := cpu()
	b.ResetTimer()
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			bound, _ := account.NewToken()
			in := account.Browser{Bound: bound, Device: device}
			f := account.Flow{Request: toAccount()}
			begun, err := w.NewFlow(b.Context(), f.Bind(in))
			if err != nil {
				b.Error(err)
				return
			}
			mine := *k
			said := mine.answer(b, answer{body: fmt.Sprintf("data-options=%q", strings.ReplaceAll(begun.Options, `"`, "&#34;"))})
			if begun, err = w.Service.Flow(b.Context(), begun.ID, in); err != nil {
				b.Error(err)
				return
			}
			who, err := w.VerifyPasskey(b.Context(), begun, said)
			if err != nil {
				b.Error(err)
				return
			}
			begun.Prove(who, w.Now(), "hwk", "user")
			begun.ProveFactor(w.Now())
			if _, err := w.Finish(b.Context(), begun, in, nil); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.ReportMetric(float64(b.N)/(cpu()-start).Seconds(), "sign-ins/cpu-s")
}

// BenchmarkPasswordSignIn is the pages' whole way to the second factor, over TLS, with the client in the same process.
func BenchmarkPasswordSignIn(b *testing.B) {
	w := newWorld(b, store.Config{})
	w.users.SecondFactor = model.SecondFactorOptional
	w.person("ada@example.org")
	start := cpu()
	for b.Loop() {
		w.browser().withPassword("ada@example.org", goodWord).want(b, 200, "/account")
	}
	b.ReportMetric(float64(b.N)/(cpu()-start).Seconds(), "sign-ins/cpu-s")
}

// BenchmarkOpen is the start with many people there: accounts, migrations and one look-up.
func BenchmarkOpen(b *testing.B) {
	for _, people := range []int{10_000, 1_000_000} {
		b.Run(fmt.Sprint(people), func(b *testing.B) {
			if testing.Short() && people > 10_000 {
				b.Skip("a million people take a minute to make")
			}
			path := filepath.Join(b.TempDir(), "ward.db")
			var lines strings.Builder
			for i := range people {
				fmt.Fprintf(&lines, `{"email":"p%d@example.org","name":"P %d"}`+"\n", i, i)
			}
			open := func() {
				db, err := store.Open(b.Context(), store.Config{Path: path, Clock: clock.System{}})
				if err != nil {
					b.Fatal(err)
				}
				users := &model.Users{Name: "Demo Shop"}
				s, err := account.New(b.Context(), account.Config{DB: db, Key: secret.New(make([]byte, 32)), Clock: clock.System{}, Origin: origin, Users: func() *model.Users { return users }, Mail: &outbox{}, AllowOrigin: func(string) bool { return false }})
				if err != nil {
					b.Fatal(err)
				}
				if lines.Len() > 0 {
					made, err := roster.Import(b.Context(), s, strings.NewReader(lines.String()))
					if err != nil || made.Made != people {
						b.Fatal(made.Made, err)
					}
					lines.Reset()
				}
				if _, err := s.Find(b.Context(), "p77@example.org"); err != nil {
					b.Fatal(err)
				}
				if _, err := s.FirstAdminLink(b.Context()); err != nil {
					b.Fatal(err)
				}
				_ = db.Close()
			}
			open()
			for b.Loop() {
				open()
			}
		})
	}
}
