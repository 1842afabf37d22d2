// Package explain says why a request is allowed or denied, and what line of
// ward.yaml makes it so or would.
//
// It guarantees that the answer is that of policy's own tables, asked at both
// ends, and that a Fix, put into the model, allows the request that was asked
// about and is as narrow as version 1 can say it. It doesn't guarantee that
// allowing it is wise.
package explain

import (
	"fmt"
	"strings"

	"github.com/wardhq/ward/internal/base/canon"
	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/plan/policy"
	"github.com/wardhq/ward/internal/plan/words"
)

// Query is one question. Method is an HTTP method, or "grpc", "ws" or "tcp".
type Query struct {
	Caller string // a service, or plan.Outside
	Target string // a service or an external
	Port   int    // of the target; 0 for the port that serves the caller best
	Method string
	Path   string // for grpc also "pkg.Service/Method"; ignored for tcp
}

// Result is the answer. Allowed means that every end allows.
type Result struct {
	Caller  string `json:"caller"`
	Target  string `json:"target"`
	Port    int    `json:"port,omitempty"`
	Request string `json:"request"` // in canonical form, as in a grant
	Allowed bool   `json:"allowed"`
	Ends    []End  `json:"ends"`
	Fix     *Fix   `json:"fix,omitempty"`
	NoFix   string `json:"no_fix,omitempty"` // why no line of ward.yaml would allow it
}

// End is the decision of one end.
type End struct {
	Name    string        `json:"end"` // "out" (caller), "in" (target), "gateway"
	Allowed bool          `json:"allowed"`
	Reason  policy.Reason `json:"reason"`
	Why     string        `json:"why"`
	Rule    int32         `json:"rule"` // index into the plan's rules, or -1
	Line    int           `json:"line,omitempty"`
}

// Explain decides q on the rules in force on the day today (YYYY-MM-DD). The
// error is about the question: an unknown name, or a path that no request can have.
func Explain(p *plan.Plan, today string, q Query) (*Result, error) {
	set, err := policy.Compile(p, today)
	if err != nil {
		return nil, fmt.Errorf("explain: %w", err)
	}
	r, err := request(q.Method, q.Path)
	if err != nil {
		return nil, err
	}
	x := &explainer{plan: p, set: set, query: q, request: r}
	if err := x.resolve(); err != nil {
		return nil, err
	}
	res := x.best()
	res.Caller, res.Target, res.Request = q.Caller, q.Target, said(r)
	if !res.Allowed {
		res.Fix, res.NoFix = x.fix(res)
	}
	return res, nil
}

// QueryError is what is wrong with a question.
type QueryError struct{ Message string }

func (e *QueryError) Error() string { return e.Message }

func badQuery(format string, args ...any) error { return &QueryError{fmt.Sprintf(format, args...)} }

func request(method, path string) (*canon.Request, error) {
	switch method {
	case "tcp":
		return &canon.Request{Protocol: canon.TCP}, nil
	case "ws", "grpc":
		if method == "grpc" && !strings.HasPrefix(path, "/") {
			path = "/" + path
		}
		c, err := canon.Path(path)
		if err != nil {
			return nil, badQuery("path %q is refused before any rule is asked (400): %v", path, err)
		}
		if method == "ws" {
			return &canon.Request{Protocol: canon.WebSocket, Method: "GET", Path: c}, nil
		}
		return &canon.Request{Protocol: canon.GRPC, Method: "POST", Path: c}, nil
	}
	r, err := canon.New(method, "ward.invalid", path)
	if err != nil {
		return nil, badQuery("%s %q is refused before any rule is asked (400): %v", method, path, err)
	}
	return &r, nil
}

// said is the request in the words of a grant.
func said(r *canon.Request) string { return exactGrant(r).String() }

type explainer struct {
	plan     *plan.Plan
	set      *policy.Set
	query    Query
	request  *canon.Request
	caller   *plan.Service // nil for Outside
	target   *plan.Service // nil for an external
	external *model.External
	listens  []model.Listen
}

func (x *explainer) resolve() error {
	for i := range x.plan.Services {
		s := &x.plan.Services[i]
		if string(s.Name) == x.query.Caller {
			x.caller = s
		}
		if string(s.Name) == x.query.Target {
			x.target, x.listens = s, s.Listen
		}
	}
	for i := range x.plan.Externals {
		e := &x.plan.Externals[i]
		if string(e.Name) == x.query.Target {
			x.external = e
			x.listens = []model.Listen{{Protocol: plan.ExternalProtocol(e), Port: e.Port}}
			if x.query.Port == e.LocalPort && e.LocalPort != 0 {
				x.query.Port = e.Port // people know the port that the service dials
			}
		}
	}
	switch {
	case x.caller == nil && x.query.Caller != plan.Outside:
		return badQuery("there is no service %q", x.query.Caller)
	case x.target == nil && x.external == nil:
		return badQuery("there is no service or external %q", x.query.Target)
	}
	return nil
}

