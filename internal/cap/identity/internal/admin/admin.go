// Package admin is the REST API for administrators of people, in JSON below /v1.
//
// Guarantee: inputs are bounded and unknown fields refused; answers hold no hash, secret or code, but for the one-time
// link of an invitation. Not guaranteed: who may call it. Whoever mounts it puts Ward's policy in front.
package admin

import (
	_ "embed"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/cap/identity/internal/account"
	"github.com/wardhq/ward/internal/cap/identity/internal/roster"
	"github.com/wardhq/ward/internal/cap/identity/internal/signin"
)

//go:embed openapi.json
var description []byte

// Description is the OpenAPI description of the API.
func Description() []byte { return description }

const (
	maxBody   = 64 << 10  // bytes
	maxImport = 512 << 20 // bytes
	pageSize  = 100
)

// User is a person in answers.
type User struct {
	ID       string    `json:"id"`
	Email    string    `json:"email"`
	Verified bool      `json:"verified"`
	Name     string    `json:"name"`
	Groups   []string  `json:"groups"`
	Roles    []string  `json:"roles"`
	Disabled bool      `json:"disabled"`
	Updated  time.Time `json:"updated"`
	Factors  []Factor  `json:"factors,omitempty"` // of one user, not in lists
	Link     string    `json:"link,omitempty"`    // of an invitation, once
}

// Factor is a second factor in answers.
type Factor struct {
	Kind  string    `json:"kind"`
	Label string    `json:"label"`
	Added time.Time `json:"added"`
	Used  time.Time `json:"used,omitzero"`
}

// Session is a session in answers.
type Session struct {
	ID      string    `json:"id"`
	Device  string    `json:"device"`
	Place   string    `json:"place"`
	Methods []string  `json:"methods"`
	Started time.Time `json:"started"`
	Seen    time.Time `json:"seen"`
	Expires time.Time `json:"expires"`
}

// Recovery is a request to come in without a second factor.
type Recovery struct {
	User  string    `json:"user"`
	Asked time.Time `json:"asked"`
	Ready time.Time `json:"ready"`
}

// api is the handler's state.
type api struct {
	accounts *account.Service
	log      *slog.Logger
}

// Handler serves the API.
func Handler(accounts *account.Service, log *slog.Logger) http.Handler {
	a := &api{accounts, log}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/openapi.json", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(description) // the client is gone
	})
	for pattern, h := range a.routes() {
		mux.HandleFunc(pattern, a.handle(h))
	}
	return mux
}

func (a *api) routes() map[string]func(*http.Request) (any, error) {
	return map[string]func(*http.Request) (any, error){
		"GET /v1/users":                            a.list,
		"POST /v1/users":                           a.invite,
		"POST /v1/users/import":                    a.load,
		"GET /v1/users/{id}":                       a.show,
		"PATCH /v1/users/{id}":                     a.change,
		"DELETE /v1/users/{id}":                    a.remove,
		"POST /v1/users/{id}/reset-factors":        a.resetFactors,
		"GET /v1/users/{id}/sessions":              a.sessions,
		"DELETE /v1/users/{id}/sessions":           a.endSessions,
		"DELETE /v1/users/{id}/sessions/{session}": a.endSession,
		"GET /v1/recoveries":                       a.recoveries,
		"POST /v1/recoveries/{id}":                 a.decide,
	}
}

