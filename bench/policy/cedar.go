package policybench

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"

	"github.com/wardhq/ward/internal/base/canon"
	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/plan/policy"
)

// CedarText writes the rules of a plan that are in force as Cedar policies. The
// context of a request holds protocol, method, port, the number of path segments
// n and the segments s0, s1 and so on.
func CedarText(rules []plan.Rule, today string) string {
	var b strings.Builder
	for i := range rules {
		if r := &rules[i]; policy.InForce(r, today) {
			fmt.Fprintf(&b, "@id(\"%d\")\npermit (principal == Service::%q, action == Action::\"call\", resource == Service::%q)\nwhen { %s };\n",
				i, r.Caller, r.Target, cedarCondition(r))
		}
	}
	return b.String()
}

func cedarCondition(r *plan.Rule) string {
	ports := make([]string, 0, len(r.Ports))
	for _, p := range r.Ports {
		ports = append(ports, strconv.Itoa(p))
	}
	conds := []string{"[" + strings.Join(ports, ", ") + "].contains(context.port)"}
	protocol := map[model.GrantKind]canon.Protocol{
		model.GrantHTTP: canon.HTTP, model.GrantWS: canon.WebSocket, model.GrantGRPC: canon.GRPC, model.GrantTCP: canon.TCP,
	}[r.Grant.Kind]
	if r.Grant.Kind == model.GrantAny {
		conds = append(conds, "context.protocol != 0")
	} else {
		conds = append(conds, fmt.Sprintf("context.protocol == %d", protocol))
	}
	if r.Grant.Kind == model.GrantHTTP && r.Grant.Methods[0] != "*" {
		var ms []string
		for _, m := range r.Grant.Methods {
			ms = append(ms, strconv.Quote(m))
			if m == "GET" {
				ms = append(ms, `"HEAD"`)
			}
		}
		conds = append(conds, "["+strings.Join(ms, ", ")+"].contains(context.method)")
	}
	if r.Grant.Pattern != "" {
		conds = append(conds, cedarPath(r.Grant.Pattern)...)
	}
	return strings.Join(conds, " && ")
}

func cedarPath(pattern string) []string {
	segs := strings.Split(pattern, "/")[1:]
	count := fmt.Sprintf("context.n == %d", len(segs))
	if segs[len(segs)-1] == "**" {
		segs = segs[:len(segs)-1]
		count = fmt.Sprintf("context.n >= %d", len(segs))
	}
	conds := []string{count}
	for i, s := range segs {
		if s == "*" || strings.HasPrefix(s, "{") {
			conds = append(conds, fmt.Sprintf(`context.s%d != ""`, i))
			continue
		}
		conds = append(conds, fmt.Sprintf("context.s%d == %q", i, s))
	}
	return conds
}

// CedarRequest puts a request in the terms of CedarText.
func CedarRequest(caller, target string, port int, r *canon.Request) cedar.Request {
	rec := types.RecordMap{
		"port": types.Long(port), "protocol": types.Long(int64(r.Protocol)), "method": types.String(r.Method),
	}
	n := 0
	if strings.HasPrefix(r.Path, "/") {
		for i, s := range strings.Split(r.Path, "/")[1:] {
			rec[types.String("s"+strconv.Itoa(i))] = types.String(s)
			n++
		}
	}
	rec["n"] = types.Long(int64(n))
	return cedar.Request{
		Principal: types.NewEntityUID("Service", types.String(caller)),
		Action:    types.NewEntityUID("Action", "call"),
		Resource:  types.NewEntityUID("Service", types.String(target)),
		Context:   types.NewRecord(rec),
	}
}
