package reach_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/plan/reach"
)

const today = "2026-08-01"

func random(r *rand.Rand, services, edges int) *plan.Plan {
	m := &model.Model{App: "x"}
	for i := range services {
		m.Services = append(m.Services, model.Service{
			Name: model.ServiceName(fmt.Sprintf("s%d", i)), Listen: []model.Listen{{Protocol: model.HTTP, Port: 80}},
			Sensitivity: model.Sensitivity(r.IntN(5)), Data: []string{fmt.Sprintf("d%d", i%7)},
		})
	}
	m.Externals = []model.External{{Name: "ext", Host: "x.example", Port: 443}}
	for range edges {
		from, to := r.IntN(services), fmt.Sprintf("s%d", r.IntN(services))
		if r.IntN(50) == 0 {
			to = "ext"
		}
		if r.IntN(20) == 0 {
			m.Observe = append(m.Observe, model.Observe{From: m.Services[from].Name, To: to, Until: "2026-07-01", Grants: []model.Grant{{Kind: model.GrantAny}}})
			continue
		}
		m.Services[from].Calls = append(m.Services[from].Calls, model.Call{Target: to, Grants: []model.Grant{{Kind: model.GrantAny}}})
	}
	return plan.Build(m)
}

// naive finds the hops by relaxing all rules until nothing changes.
func naive(p *plan.Plan, start string) map[string]int {
	hops := map[string]int{start: 0}
	for changed := true; changed; {
		changed = false
		for _, r := range p.Rules {
			h, ok := hops[r.Caller]
			if was, had := hops[r.Target]; ok && r.Mode == plan.Enforce && (!had || h+1 < was) {
				hops[r.Target], changed = h+1, true
			}
		}
	}
	delete(hops, start)
	return hops
}

func TestHopsAgreeWithANaiveClosureAndTheRanking(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 3))
	for range 60 {
		p := random(r, 2+r.IntN(30), r.IntN(60))
		rows := map[string]reach.Row{}
		last := 1 << 30
		for _, row := range reach.Rank(p, today) {
			rows[row.Service] = row
			if row.Score > last {
				t.Fatal("the ranking isn't in order")
			}
			last = row.Score
		}
		for _, s := range p.Services {
			rep, err := reach.Of(p, today, string(s.Name))
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]int{}
			services, externals := 0, 0
			for _, step := range rep.Steps {
				got[step.Name] = step.Hop
				if step.External {
					externals++
				} else {
					services++
				}
				if len(step.Via) == 0 || len(step.Layers) == 0 {
					t.Fatalf("no way or no layer to %s", step.Name)
				}
			}
			if diff := cmp.Diff(naive(p, string(s.Name)), got); diff != "" {
				t.Fatalf("%s: %s", s.Name, diff)
			}
			got[string(s.Name)] = 0
			for _, step := range rep.Steps {
				for _, v := range step.Via {
					if hop, ok := got[v.From]; !ok || hop != step.Hop-1 || len(v.Routes) == 0 {
						t.Fatalf("%s at hop %d from %s at hop %d", step.Name, step.Hop, v.From, hop)
					}
				}
			}
			row := rows[string(s.Name)]
			if row.Services != services || row.Externals != externals || row.Score != rep.Score || len(row.Data) != len(rep.Data) {
				t.Fatalf("%s: ranked %+v, reported %d services, %d externals, score %d, data %v", s.Name, row, services, externals, rep.Score, rep.Data)
			}
		}
	}
}

func TestLongChainsAndGreatPlansAreFast(t *testing.T) {
	if testing.Short() {
		t.Skip("measures time")
	}
	m := &model.Model{}
	for i := range 10_000 {
		m.Services = append(m.Services, model.Service{
			Name: model.ServiceName(fmt.Sprintf("s%d", i)), Listen: []model.Listen{{Protocol: model.HTTP, Port: 80}},
			Calls: []model.Call{{Target: fmt.Sprintf("s%d", i+1), Grants: []model.Grant{{Kind: model.GrantAny}}}},
		})
	}
	p := plan.Build(m)
	start := time.Now()
	rows := reach.Rank(p, today)
	d := time.Since(start)
	t.Logf("a chain of 10,000 services: %v", d)
	if rows[0].Services != 9999 || d > 30*time.Second {
		t.Errorf("first row %+v after %v", rows[0], d)
	}
}

func BenchmarkReach(b *testing.B) {
	p := random(rand.New(rand.NewPCG(1, 1)), 500, 10_000)
	b.Run("of", func(b *testing.B) {
		for b.Loop() {
			if _, err := reach.Of(p, today, "s0"); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("rank", func(b *testing.B) {
		for b.Loop() {
			reach.Rank(p, today)
		}
	})
}
