// Package policybench gives the same rules and requests to Ward's matcher, OPA,
// cedar-go and casbin, side by side. It lives in a module of its own so that
// none of them becomes a dependency of Ward. It guarantees that all engines
// answer alike on the requests measured, and nothing about their other features.
package policybench

import (
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/wardhq/ward/internal/base/canon"
	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/plan"
)

// Today is the day on which all engines decide.
const Today = "2026-08-01"

const port = 8080

// Query is one question.
type Query struct {
	Caller, Target string
	Request        canon.Request
}

// Build makes a plan of n http rules between about n/20 services, ten rules per
// caller and target, and 512 queries of which about a third is denied.
func Build(n int) (*plan.Plan, []Query) {
	r := rand.New(rand.NewPCG(uint64(n), 7))
	m := &model.Model{App: "bench", TrustDomain: "bench.internal"}
	pairs := max(1, n/10)
	services := max(2, pairs/2)
	for i := range services {
		m.Services = append(m.Services, model.Service{
			Name:   model.ServiceName(fmt.Sprintf("svc%d", i)),
			Listen: []model.Listen{{Protocol: model.HTTP, Port: port}},
		})
	}
	var qs []Query
	rule := 0
	for i := range pairs {
		caller, target := i%services, (i*7+1+i/services)%services
		if caller == target {
			target = (target + 1) % services
		}
		c := model.Call{Target: fmt.Sprintf("svc%d", target)}
		for j := range 10 {
			shape := []string{"/api/v1/items%d", "/api/v1/items%d/{id}", "/api/v2/{tenant}/orders%d/lines", "/static%d/**"}[j%4]
			c.Grants = append(c.Grants, model.Grant{
				Kind: model.GrantHTTP, Methods: []string{[]string{"GET", "POST", "DELETE"}[j%3]},
				Pattern: fmt.Sprintf(shape, j),
			})
			rule++
		}
		m.Services[caller].Calls = append(m.Services[caller].Calls, c)
	}
	p := plan.Build(m)
	for range 512 {
		x := &p.Rules[r.IntN(len(p.Rules))]
		q := Query{Caller: x.Caller, Target: x.Target, Request: canon.Request{
			Protocol: canon.HTTP, Method: x.Grant.Methods[0], Path: instance(x.Grant.Pattern),
		}}
		switch r.IntN(9) {
		case 0:
			q.Request.Method = "PATCH"
		case 1:
			q.Request.Path = "/admin/" + q.Request.Path[1:]
		case 2:
			q.Target, q.Caller = q.Caller, q.Target
		}
		qs = append(qs, q)
	}
	return p, qs
}

func instance(pattern string) string {
	segs := strings.Split(pattern, "/")
	for i, s := range segs {
		switch {
		case s == "**":
			segs[i] = "css/site.css"
		case strings.HasPrefix(s, "{"):
			segs[i] = "8f14e45f"
		}
	}
	return strings.Join(segs, "/")
}
