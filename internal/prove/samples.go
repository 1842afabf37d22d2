package prove

import (
	"slices"
	"strings"

	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/plan"
)

// Bounds of what is tried per attacker and port, so that a large application doesn't take hours.
const (
	maxPatterns = 40
	maxTricks   = 40
)

// request is a sample, not yet aimed at anybody.
type request struct {
	kind     string // what it tries, in a word
	protocol string
	method   string
	target   string
	host     string // "" for the target's own
	header   []string
	// refuse: Ward must refuse it whatever the rules say, because it has no one reading.
	refuse bool
}

// usual are paths that services have without telling.
var usual = [...]string{"/", "/admin", "/metrics", "/debug/pprof/", "/internal/ward-attack"}

// paths instantiates a pattern: one path for every way in which its wildcards can be filled that may
// matter.
func paths(pattern string) []string {
	fill := func(word, rest string) string {
		var b strings.Builder
		for segment := range strings.SplitSeq(strings.TrimPrefix(pattern, "/"), "/") {
			switch {
			case segment == "**" && rest == "":
				continue
			case segment == "**":
				segment = rest
			case segment == "*" || strings.HasPrefix(segment, "{"):
				segment = word
			}
			b.WriteString("/" + segment)
		}
		if b.Len() == 0 {
			return "/"
		}
		return b.String()
	}
	out := []string{fill("ward-attack", "deep/er/still")}
	for _, p := range []string{fill("0", "x"), fill("ward-attack", "")} {
		if !slices.Contains(out, p) {
			out = append(out, p)
		}
	}
	return out
}

// siblings are paths beside one that a pattern has.
func siblings(path string) []string {
	if path == "/" {
		return nil
	}
	return []string{path + "/ward-attack", path + "x", path[:strings.LastIndex(path, "/")] + "/ward-sibling"}
}

// methodsFor are the methods that a grant names, and one that it doesn't.
func methodsFor(g *model.Grant) []string {
	if g.Kind != model.GrantHTTP {
		return []string{"GET"}
	}
	if slices.Contains(g.Methods, "*") {
		return []string{"GET", "PUT"}
	}
	out := slices.Clone(g.Methods)
	for _, m := range []string{"DELETE", "PUT", "POST", "GET", "PATCH"} {
		if !slices.Contains(out, m) {
			return append(out, m)
		}
	}
	return out
}

// routes samples everything that any rule says about a target's port, and what none says. Rules of the
// caller come first: what lies nearest to a grant is likeliest to slip through.
func routes(rules []*plan.Rule, caller string) []request {
	rules = slices.Clone(rules)
	slices.SortStableFunc(rules, func(a, b *plan.Rule) int {
		switch {
		case a.Caller == caller && b.Caller != caller:
			return -1
		case a.Caller != caller && b.Caller == caller:
			return 1
		}
		return 0
	})
	if len(rules) > maxPatterns {
		rules = rules[:maxPatterns]
	}
	var out []request
	for _, r := range rules {
		if r.Grant.Kind != model.GrantHTTP && r.Grant.Kind != model.GrantWS {
			continue
		}
		for _, p := range paths(r.Grant.Pattern) {
			if r.Grant.Kind == model.GrantWS {
				out = append(out, request{kind: "route", protocol: "ws", method: "GET", target: p})
			}
			for _, m := range methodsFor(&r.Grant) {
				out = append(out, request{kind: "route", protocol: "http", method: m, target: p})
			}
		}
		for _, p := range siblings(paths(r.Grant.Pattern)[0]) {
			out = append(out, request{kind: "sibling", protocol: "http", method: methodsFor(&r.Grant)[0], target: p})
		}
	}
	for _, p := range usual {
		out = append(out, request{kind: "unnamed", protocol: "http", method: "GET", target: p})
	}
	return out
}

