package identity

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/wardhq/ward/internal/base/canon"
	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/base/jose"
	"github.com/wardhq/ward/internal/cap/identity/internal/account"
	"github.com/wardhq/ward/internal/cap/identity/internal/admin"
	"github.com/wardhq/ward/internal/cap/identity/internal/breach"
	oauth "github.com/wardhq/ward/internal/cap/identity/internal/client"
	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/plan/policy"
	"github.com/wardhq/ward/internal/wire"
)

// Admin serves the administration of people, clients and tokens. It asks for nobody: who may reach it is known from the
// socket. Administrators elsewhere come through the pages' host, see guarded.
func (u *Users) Admin() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if p := u.parts.Load(); p != nil {
			p.admin.ServeHTTP(w, r)
			return
		}
		wire.WriteError(w, errNobody)
	})
}

// administration puts the API together.
func (x *parts) administration() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/v1/", admin.Handler(x.accounts, x.users.config.Log))
	wire.Handle(mux, "GET /v1/clients", x.listClients)
	wire.Handle(mux, "POST /v1/clients", x.addClient)
	mux.HandleFunc("DELETE /v1/clients/{name}", func(w http.ResponseWriter, r *http.Request) {
		if err := x.clients.Remove(r.Context(), r.PathValue("name")); err != nil {
			wire.WriteError(w, err)
			return
		}
		x.users.config.Record(wire.Event{Kind: "client.removed", Subject: "admin", Object: r.PathValue("name")})
		w.WriteHeader(http.StatusNoContent)
	})
	wire.Handle(mux, "POST /v1/tokens/inspect", x.inspect)
	wire.Handle(mux, "GET /v1/first-admin", func(ctx context.Context, _ struct{}) (wire.FirstAdmin, error) {
		link, err := x.accounts.FirstAdminLink(ctx)
		return wire.FirstAdmin{Link: link}, err
	})
	return mux
}

func (x *parts) listClients(ctx context.Context, _ struct{}) ([]wire.OAuthClient, error) {
	all, err := x.clients.List(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]wire.OAuthClient, 0, len(all))
	for _, l := range all {
		from := "ward.yaml"
		if l.From == oauth.Added {
			from = "added"
		}
		out = append(out, wire.OAuthClient{
			Name: l.Name, Title: l.Title, From: from, Shadowed: l.Shadowed, Public: l.Public, Redirects: l.Redirects, Grants: l.Grants, Scopes: l.Scopes,
			Audiences: l.Audiences, Service: string(l.Service),
		})
	}
	return out, nil
}

func (x *parts) addClient(ctx context.Context, c wire.OAuthClient) (wire.OAuthClient, error) {
	secret, err := x.clients.Add(ctx, oauth.Spec{Client: model.Client{
		Name: c.Name, Title: c.Title, Public: c.Public, Redirects: c.Redirects, Grants: c.Grants, Scopes: c.Scopes, Audiences: c.Audiences, Service: model.ServiceName(c.Service),
	}})
	if err != nil {
		return c, err
	}
	x.users.config.Record(wire.Event{Kind: "client.added", Subject: "admin", Object: c.Name})
	c.From, c.Secret = "added", string(secret.Reveal())
	return c, nil
}

// inspect tells what a token says and whether it counts. It is the administrator's: nothing is taken on the token's word.
func (x *parts) inspect(_ context.Context, q wire.TokenQuery) (wire.TokenSays, error) {
	var out wire.TokenSays
	t, err := jose.Parse(strings.TrimSpace(q.Token))
	if err != nil {
		return out, fault.Wrap(fault.Invalid, "not a JWT", err)
	}
	out.Type, out.Alg, out.KeyID = t.Type, string(t.Alg), t.KeyID
	txn, err := jose.ParseKeySet(x.users.board.Keys())
	if err != nil {
		return out, err
	}
	out.Claims, err = payload(q.Token)
	if err != nil {
		return out, fault.Wrap(fault.Invalid, "not a JWT", err)
	}
	switch {
	case t.Verify(x.provider.Keys(), jose.ES256, jose.RS256) == nil:
		out.Signed = "by this application's provider"
	case t.Verify(txn, jose.EdDSA) == nil:
		out.Signed = "by this application's gateway"
	default:
		return out, nil
	}
	c, err := t.Claims()
	if err != nil {
		return out, err
	}
	out.Ended = x.users.board.HasEnded(c.ID)
	var sid string
	if _, err := c.Get("sid", &sid); err == nil && sid != "" {
		out.Ended = out.Ended || x.users.board.HasEnded(sid)
	}
	out.Over = !x.users.config.Clock.Now().Before(c.Expires)
	return out, nil
}

