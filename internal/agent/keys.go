package agent

import (
	"context"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/wire"
)

// keyAPI is the services' way to the keys that control holds: it tells control who calls, which it knows from the listener, and lets
// pass only what its own copy of the plan allows, so that both ends must allow.
type keyAPI struct {
	uses atomic.Pointer[map[string]map[string][]string] // by service and key
}

// set takes what a plan grants.
func (k *keyAPI) set(p *plan.Plan) {
	uses := map[string]map[string][]string{}
	for i := range p.Keys {
		for _, g := range p.Keys[i].Grants {
			if uses[g.Service] == nil {
				uses[g.Service] = map[string][]string{}
			}
			uses[g.Service][p.Keys[i].Name] = g.Uses
		}
	}
	k.uses.Store(&uses)
}

// neededUses are the uses of a key that each operation needs; any use at all is enough for those that aren't here.
func neededUses(op string) []string {
	switch op {
	case "encrypt", "data-key":
		return []string{model.UseEncrypt}
	case "decrypt", "open-data-key":
		return []string{model.UseDecrypt}
	case "rewrap":
		return []string{model.UseDecrypt, model.UseEncrypt}
	case "lookup-keys":
		return []string{model.UseLookup}
	case "sign":
		return []string{model.UseSign}
	case "verify":
		return []string{model.UseVerify}
	case "mac", "verify-mac":
		return []string{model.UseMAC}
	}
	return nil
}

// allows tells whether a service may make a request.
func (k *keyAPI) allows(service, path string) bool {
	if path == "/v1/me" {
		return true
	}
	uses := k.uses.Load()
	rest, ok := strings.CutPrefix(path, "/v1/keys/")
	key, op, both := strings.Cut(rest, "/")
	if uses == nil || !ok || !both || strings.Contains(op, "/") {
		return false
	}
	has := (*uses)[service][key]
	for _, need := range neededUses(op) {
		if !slices.Contains(has, need) {
			return false
		}
	}
	return len(has) > 0
}

// target is where control answers a service's request, which the agent knows from the listener that it came in on.
func (k *keyAPI) target(service, _, path string) (string, bool) {
	return "/v1/as/" + service + path, k.allows(service, path)
}

// followSecrets keeps what the agent needs of secrets until ctx ends.
func (a *Agent) followSecrets(ctx context.Context) {
	wire.Follow(ctx, "follow secrets", func(have string) (uint64, error) {
		s, err := a.control.AgentSecrets(ctx, have)
		if err == nil {
			a.mesh.SetSecrets(s.Values)
			a.accounts.setSecrets(s)
		}
		return s.Sequence, err
	})
}