// gRPC samples the methods that rules name, others of the same services, and what most servers have.
func gRPC(rules []*plan.Rule) []request {
	var out []request
	add := func(kind, path string) {
		out = append(out, request{kind: kind, protocol: "grpc", method: "POST", target: path})
	}
	for _, r := range rules {
		if r.Grant.Kind != model.GrantGRPC || len(out) > maxPatterns {
			continue
		}
		service, method, _ := strings.Cut(strings.TrimPrefix(r.Grant.Pattern, "/"), "/")
		if service == "*" {
			service = "ward.Attack"
		}
		if method == "*" {
			method = "Any"
		}
		add("route", "/"+service+"/"+method)
		add("sibling", "/"+service+"/WardAttack")
		add("sibling", "/"+service+"x/"+method)
		add("trick", "/"+service+"/WardAttack/../"+method)
		add("trick", "/"+service+"/"+strings.ToLower(method))
		add("trick", "/"+service+"%2f"+method)
	}
	add("unnamed", "/grpc.health.v1.Health/Check")
	add("unnamed", "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo")
	return append(out, request{kind: "protocol", protocol: "h2", method: "GET", target: "/"})
}

// tricks say a closed path in ways that some programs read as that path, and others as an open one.
func tricks(open, closed string) []string {
	up := strings.Repeat("/..", strings.Count(open, "/"))
	encoded := closed
	if len(closed) > 1 {
		const hex = "0123456789abcdef"
		encoded = "/%" + string(hex[closed[1]>>4]) + string(hex[closed[1]&15]) + closed[2:]
	}
	out := []string{
		closed + "/", "/" + closed, "/." + closed, "/x/.." + closed, closed + ";x=1", closed + "?x=1", closed + "%00", closed + "%2f", closed + "%20", closed + ".",
		closed + "#" + open, closed + "%23", closed + "%3f", closed + "\\", "/%2f" + strings.TrimPrefix(closed, "/"), "\\" + strings.TrimPrefix(closed, "/"),
		encoded, strings.ToUpper(closed), "http://ward-attack.invalid" + closed, "*",
		strings.TrimSuffix(open, "/") + up + closed,
		strings.TrimSuffix(open, "/") + strings.ReplaceAll(up, "..", "%2e%2e") + closed,
		strings.TrimSuffix(open, "/") + strings.ReplaceAll(up, "/..", "%2f..") + closed,
		strings.TrimSuffix(open, "/") + strings.ReplaceAll(up, "..", "..;") + closed,
		strings.TrimSuffix(open, "/") + "/.%2e" + closed, strings.TrimSuffix(open, "/") + "/%252e%252e" + closed,
		strings.TrimSuffix(open, "/") + "/..%5c" + strings.TrimPrefix(closed, "/"), strings.TrimSuffix(open, "/") + "/..%c0%af" + strings.TrimPrefix(closed, "/"),
		open + "%00" + closed, open + "?/../" + closed,
	}
	return out[:min(len(out), maxTricks)]
}

// headers are claims that must change nothing.
func headers(trustDomain, friend, open string) [][]string {
	return [][]string{
		{"X-Ward-Caller: spiffe://" + trustDomain + "/svc/" + friend},
		{"X_Ward_Caller: spiffe://" + trustDomain + "/svc/" + friend},
		{"X-Ward-Caller: spiffe://" + trustDomain + "/ward/gateway"},
		{"X-Original-URL: " + open, "X-Rewrite-URL: " + open},
		{"X-Forwarded-For: 127.0.0.1", "X-Real-IP: 127.0.0.1", "Forwarded: for=127.0.0.1"},
		{"X-HTTP-Method-Override: GET", "X-Method-Override: GET"},
		{"Txn-Token: e30.e30.e30", "Authorization: Bearer e30.e30.e30"},
	}
}

// ambiguous requests have more than one reading: they are refused on open routes too.
func ambiguous(open string) []request {
	r := request{kind: "ambiguous", protocol: "http", method: "POST", target: open, refuse: true}
	var out []request
	for _, h := range [][]string{
		{"Transfer-Encoding: chunked"}, // beside Content-Length
		{"Content-Length: 7"},
		{"Host: ward-attack.invalid"},
		{"Transfer-Encoding: x, chunked"},
		{"Transfer-Encoding : chunked"},
		{" folded: yes"},
	} {
		r.header = h
		out = append(out, r)
	}
	return out
}
