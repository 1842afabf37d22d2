package oidc

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/cap/identity/internal/backchannel"
	"github.com/wardhq/ward/internal/cap/identity/internal/client"
	"github.com/wardhq/ward/internal/cap/identity/internal/grant"
	"github.com/wardhq/ward/internal/cap/identity/internal/page"
	"github.com/wardhq/ward/internal/store"
)

// leaving is a request to sign out (OpenID Connect RP-Initiated Logout §2).
type leaving struct {
	c     *client.Client // nil: nobody in particular asks
	hint  hint
	to    string // a registered address, or ""
	state string
}

// readLeaving checks one; without it nothing is redirected.
func (p *Provider) readLeaving(ctx context.Context, form url.Values) (*leaving, error) {
	l := &leaving{state: form.Get("state")}
	id := form.Get("client_id")
	if token := form.Get("id_token_hint"); token != "" {
		if h, err := p.readHint(token); err == nil {
			if id != "" && id != h.client {
				return nil, refuse(invalidRequest, "The request to sign out contradicts itself.")
			}
			l.hint, id = h, h.client
		}
	}
	if id != "" {
		c, err := p.Clients.Find(ctx, id)
		if err != nil && fault.KindOf(err) != fault.NotFound {
			return nil, err
		}
		l.c = c
	}
	if to := form.Get("post_logout_redirect_uri"); to != "" {
		if l.c == nil || !slices.Contains(l.c.Logouts, to) {
			return nil, refuse(invalidRequest, "The application asked to return to an address that isn't registered for it.")
		}
		l.to = to
	}
	return l, nil
}

func (l *leaving) target() string {
	if l.to == "" || l.state == "" {
		return l.to
	}
	return l.to + map[bool]string{true: "&", false: "?"}[strings.Contains(l.to, "?")] + url.Values{"state": {l.state}}.Encode()
}

// logout is the end_session_endpoint. With an ID token of the browser's session it ends it; otherwise the person is
// asked, for anybody can link here.
func (p *Provider) logout(w http.ResponseWriter, r *http.Request) error {
	form, err := pageForm(w, r)
	if err != nil {
		return err
	}
	l, err := p.readLeaving(r.Context(), form)
	if err != nil {
		return err
	}
	session, err := p.Accounts.Session(r)
	if err != nil {
		return err
	}
	switch {
	case session == nil && (r.Method == http.MethodGet || l.hint == hint{}):
		return p.signedOut(w, r, l)
	case session != nil && l.hint.session != "" && l.hint.session == session.ID:
		if err := p.Accounts.End(r.Context(), w, session.ID); err != nil {
			return err
		}
		return p.signedOut(w, r, l)
	}
	// A form of another site comes without cookies; the page that asks will have them.
	again := url.Values{}
	for _, name := range []string{"id_token_hint", "client_id", "post_logout_redirect_uri", "state"} {
		if v := form.Get(name); v != "" && (name != "id_token_hint" || l.hint != hint{}) {
			again.Set(name, v)
		}
	}
	if r.Method == http.MethodPost && l.hint != (hint{}) {
		redirect(w, pathLogout+"?"+again.Encode())
		return nil
	}
	again.Del("id_token_hint")
	if l.c != nil {
		again.Set("client_id", l.c.Name)
	}
	redirect(w, pathConfirm+"?"+again.Encode())
	return nil
}

// confirmLogout asks whether to sign out.
func (p *Provider) confirmLogout(w http.ResponseWriter, r *http.Request) error {
	query, err := parameters(r.URL.RawQuery)
	if err != nil {
		return err
	}
	form, err := pageForm(w, r)
	if err != nil {
		return err
	}
	l, err := p.readLeaving(r.Context(), query)
	if err != nil {
		return err
	}
	session, err := p.Accounts.Session(r)
	if err != nil {
		return err
	}
	if session == nil {
		return p.signedOut(w, r, l)
	}
	purpose := pathConfirm + " " + session.ID
	if r.Method == http.MethodPost && p.sameSite(r, form, purpose) && form.Get("do") == "sign-out" {
		if err := p.Accounts.End(r.Context(), w, session.ID); err != nil {
			return err
		}
		return p.signedOut(w, r, l)
	}
	frame := p.frame(w, r, purpose)
	view := page.SignOut{Frame: frame}
	if l.c != nil {
		view.Client = l.c.Title
	}
	if l.to != "" {
		view.FormTo = []string{l.to}
	}
	if r.Method == http.MethodPost {
		view.Problems = []page.Problem{{Text: page.ProblemStale}}
	}
	return p.Pages.Render(w, r, http.StatusOK, view)
}

func (p *Provider) signedOut(w http.ResponseWriter, r *http.Request, l *leaving) error {
	if to := l.target(); to != "" {
		redirect(w, to)
		return nil
	}
	return p.Pages.Render(w, r, http.StatusOK, page.SignedOut{})
}

// Ended ends whatever came from sessions that are over, and has their clients told.
func (p *Provider) Ended(ctx context.Context, sessions []string) error {
	if len(sessions) == 0 {
		return nil
	}
	holders, err := p.grants.Holders(ctx, sessions)
	if err != nil {
		return err
	}
	var notes []backchannel.Note
	for _, h := range holders {
		uri, err := p.backOf(ctx, h.Client)
		if err != nil {
			return err
		}
		if uri != "" {
			notes = append(notes, backchannel.Note{Client: h.Client, URI: uri, Person: h.Person, Session: h.Session})
		}
	}
	defer p.backs.Wake()
	return p.grants.EndSessions(ctx, sessions, func(ctx context.Context, tx *store.Tx) error { return p.backs.Put(ctx, tx, notes) })
}

// backOf is where a client wants to hear of logouts now; "" for nowhere.
func (p *Provider) backOf(ctx context.Context, id string) (string, error) {
	c, err := p.Clients.Find(ctx, id)
	if fault.KindOf(err) == fault.NotFound {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return c.Back, nil
}

// logoutToken makes a logout token (OpenID Connect Back-Channel Logout §2.4).
func (p *Provider) logoutToken(ctx context.Context, n backchannel.Note) (string, error) {
	c, err := p.Clients.Find(ctx, n.Client)
	if err != nil {
		return "", err
	}
	now := p.Clock.Now()
	return p.keys.Sign(ctx, identityAlg(c), "logout+jwt", map[string]any{
		"iss": p.Issuer, "aud": c.Name, "sub": n.Person, "sid": n.Session, "iat": now.Unix(), "exp": now.Add(2 * time.Minute).Unix(), "jti": grant.Random(),
		"events": map[string]any{"http://schemas.openid.net/event/backchannel-logout": struct{}{}},
	})
}