// handle answers with what h returns as JSON, or with a fault.
func (a *api) handle(h func(*http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		limit := int64(maxBody)
		if r.URL.Path == "/v1/users/import" {
			limit = maxImport
		}
		r.Body = http.MaxBytesReader(w, r.Body, limit)
		out, err := h(r)
		status := http.StatusOK
		if err != nil {
			kind := fault.KindOf(err)
			if kind == fault.Internal {
				a.log.ErrorContext(r.Context(), "administration failed", "path", r.URL.Path, "error", err)
			}
			status, out = kind.Status(), map[string]string{"error": kind.String(), "message": fault.PublicText(err)}
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(out) // the client is gone
	}
}

// read decodes a body of known fields.
func read(r *http.Request, into any) error {
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return fault.Wrap(fault.Invalid, "the body isn't an object of the known fields", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return fault.New(fault.Invalid, "something follows the object")
	}
	return nil
}

func user(p signin.Person) User {
	return User{ID: p.ID, Email: p.Email, Verified: p.Verified, Name: p.Name, Groups: list(p.Groups), Roles: list(p.Roles), Disabled: p.Disabled, Updated: p.Updated}
}

// list is never null in JSON.
func list(names []string) []string { return append([]string{}, names...) }

func (a *api) list(r *http.Request) (any, error) {
	q := r.URL.Query()
	limit := pageSize
	if s := q.Get("limit"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 {
			return nil, fault.New(fault.Invalid, "limit isn't a number above zero")
		}
		limit = n
	}
	people, err := a.accounts.People(r.Context(), q.Get("email"), q.Get("after"), limit)
	if err != nil {
		return nil, err
	}
	out := struct {
		Users []User `json:"users"`
		After string `json:"after,omitempty"` // of the next page
	}{Users: []User{}}
	for _, p := range people {
		out.Users = append(out.Users, user(p))
	}
	if len(people) == limit {
		out.After = people[len(people)-1].Email
	}
	return out, nil
}

func (a *api) invite(r *http.Request) (any, error) {
	var in struct {
		Email  string   `json:"email"`
		Name   string   `json:"name"`
		Locale string   `json:"locale"`
		Groups []string `json:"groups"`
		Roles  []string `json:"roles"`
	}
	if err := read(r, &in); err != nil {
		return nil, err
	}
	p, link, err := a.accounts.Invite(r.Context(), account.NewPerson{Email: in.Email, Name: in.Name, Locale: in.Locale, Groups: in.Groups, Roles: in.Roles})
	if err != nil {
		return nil, err
	}
	out := user(p)
	out.Link = string(link.Reveal())
	return out, nil
}

func (a *api) load(r *http.Request) (any, error) {
	done, err := roster.Import(r.Context(), a.accounts, r.Body)
	if err != nil {
		return nil, err
	}
	type refused struct {
		Line int    `json:"line"`
		Why  string `json:"why"`
	}
	out := struct {
		Made    int       `json:"made"`
		Refused []refused `json:"refused"`
	}{done.Made, []refused{}}
	for _, l := range done.Refused {
		out.Refused = append(out.Refused, refused(l))
	}
	return out, nil
}

func (a *api) show(r *http.Request) (any, error) {
	p, err := a.accounts.Person(r.Context(), r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	factors, _, err := a.accounts.Factors(r.Context(), p.ID)
	if err != nil {
		return nil, err
	}
	out := user(p)
	for _, f := range factors {
		out.Factors = append(out.Factors, Factor{string(f.Kind), f.Label, f.Added, f.Used})
	}
	return out, nil
}

// change changes what the body names, and nothing else.
func (a *api) change(r *http.Request) (any, error) {
	var in struct {
		Name     *string   `json:"name"`
		Disabled *bool     `json:"disabled"`
		Groups   *[]string `json:"groups"`
		Roles    *[]string `json:"roles"`
	}
	if err := read(r, &in); err != nil {
		return nil, err
	}
	ctx, id := r.Context(), r.PathValue("id")
	p, err := a.accounts.Person(ctx, id)
	if err != nil {
		return nil, err
	}
	if in.Groups != nil {
		p.Groups = *in.Groups
	}
	if in.Roles != nil {
		p.Roles = *in.Roles
	}
	if in.Groups != nil || in.Roles != nil {
		err = a.accounts.SetMembership(ctx, id, p.Groups, p.Roles)
	}
	if err == nil && in.Name != nil {
		err = a.accounts.SetName(ctx, id, *in.Name)
	}
	if err == nil && in.Disabled != nil {
		err = a.accounts.SetDisabled(ctx, id, *in.Disabled)
	}
	if err != nil {
		return nil, err
	}
	return a.show(r)
}

type done struct{}

// known is the person of the path, if there is one.
func (a *api) known(r *http.Request) (string, error) {
	p, err := a.accounts.Person(r.Context(), r.PathValue("id"))
	return p.ID, err
}

func (a *api) remove(r *http.Request) (any, error) {
	id, err := a.known(r)
	if err != nil {
		return nil, err
	}
	return done{}, a.accounts.Delete(r.Context(), id)
}

func (a *api) resetFactors(r *http.Request) (any, error) {
	id, err := a.known(r)
	if err != nil {
		return nil, err
	}
	return done{}, a.accounts.ResetFactors(r.Context(), id)
}

func (a *api) sessions(r *http.Request) (any, error) {
	id, err := a.known(r)
	if err != nil {
		return nil, err
	}
	open, err := a.accounts.Sessions(r.Context(), id)
	if err != nil {
		return nil, err
	}
	out := struct {
		Sessions []Session `json:"sessions"`
	}{[]Session{}}
	for _, s := range open {
		out.Sessions = append(out.Sessions, Session{s.ID, s.Device, s.Place, list(s.Methods), s.Started, s.Last, s.Expires})
	}
	return out, nil
}

func (a *api) endSessions(r *http.Request) (any, error) {
	id, err := a.known(r)
	if err != nil {
		return nil, err
	}
	return done{}, a.accounts.EndSessions(r.Context(), id, "")
}

func (a *api) endSession(r *http.Request) (any, error) {
	return done{}, a.accounts.EndSessionOf(r.Context(), r.PathValue("id"), r.PathValue("session"))
}

func (a *api) recoveries(r *http.Request) (any, error) {
	waiting, err := a.accounts.Recoveries(r.Context())
	if err != nil {
		return nil, err
	}
	out := struct {
		Recoveries []Recovery `json:"recoveries"`
	}{[]Recovery{}}
	for _, x := range waiting {
		out.Recoveries = append(out.Recoveries, Recovery{x.Person, x.Asked, x.Ready})
	}
	return out, nil
}

func (a *api) decide(r *http.Request) (any, error) {
	var in struct {
		Approve *bool `json:"approve"`
	}
	if err := read(r, &in); err != nil {
		return nil, err
	}
	if in.Approve == nil {
		return nil, fault.New(fault.Invalid, "approve is missing")
	}
	return done{}, a.accounts.DecideRecovery(r.Context(), r.PathValue("id"), *in.Approve)
}