// best asks every port in question and keeps the answer that comes nearest to
// allowing.
func (x *explainer) best() *Result {
	ports := []int{x.query.Port}
	if x.query.Port == 0 {
		ports = ports[:0]
		for _, l := range x.listens {
			if exactGrant(x.request).Kind.Fits(l.Protocol) {
				ports = append(ports, l.Port)
			}
		}
		for _, l := range x.listens { // the others come second: "any" opens them too
			if !exactGrant(x.request).Kind.Fits(l.Protocol) {
				ports = append(ports, l.Port)
			}
		}
		if len(ports) == 0 {
			ports = []int{0}
		}
	}
	var best *Result
	bestRank := -1
	for _, port := range ports {
		res := x.at(port)
		if rank := rankOf(res); rank > bestRank {
			best, bestRank = res, rank
		}
	}
	return best
}

func rankOf(r *Result) int {
	if r.Allowed {
		return 10
	}
	switch r.Ends[0].Reason {
	case policy.NoMethod:
		return 4
	case policy.WrongProtocol:
		return 3
	case policy.NoRoute:
		return 2
	default:
		return 1
	}
}

func (x *explainer) at(port int) *Result {
	res := &Result{Port: port}
	if x.query.Caller == plan.Outside {
		m := x.set.Exposed().Route(x.request, nil)
		if m.Reason.Asks() {
			m.Target, m.Port = x.plan.Rules[m.Rule].Target, port
		}
		m.Decision = forWhoever(m.Decision)
		end := x.end("gateway", m.Decision)
		if m.Allow && (m.Target != x.query.Target || x.query.Port != 0 && m.Port != port) {
			end.Allowed, end.Reason = false, policy.NoRoute
			end.Why = fmt.Sprintf("the gateway sends this to %s:%d instead: %s", m.Target, m.Port, words.Grant(&x.plan.Rules[m.Rule]))
		} else if m.Allow {
			res.Port, port = m.Port, m.Port
		}
		res.Ends = append(res.Ends, end)
	} else {
		out := x.set.Outbound(x.query.Caller)
		res.Ends = append(res.Ends, x.end("out", forWhoever(out.Decide(out.Peer(x.query.Target), port, x.request, nil))))
	}
	if x.target != nil {
		in := x.set.Inbound(x.query.Target)
		res.Ends = append(res.Ends, x.end("in", forWhoever(in.Decide(in.Peer(x.query.Caller), port, x.request, nil))))
	}
	res.Allowed = true
	for _, e := range res.Ends {
		res.Allowed = res.Allowed && e.Allowed
	}
	return res
}

// forWhoever takes a rule that asks for a person as one that allows: the answer says whom.
func forWhoever(d policy.Decision) policy.Decision {
	d.Allow = d.Allow || d.Reason.Asks()
	return d
}

func (x *explainer) end(name string, d policy.Decision) End {
	e := End{Name: name, Allowed: d.Allow, Reason: d.Reason, Rule: d.Rule}
	caller, target := words.Name(x.query.Caller), x.query.Target
	if d.Allow {
		r := &x.plan.Rules[d.Rule]
		e.Line = r.Pos.Line
		verb := caller + " may"
		if name == "in" {
			verb = target + " lets " + caller
		} else if name == "gateway" {
			verb = r.To + " may"
		}
		e.Why = verb + ": " + words.Grant(r)
		return e
	}
	subject := caller + " has "
	if name == "in" {
		subject = target + " has "
	}
	about := " for " + target
	switch name {
	case "in":
		about = " for " + caller
	case "gateway":
		subject, about = "the gateway has ", ""
	}
	e.Why = subject + map[policy.Reason]string{
		policy.NoRule:        "no rule" + about,
		policy.NoRoute:       "rules" + about + ", none for this path",
		policy.NoMethod:      "rules" + about + " for this path, none for this method",
		policy.WrongProtocol: "rules" + about + ", none for this protocol and port",
		policy.UnknownPeer:   "no knowledge" + strings.Replace(about, " for ", " of ", 1),
	}[d.Reason]
	return e
}
