package values

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/base/secret"
	"github.com/wardhq/ward/internal/cap/secrets/internal/dotenv"
	"github.com/wardhq/ward/internal/model/lexis"
	"github.com/wardhq/ward/internal/wire"
)

// maxBody bounds a request's body in bytes: a .env file in base64, and some.
const maxBody = 2 * dotenv.MaxFile

// Admin is the administrators' API: /v1/secrets, /v1/secrets/{name}, /v1/secrets/{name}/{what}, /v1/secrets-import and
// /v1/secrets-recipient, with wire's types. who names the caller for the ledger; only administrators may get here.
func (s *Store) Admin(who func(*http.Request) string) http.Handler {
	mux := http.NewServeMux()
	handle := func(pattern string, f func(r *http.Request) (any, error)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			r.Body = http.MaxBytesReader(w, r.Body, maxBody)
			out, err := f(r)
			if err != nil {
				wire.WriteError(w, err)
				return
			}
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Cache-Control", "no-store")
			_ = json.NewEncoder(w).Encode(out) // the caller has gone
		})
	}
	handle("GET /v1/secrets", func(r *http.Request) (any, error) { return s.List(r.Context()) })
	handle("GET /v1/secrets/{name}", func(r *http.Request) (any, error) { return s.Info(r.Context(), r.PathValue("name")) })
	handle("PUT /v1/secrets/{name}", func(r *http.Request) (any, error) {
		var in wire.SecretSet
		if err := readBody(r, &in); err != nil {
			return nil, err
		}
		set := Setting{Name: r.PathValue("name"), Value: secret.New(in.Value), IfNewest: in.IfVersion}
		switch in.Stage {
		case "", Current.String():
		case Pending.String():
			set.Stage = Pending
		default:
			return nil, fault.New(fault.Invalid, "a new version is current or pending")
		}
		if in.Expires != 0 {
			set.Expires = time.Unix(in.Expires, 0)
		}
		if _, err := s.Set(r.Context(), who(r), set); err != nil {
			return nil, err
		}
		return s.Info(r.Context(), set.Name)
	})
	for what, do := range map[string]func(ctx context.Context, who, name string) error{
		"promote": s.Promote, "rollback": s.Rollback, "delete": s.Delete, "restore": s.Restore, "generate": s.Generate,
	} {
		handle("POST /v1/secrets/{name}/"+what, func(r *http.Request) (any, error) {
			if err := do(r.Context(), who(r), r.PathValue("name")); err != nil {
				return nil, err
			}
			return s.Info(r.Context(), r.PathValue("name"))
		})
	}
	handle("POST /v1/secrets/{name}/reveal", func(r *http.Request) (any, error) {
		v, err := s.Get(r.Context(), Query{Name: r.PathValue("name"), Who: who(r), Why: "reveal"})
		return wire.SecretValue{Value: v.Secret.Reveal(), Version: v.Version, Expires: seconds(v.Expires)}, err
	})
	handle("POST /v1/secrets-import", func(r *http.Request) (any, error) {
		var in wire.SecretsImport
		if err := readBody(r, &in); err != nil {
			return nil, err
		}
		return s.Import(r.Context(), who(r), in)
	})
	handle("GET /v1/secrets-recipient", func(*http.Request) (any, error) { return wire.SecretsRecipient{Recipient: s.Recipient()}, nil })
	return mux
}

// readBody decodes a body. Its errors say nothing of the content.
func readBody(r *http.Request, into any) error {
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return fault.New(fault.Invalid, "the body is not the JSON that this call takes, or too large")
	}
	return nil
}

// Import takes a .env file in one go, or nothing of it. STRIPE_KEY becomes the secret stripe-key; empty values are left out.
func (s *Store) Import(ctx context.Context, who string, in wire.SecretsImport) (wire.SecretsImported, error) {
	var out wire.SecretsImported
	entries, err := dotenv.Parse(bytes.NewReader(in.Dotenv))
	if err != nil {
		return out, fmt.Errorf("import secrets: %w", err)
	}
	var changes []change
	lines := map[string]int{}
	for _, e := range entries {
		name := strings.ReplaceAll(strings.ReplaceAll(strings.ToLower(e.Name), "_", "-"), ".", "-")
		if len(e.Value.Reveal()) == 0 {
			continue
		}
		if !lexis.IsLabel(name) {
			return out, fault.New(fault.Invalid, fmt.Sprintf("line %d: %s gives no name for a secret (a-z, 0-9, hyphens inside, at most 63)", e.Line, e.Name))
		}
		if first := lines[name]; first > 0 {
			return out, fault.New(fault.Invalid, fmt.Sprintf("line %d: %s would be the secret %s, as line %d is", e.Line, e.Name, name, first))
		}
		lines[name] = e.Line
		_, declared := s.definition(name)
		out.Secrets = append(out.Secrets, wire.SecretImported{Variable: e.Name, Name: name, Declared: declared})
		changes = append(changes, change{name: name, who: who, kind: eventImported, do: func(r *row, now time.Time) error {
			if r.current > 0 && !in.Replace && r.deletedAt.IsZero() {
				return errUnchanged
			}
			return r.set(e.Value, time.Time{}, now, Current)
		}})
	}
	if len(changes) == 0 {
		return out, nil
	}
	rows, err := s.apply(ctx, changes...)
	if err != nil {
		return wire.SecretsImported{}, fmt.Errorf("import secrets: %w", err)
	}
	for i, r := range rows {
		out.Secrets[i].Version, out.Secrets[i].Kept = r.current, len(r.added) == 0
	}
	return out, nil
}
