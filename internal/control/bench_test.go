package control

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/wardhq/ward/internal/base/secret"
	"github.com/wardhq/ward/internal/model/wardfile"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/wire"
)

const peopleModel = `
app: shop
gateway: {listen: "127.0.0.1:8443"}
users: {name: Harbour Books}
services: {web: {run: ./web, listen: http://:8080, expose: [{routes: ["GET /**"], to: signed-in}]}}
`

// BenchmarkStart is New with the plan of before and many people there.
func BenchmarkStart(b *testing.B) {
	for _, people := range []int{0, 10_000, 1_000_000} {
		b.Run(fmt.Sprint(people), func(b *testing.B) {
			if testing.Short() && people > 10_000 {
				b.Skip("a million people take minutes to make")
			}
			c := Config{Dir: b.TempDir(), Key: secret.New(make([]byte, 32)), TrustDomain: "shop.internal"}
			m, problems := wardfile.Parse("ward.yaml", strings.NewReader(peopleModel))
			if problems.HasErrors() {
				b.Fatal(problems)
			}
			k, err := New(c)
			if err != nil {
				b.Fatal(err)
			}
			if err := k.setPlan(b.Context(), wire.PlanState{Plan: plan.Build(m)}); err != nil {
				b.Fatal(err)
			}
			ctx, stop := context.WithCancel(b.Context())
			var all sync.WaitGroup
			all.Go(func() { k.Run(ctx) })
			for begin := 0; begin < people; begin += 10_000 {
				var lines strings.Builder
				for i := range min(10_000, people-begin) {
					fmt.Fprintf(&lines, `{"email":"p%d@example.org","name":"P %d"}`+"\n", begin+i, begin+i)
				}
				if code, said := ask(k.forAdmin(), http.MethodPost, "/v1/users/import", lines.String()); code != http.StatusOK {
					b.Fatalf("import: %d %s", code, said)
				}
			}
			stop()
			all.Wait()
			if err := k.Close(); err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				k, err := New(c)
				if err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				if err := k.Close(); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
		})
	}
}
