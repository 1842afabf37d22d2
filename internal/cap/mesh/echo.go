package mesh

import (
	"strings"

	"github.com/wardhq/ward/internal/leak"
	"github.com/wardhq/ward/internal/proxy"
	"github.com/wardhq/ward/internal/wire"
)

// masks clean what an external answers to a call that Ward authenticates: the service must not read the secret out of it.
type masks struct {
	mesh *Mesh
	c    *credential
	link *link
}

// Fields implements proxy.Masks.
func (m *masks) Fields() proxy.Mask { return m.finder("head") }

// Body implements proxy.Masks. What is compressed, although nobody asked for it, can't be looked into.
func (m *masks) Body(_, coding string) proxy.Mask {
	if coding != "" {
		m.note(echo{coding: wire.Clip(strings.ToLower(coding))})
		return nil
	}
	return m.finder("body")
}

func (m *masks) finder(where string) *leak.Finder {
	return m.c.prints.Finder(false, func(f leak.Finding) { m.note(echo{where: where, form: f.Form}) })
}

func (m *masks) note(e echo) {
	e.caller, e.target, e.secret = m.link.caller, m.link.target, m.c.auth.Secret
	m.mesh.echoes.Note(e)
}

// echo is a secret that came back, or an answer that couldn't be looked into.
type echo struct {
	caller, target, secret string
	where                  string // "head" or "body"
	form                   leak.Form
	coding                 string // of what wasn't looked into
}

func newEchoes(record func(wire.Event)) *wire.Tally[echo] {
	return &wire.Tally[echo]{
		Prefix: "e-", Most: maxGroups, Record: record,
		Rest: func(e echo) echo {
			if e.coding != "" {
				e.coding = "*"
			}
			return e
		},
		Event: func(e echo, id string, count int64) wire.Event {
			out := wire.Event{Kind: "secret.echo", Subject: e.caller, Object: e.target, Count: count}
			if e.coding != "" {
				out.Kind, out.Detail = "secret.unseen", map[string]string{"id": id, "secret": e.secret, "coding": e.coding}
			} else {
				out.Detail = map[string]string{"id": id, "secret": e.secret, "where": e.where, "form": e.form.String()}
			}
			return out
		},
	}
}
