package site

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/cap/identity/internal/account"
	"github.com/wardhq/ward/internal/cap/identity/internal/message"
	"github.com/wardhq/ward/internal/cap/identity/internal/page"
	"github.com/wardhq/ward/internal/cap/identity/internal/signin"
	"github.com/wardhq/ward/internal/cap/identity/internal/upstream"
	"github.com/wardhq/ward/internal/model"
)

// providers are the buttons of a sign-in; none where a fresh proof is asked for: whether a provider took one isn't known here.
func (v *visit) providers(f *account.Flow) (out []page.Provider) {
	if v.c.Upstreams == nil || f.Request.Fresh || f.Request.MaxAge >= 0 {
		return nil
	}
	for _, p := range v.c.Upstreams.Providers() {
		out = append(out, page.Provider{Name: p.Title, URL: withFlow("/sign-in/with/"+p.Name, f.ID)})
	}
	return out
}

// upstream leads to a provider.
func (v *visit) upstream() error {
	f, _, err := v.flow()
	if err != nil {
		return err
	}
	if len(v.providers(f)) == 0 || f.Join != nil {
		return v.redirect(withFlow(page.PathSignIn, f.ID))
	}
	begun, err := v.c.Upstreams.Begin(v.ctx, v.r.PathValue("provider"), f.ID)
	if err != nil {
		return err
	}
	http.SetCookie(v.w, begun.Cookie)
	v.w.Header().Set("Cache-Control", "no-store")
	v.w.Header().Set("Referrer-Policy", "no-referrer")
	return v.redirect(begun.Location)
}

// fromUpstream takes a provider's answer. Who was linked is signed in by it, as by a first factor. An address that has an account only
// says whom to ask; that it is theirs they prove here, as ever.
func (v *visit) fromUpstream() error {
	if v.c.Upstreams == nil {
		return fault.New(fault.NotFound, "there is no such provider")
	}
	name := v.r.PathValue("provider")
	got, err := v.c.Upstreams.Finish(v.ctx, name, v.r.URL.RawQuery, cookie(v.r, upstream.CookieName))
	http.SetCookie(v.w, upstream.Spent())
	if err != nil {
		v.c.Log.InfoContext(v.ctx, "upstream sign-in came to nothing", "provider", name, "error", err)
		return err
	}
	f, err := v.Flow(v.ctx, got.Flow, v.in)
	if err != nil {
		return err
	}
	if f.Join != nil {
		return v.redirect(withFlow(page.PathSignIn, f.ID))
	}
	who := account.Upstream{Issuer: got.Issuer, Subject: got.Subject, Provider: v.titleOf(got.Issuer), Email: got.Email, Name: got.Name, Verified: got.Verified}
	linked, err := v.FindUpstream(v.ctx, who)
	switch fault.KindOf(err) {
	case fault.NotFound:
		return v.stranger(f, who)
	}
	if err != nil {
		return err
	}
	if linked.Disabled {
		return v.providerRefused()
	}
	f.Typed, f.Federal = "", nil
	f.Prove(linked.ID, v.Now(), signin.Federal)
	return v.next(f)
}

// stranger goes on with somebody who isn't linked with an account.
func (v *visit) stranger(f *account.Flow, who account.Upstream) error {
	if !who.Verified || who.Email == "" {
		return v.providerRefused()
	}
	there, err := v.Find(v.ctx, who.Email)
	if err != nil && fault.KindOf(err) != fault.NotFound {
		return err
	}
	if there != nil && (there.Disabled || !there.Verified) || there == nil && v.Users().Register != model.RegisterOpen {
		return v.providerRefused()
	}
	f.Typed, f.Person, f.Proof, f.Factor, f.Sent = "", "", account.Proof{}, "", nil
	f.Federal, f.Make = &who, there == nil
	return v.next(f)
}

func (v *visit) providerRefused() error {
	return v.c.Pages().Render(v.w, v.r, http.StatusForbidden, page.Error{Frame: v.plain(), What: page.ErrorProvider})
}

// makeStep takes the answer whether to make an account.
func (v *visit) makeStep(f *account.Flow) error {
	who := *f.Federal
	if v.form("do") != "make" || v.Users().Register != model.RegisterOpen {
		f.Federal, f.Make = nil, false
		return v.next(f)
	}
	if err := v.announce(account.Flag{Kind: account.FlagRegistered, Who: who.Email}); err != nil {
		return err
	}
	p, err := v.CreateUpstream(v.ctx, who, v.locale())
	if err != nil {
		return err
	}
	if err := v.Note(v.ctx, p.ID, "event.registered", "user.registered", v.in.Visitor); err != nil {
		return err
	}
	f.Federal, f.Make, f.New = nil, false, true
	f.Prove(p.ID, v.Now(), signin.Federal)
	return v.next(f)
}

// linkStep takes the answer whether to link.
func (v *visit) linkStep(f *account.Flow) error {
	who := *f.Federal
	f.Federal = nil
	if v.form("do") != "link" {
		return v.next(f)
	}
	err := v.LinkUpstream(v.ctx, f.Person, who)
	if errors.Is(err, account.ErrUnlinkable) || fault.KindOf(err) == fault.Conflict {
		if err := v.SaveFlow(v.ctx, f); err != nil { // the sign-in itself stands
			return err
		}
		return v.providerRefused()
	}
	if err != nil {
		return err
	}
	if err := v.Note(v.ctx, f.Person, "event.provider-linked", "sign-in.linked", v.in.Visitor); err != nil {
		return err
	}
	if err := v.AskWhether(v.ctx, f.Person, message.NewFactor, who.Provider, v.in.Visitor); err != nil {
		return err
	}
	return v.next(f)
}

// titleOf is how people call an issuer.
func (v *visit) titleOf(issuer string) string {
	if v.c.Upstreams != nil {
		for _, p := range v.c.Upstreams.Providers() {
			if p.Issuer == issuer {
				return p.Title
			}
		}
	}
	if u, err := url.Parse(issuer); err == nil {
		return u.Host
	}
	return issuer
}

// linked are the providers of whoever is signed in, as factors are shown.
func (v *visit) linked() ([]page.Factor, error) {
	list, err := v.Linked(v.ctx, v.user.Person.ID)
	if err != nil {
		return nil, fmt.Errorf("show providers: %w", err)
	}
	var out []page.Factor
	for _, l := range list {
		out = append(out, page.Factor{ID: l.ID, Kind: page.KindProvider, Label: v.titleOf(l.Issuer), Added: l.Added})
	}
	return out, nil
}

// unlink takes a provider from whoever is signed in.
func (v *visit) unlink(this page.Factor) error {
	if !v.posted() || v.form("do") != "remove" {
		return v.page(page.RemoveFactor{Frame: v.frame(), Factor: this})
	}
	if err := v.Unlink(v.ctx, v.user.Person.ID, this.ID); err != nil {
		return err
	}
	if err := v.EndSessions(v.ctx, v.user.Person.ID, v.user.ID); err != nil {
		return err
	}
	if err := v.changed("event.factor-removed", "sign-in.factor-removed", this.Label); err != nil {
		return err
	}
	return v.redirect(page.PathFactors + "?done=removed")
}
