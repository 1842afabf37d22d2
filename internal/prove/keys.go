package prove

import (
	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/plan"
)

// keyCalls are the operations of the keys' API, with the uses that each needs.
var keyCalls = [...]struct {
	method, op string
	uses       []string
}{
	{"POST", "encrypt", []string{model.UseEncrypt}},
	{"POST", "decrypt", []string{model.UseDecrypt}},
	{"POST", "rewrap", []string{model.UseDecrypt, model.UseEncrypt}},
	{"POST", "data-key", []string{model.UseEncrypt}},
	{"POST", "open-data-key", []string{model.UseDecrypt}},
	{"GET", "lookup-keys", []string{model.UseLookup}},
	{"POST", "sign", []string{model.UseSign}},
	{"POST", "verify", []string{model.UseVerify}},
	{"POST", "mac", []string{model.UseMAC}},
	{"POST", "verify-mac", []string{model.UseMAC}},
}

// managedKeys tries every use of every key, and to be another service. A granted use is sent without a body, so that nothing comes of it.
func (g *generator) managedKeys(s *plan.Service) {
	u := upstreamOf(s, plan.Self, 0)
	if u == nil {
		return
	}
	const address = "ward:80"
	call := func(method, target string, header ...string) Call {
		return Call{Address: address, Protocol: "http", Method: method, Target: target, Host: "ward", Header: header}
	}
	for i := range g.plan.Keys {
		k := &g.plan.Keys[i]
		for _, c := range keyCalls {
			granted := true
			for _, use := range c.uses {
				granted = granted && k.May(g.attacker, use)
			}
			a := Attempt{Target: "key " + k.Name, Kind: "key", Granted: granted, Line: k.Pos.Line, Call: call(c.method, "/v1/keys/"+k.Name+"/"+c.op)}
			if !granted {
				a.Line, a.Why = 0, "ward.yaml gives "+g.attacker+" no such use of it"
			}
			g.add(a)
		}
	}
	const why = "the listener says who calls, and the administrators' API isn't here"
	for i := range g.plan.Services {
		if name := string(g.plan.Services[i].Name); name != g.attacker {
			g.add(Attempt{Target: "keys of " + name, Kind: "key", Why: why, Call: call("GET", "/v1/as/"+name+"/v1/me")})
		}
	}
	for _, target := range []string{"/v1/keys", "/v1/secrets", "/v1/secrets-recipient", "/v1/deliver", "/v1/agent-secrets", "/v1/secret-versions", "/v1/keys/%2e%2e/secrets", "/v1/plan"} {
		g.add(Attempt{Target: "Ward", Kind: "key", Why: why, Call: call("GET", target)})
	}
}
