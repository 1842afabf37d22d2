package policy_test

import (
	"slices"
	"strings"

	"github.com/wardhq/ward/internal/base/canon"
	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/plan/policy"
)

// The oracle decides by reading every rule anew, with regular words instead of
// tries. It shares no code with the matcher.

type question struct {
	caller, target string
	port           int
	r              *canon.Request
}

func oracleDecide(p *plan.Plan, today string, q question) policy.Decision {
	caller, target, port, r := q.caller, q.target, q.port, q.r
	deny := policy.Decision{Rule: -1}
	if !inPlan(p, caller) || !inPlan(p, target) {
		deny.Reason = policy.UnknownPeer
		return deny
	}
	best, bestKey := -1, ""
	rules, paths, wrongMethod, wrongPlace := 0, 0, false, false
	for i, rule := range p.Rules {
		live := rule.Mode == plan.Enforce || rule.Mode == plan.Observe && rule.Until != "" && !(rule.Until < today)
		if !live || rule.Caller != caller || rule.Target != target {
			continue
		}
		rules++
		if rule.Grant.Kind != model.GrantTCP && rule.Grant.Kind != model.GrantAny {
			paths++
		}
		if !oraclePath(rule.Grant, r) {
			continue
		}
		if !slices.Contains(rule.Ports, port) || !oracleProtocol(rule.Grant.Kind, r.Protocol) {
			wrongPlace = true
			continue
		}
		if rule.Grant.Kind == model.GrantHTTP && !oracleMethod(rule.Grant.Methods, r.Method) {
			wrongMethod = true
			continue
		}
		if key := oracleKey(rule); best < 0 || key < bestKey {
			best, bestKey = i, key
		}
	}
	switch {
	case best >= 0 && p.Rules[best].Mode == plan.Enforce:
		return policy.Decision{Allow: true, Reason: policy.Allowed, Rule: int32(best)}
	case best >= 0:
		return policy.Decision{Allow: true, Reason: policy.AllowedByObserve, Rule: int32(best)}
	case rules == 0:
		deny.Reason = policy.NoRule
	case wrongMethod:
		deny.Reason = policy.NoMethod
	case wrongPlace, paths == 0, r.Protocol == canon.TCP, r.Protocol == canon.ProtocolUnknown:
		deny.Reason = policy.WrongProtocol
	default:
		deny.Reason = policy.NoRoute
	}
	return deny
}

func inPlan(p *plan.Plan, name string) bool {
	return name == plan.Outside ||
		slices.ContainsFunc(p.Services, func(s plan.Service) bool { return string(s.Name) == name }) ||
		slices.ContainsFunc(p.Externals, func(e model.External) bool { return string(e.Name) == name })
}

func oracleProtocol(k model.GrantKind, p canon.Protocol) bool {
	switch p {
	case canon.HTTP:
		return k == model.GrantHTTP || k == model.GrantAny
	case canon.WebSocket:
		return k == model.GrantWS || k == model.GrantAny
	case canon.GRPC:
		return k == model.GrantGRPC || k == model.GrantAny
	case canon.TCP:
		return k == model.GrantTCP || k == model.GrantAny
	}
	return false
}

func oracleMethod(ms []string, m string) bool {
	for _, x := range ms {
		if x == "*" || x == m || x == "GET" && m == "HEAD" {
			return true
		}
	}
	return false
}

// oraclePath says whether the grant has the path at all, whatever else.
func oraclePath(g model.Grant, r *canon.Request) bool {
	if g.Kind == model.GrantAny {
		return true
	}
	if g.Kind == model.GrantTCP {
		return r.Protocol == canon.TCP
	}
	if r.Protocol == canon.TCP || r.Protocol == canon.ProtocolUnknown || !strings.HasPrefix(r.Path, "/") {
		return false
	}
	return oracleSegments(strings.Split(g.Pattern, "/")[1:], strings.Split(r.Path, "/")[1:])
}

func oracleSegments(pat, path []string) bool {
	if len(pat) == 1 && pat[0] == "**" {
		return true
	}
	if len(pat) == 0 || len(path) == 0 {
		return len(pat) == len(path)
	}
	wild := pat[0] == "*" || strings.HasPrefix(pat[0], "{")
	if wild && path[0] == "" || !wild && pat[0] != path[0] {
		return false
	}
	return oracleSegments(pat[1:], path[1:])
}

// oracleKey orders rules that match: the lowest is reported. A string compares
// segment by segment: "0" literal, "1" one segment, "2" the rest, "3" no path.
func oracleKey(r plan.Rule) string {
	key := "0"
	if r.Mode == plan.Observe {
		key = "1"
	}
	if r.Grant.Kind == model.GrantAny {
		return key + "3"
	}
	if r.Grant.Kind == model.GrantTCP {
		return key
	}
	for _, seg := range strings.Split(r.Grant.Pattern, "/")[1:] {
		switch {
		case seg == "**":
			key += "2"
		case seg == "*" || strings.HasPrefix(seg, "{"):
			key += "1"
		default:
			key += "0"
		}
	}
	return key
}