// guarded lets administrators reach the API at the pages' host, with an access token for it. Ward's own policy decides, as for any
// service: role ward-admin, and a second factor of the last quarter of an hour.
func (x *parts) guarded() (http.Handler, error) {
	const service = "control"
	rule := model.Expose{
		Routes: []model.Grant{{Kind: model.GrantHTTP, Methods: []string{"*"}, Pattern: "/v1/**"}},
		Need:   model.Need{Who: []string{"role:" + account.AdminRole}, MFA: 15 * 60},
	}
	set, err := policy.Compile(plan.Build(&model.Model{
		App: "ward", TrustDomain: "ward.internal", Services: []model.Service{{Name: service, Listen: []model.Listen{{Protocol: model.HTTP, Port: 80}}, Expose: []model.Expose{rule}}},
	}), "1970-01-01")
	if err != nil {
		return nil, err
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := policy.Context{Person: x.bearer(r), IP: visitor(r).IP, Now: x.users.config.Clock.Now().Unix()}
		q, err := canon.New(r.Method, r.Host, r.RequestURI)
		if err != nil {
			wire.WriteError(w, fault.Wrap(fault.Invalid, "the request has more than one reading", err))
			return
		}
		if m := set.Exposed().Route(&q, &c); !m.Allow {
			status := http.StatusForbidden
			if m.Reason == policy.NeedsUser || m.Reason == policy.NeedsFactor {
				status = http.StatusUnauthorized
				w.Header().Set("WWW-Authenticate", `Bearer realm="ward administration"`)
			}
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(status)
			_ = json.NewEncoder(w).Encode(map[string]string{"error": m.Reason.String()}) // the client has gone
			return
		}
		e := wire.Event{Kind: "admin.request", Subject: c.Person.ID, Object: wire.Clip(r.Method + " " + r.URL.Path), Detail: map[string]string{"network": wire.Network(c.IP)}}
		if err := x.users.config.RecordNow(r.Context(), e); err != nil {
			wire.WriteError(w, err)
			return
		}
		x.admin.ServeHTTP(w, r)
	}), nil
}

// bearer is whose access token came, as they are now; nil for nobody.
func (x *parts) bearer(r *http.Request) *policy.Person {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") || len(r.Header.Values("Authorization")) != 1 {
		return nil
	}
	t, err := jose.Parse(token)
	if err != nil || t.Verify(x.provider.Keys(), jose.ES256) != nil {
		return nil
	}
	c, err := jose.Expect{Issuer: x.origin, Audience: []string{x.origin}, Type: "at+jwt", Now: x.users.config.Clock.Now()}.Check(t)
	if err != nil || x.users.board.HasEnded(c.ID) {
		return nil
	}
	var sid string
	var bound json.RawMessage
	if _, err := c.Get("sid", &sid); err != nil || sid == "" {
		return nil
	}
	if has, err := c.Get("cnf", &bound); has || err != nil {
		return nil // bound to a key that isn't proven here
	}
	s, err := x.accounts.SessionByID(r.Context(), sid)
	if err != nil || s == nil || s.Person.ID != c.Subject || s.Person.Disabled {
		return nil
	}
	p := &policy.Person{ID: s.Person.ID, Email: s.Person.Email, Groups: s.Person.Groups, Roles: s.Person.Roles}
	if !s.FactorAt.IsZero() {
		p.FactorAt = s.FactorAt.Unix()
	}
	return p
}

// maxBreached bounds the lines of a list of breached passwords.
const maxBreached = 50_000_000

// BuildBreached makes the filter that users.breached names, of a list with one password, or one line of Have I Been Pwned's, a
// line. It says what it skipped.
func BuildBreached(list io.Reader, out io.Writer) (string, error) {
	f, skipped, err := breach.Build(list, maxBreached)
	if err != nil {
		return "", fault.Wrap(fault.Invalid, "the list can't be read: "+err.Error(), err)
	}
	var b bytes.Buffer
	if err := f.Write(&b); err != nil {
		return "", fmt.Errorf("write filter: %w", err)
	}
	if _, err := out.Write(b.Bytes()); err != nil {
		return "", fmt.Errorf("write filter: %w", err)
	}
	return fmt.Sprintf("%+v", skipped), nil
}

// payload is the JSON of a token's second part.
func payload(token string) (json.RawMessage, error) {
	_, rest, _ := strings.Cut(strings.TrimSpace(token), ".")
	body, _, _ := strings.Cut(rest, ".")
	b, err := base64.RawURLEncoding.DecodeString(body)
	if err == nil && !json.Valid(b) {
		err = fmt.Errorf("its claims aren't JSON")
	}
	return b, err
}
