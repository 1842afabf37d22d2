package browser

import (
	"github.com/chromedp/cdproto/webauthn"
)

// Authenticator is a virtual authenticator: built in, with discoverable passkeys, of a person who is present and verified.
type Authenticator struct {
	p  *Page
	id webauthn.AuthenticatorID
}

// Authenticator gives the page's device one.
func (p *Page) Authenticator() *Authenticator {
	p.t.Helper()
	send(p, webauthn.Enable, webauthn.EnableParams{})
	made := send(p, webauthn.AddVirtualAuthenticator, webauthn.AddVirtualAuthenticatorParams{Options: &webauthn.VirtualAuthenticatorOptions{
		Protocol: webauthn.AuthenticatorProtocolCtap2, Transport: webauthn.AuthenticatorTransportInternal,
		HasResidentKey: true, HasUserVerification: true, IsUserVerified: true, AutomaticPresenceSimulation: true,
	}})
	return &Authenticator{p: p, id: made.AuthenticatorID}
}
