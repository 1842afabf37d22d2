package browser

import (
	"github.com/chromedp/cdproto/cdp"
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

// Verify says whether the person passes what the device asks of them (a finger, a PIN).
func (a *Authenticator) Verify(passes bool) {
	a.p.t.Helper()
	send(a.p, webauthn.SetUserVerified, webauthn.SetUserVerifiedParams{AuthenticatorID: a.id, IsUserVerified: passes})
}

// Answer says whether somebody is there to answer.
func (a *Authenticator) Answer(there bool) {
	a.p.t.Helper()
	send(a.p, webauthn.SetAutomaticPresenceSimulation, webauthn.SetAutomaticPresenceSimulationParams{AuthenticatorID: a.id, Enabled: there})
}

// Passkeys are those that it holds.
func (a *Authenticator) Passkeys() []*webauthn.Credential {
	a.p.t.Helper()
	return send(a.p, webauthn.GetCredentials, webauthn.GetCredentialsParams{AuthenticatorID: a.id}).Credentials
}

// Replace puts a passkey in the place of the one with its identifier, as a copy of the device would have it.
func (a *Authenticator) Replace(c *webauthn.Credential) {
	a.p.t.Helper()
	send(a.p, webauthn.RemoveCredential, webauthn.RemoveCredentialParams{AuthenticatorID: a.id, CredentialID: c.CredentialID})
	// webauthn.AddCredential would name kinds of keys that Chromium's authenticator doesn't have.
	send(a.p, cdp.Command[map[string]any, cdp.Empty]{Method: webauthn.CommandAddCredential}, map[string]any{"authenticatorId": a.id, "credential": map[string]any{
		"credentialId": c.CredentialID, "isResidentCredential": c.IsResidentCredential, "rpId": c.RpID, "privateKey": c.PrivateKey, "userHandle": c.UserHandle, "signCount": c.SignCount,
		"backupEligibility": c.BackupEligibility, "backupState": c.BackupState, "userName": c.UserName, "userDisplayName": c.UserDisplayName,
	}})
}
