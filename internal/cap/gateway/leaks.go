package gateway

import (
	"strings"

	"github.com/wardhq/ward/internal/base/canon"
	"github.com/wardhq/ward/internal/leak"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/plan/policy"
	"github.com/wardhq/ward/internal/proxy"
	"github.com/wardhq/ward/internal/wire"
)

// SetFingerprints takes what no response may show, for every request from now on.
func (g *Gateway) SetFingerprints(f *leak.Fingerprints) { g.prints.Store(f) }

// masks clean the responses of one route. What is compressed or binary passes unseen, and so does a WebSocket.
type masks struct {
	gateway *Gateway
	prints  *leak.Fingerprints
	rule    *plan.Rule
}

// masksFor is nil while no fingerprints are known.
func (g *Gateway) masksFor(s *state, r *proxy.Request, m policy.Match) proxy.Masks {
	prints := g.prints.Load()
	if prints == nil || r.Protocol == canon.WebSocket {
		return nil
	}
	return &masks{g, prints, &s.plan.Rules[m.Rule]}
}

// Fields implements proxy.Masks.
func (m *masks) Fields() proxy.Mask { return m.finder("head") }

// Body implements proxy.Masks.
func (m *masks) Body(kind, coding string) proxy.Mask {
	if coding != "" || !isText(kind) {
		return nil
	}
	return m.finder("body")
}

func (m *masks) finder(where string) *leak.Finder {
	return m.prints.Finder(false, func(f leak.Finding) {
		m.gateway.leaks.Note(leaked{m.rule.Target, m.rule.Grant.String(), f.Secret, where, f.Form, f.Canary})
	})
}

// isText tells whether a Content-Type is of text; a body without one may be.
func isText(kind string) bool {
	kind, _, _ = strings.Cut(kind, ";")
	kind = strings.ToLower(strings.TrimSpace(kind))
	top, sub, _ := strings.Cut(kind, "/")
	switch {
	case top == "", top == "text", strings.HasSuffix(sub, "+json"), strings.HasSuffix(sub, "+xml"):
		return true
	case top != "application":
		return false
	}
	switch sub {
	case "json", "xml", "javascript", "ecmascript", "x-javascript", "x-ndjson", "ndjson", "jsonl", "json-seq", "yaml", "x-yaml", "toml", "graphql",
		"x-www-form-urlencoded", "x-sh", "sql", "x-pem-file", "pem-certificate-chain", "jwt", "jose", "problem":
		return true
	}
	return false
}

// leaked is a secret in what a service answers the outside.
type leaked struct {
	service, route, secret string
	where                  string // "head" or "body"
	form                   leak.Form
	canary                 bool
}

func newLeaks(record func(wire.Event)) *wire.Tally[leaked] {
	return &wire.Tally[leaked]{
		Prefix: "l-", Most: maxKinds, Record: record,
		Rest: func(l leaked) leaked {
			l.route, l.where, l.form = "*", "*", 0
			return l
		},
		Event: func(l leaked, id string, count int64) wire.Event {
			e := wire.Event{Kind: "request.leak", Subject: plan.Outside, Object: l.service, Count: count, Detail: map[string]string{
				"id": id, "secret": l.secret, "form": l.form.String(), "where": l.where, "route": l.route,
			}}
			if l.canary {
				e.Kind = "request.canary"
			}
			return e
		},
	}
}
