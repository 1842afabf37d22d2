package account

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/base/secret"
	"github.com/wardhq/ward/internal/cap/identity/internal/page"
	"github.com/wardhq/ward/internal/store"
)

const maxCredential = 16 << 10 // bytes of a browser's answer

// newPasskeys is the relying party: one origin, and never without user verification.
func newPasskeys(host, origin, name string) (*webauthn.WebAuthn, error) {
	if name == "" {
		name = host
	}
	required := true
	return webauthn.New(&webauthn.Config{
		RPID: host, RPDisplayName: name, RPOrigins: []string{origin},
		AttestationPreference: protocol.PreferNoAttestation,
		AuthenticatorSelection: protocol.AuthenticatorSelection{
			RequireResidentKey: &required, ResidentKey: protocol.ResidentKeyRequirementRequired, UserVerification: protocol.VerificationRequired,
		},
	})
}

// holder is a person as the library wants them. The user handle is the person's identifier, which says nothing.
type holder struct {
	*Record
	credentials []webauthn.Credential
	factors     []Factor // beside them
}

func (h *holder) WebAuthnID() []byte                         { return []byte(h.ID) }
func (h *holder) WebAuthnName() string                       { return h.Email }
func (h *holder) WebAuthnDisplayName() string                { return h.Email }
func (h *holder) WebAuthnCredentials() []webauthn.Credential { return h.credentials }

// holder reads a person's passkeys.
func (s *Service) holder(ctx context.Context, tx *store.Tx, person string) (*holder, error) {
	r, err := personByID(ctx, tx, person)
	if err != nil {
		return nil, err
	}
	list, err := factors(ctx, tx, person)
	if err != nil {
		return nil, err
	}
	h := &holder{Record: r}
	for _, f := range list {
		if f.Kind != page.KindPasskey {
			continue
		}
		plain, err := s.open(person, f)
		if err != nil {
			return nil, err
		}
		var c webauthn.Credential
		if err := json.Unmarshal(plain.Reveal(), &c); err != nil {
			return nil, fmt.Errorf("read passkey: %w", err)
		}
		c.Authenticator.SignCount = uint32(f.counter)
		h.credentials, h.factors = append(h.credentials, c), append(h.factors, f)
	}
	return h, nil
}

// Ceremony is one passkey challenge: Options for the browser, State for us, to be kept and used once.
type Ceremony struct{ Options, State string }

// AskPasskey begins a sign-in with any discoverable passkey.
func (s *Service) AskPasskey() (Ceremony, error) {
	options, state, err := s.passkeys.BeginDiscoverableLogin(webauthn.WithUserVerification(protocol.VerificationRequired))
	if err != nil {
		return Ceremony{}, fmt.Errorf("ask for passkey: %w", err)
	}
	return Ceremony{toJSON(options.Response), toJSON(state)}, nil
}

// ErrPasskey says that a passkey isn't taken. What was wrong is in the log.
var ErrPasskey = fault.New(fault.Refused, "the passkey isn't taken")

// ErrClone says that a passkey's counter didn't rise: there may be a copy of it.
var ErrClone = fault.New(fault.Refused, "the passkey may have been copied")

// VerifyPasskey checks the answer to a flow's challenge and says whose passkey it is. The flow's next change uses the challenge up, and
// stores the counter with it: of two answers one comes first, and the other's change fails, with ErrStale in the same flow, or ErrClone
// at the same count. After an error the caller calls SpendPasskey. A passkey whose counter doesn't rise is ErrClone, with the person,
// and its stored counter stays. The user was verified.
func (s *Service) VerifyPasskey(ctx context.Context, f *Flow, answer string) (person string, err error) {
	var session webauthn.SessionData
	state := f.Passkey
	if state == "" || len(answer) > maxCredential {
		return "", ErrPasskey
	}
	if err := json.Unmarshal([]byte(state), &session); err != nil {
		return "", fmt.Errorf("read challenge: %w", err)
	}
	parsed, err := protocol.ParseCredentialRequestResponseBytes([]byte(answer))
	if err != nil {
		return "", ErrPasskey
	}
	var h *holder
	err = s.DB.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		var who string
		err := tx.QueryRow(ctx, "SELECT person FROM account_factor WHERE credential = ?", credentialKey(parsed.RawID)).Scan(&who)
		if errors.Is(err, store.ErrNoRows) {
			return ErrPasskey
		}
		if err != nil {
			return fmt.Errorf("look up passkey: %w", err)
		}
		h, err = s.holder(ctx, tx, who)
		return err
	})
	if err != nil {
		return "", err
	}
	session.UserVerification = protocol.VerificationRequired
	_, credential, err := s.passkeys.ValidatePasskeyLogin(func(_, handle []byte) (webauthn.User, error) {
		if string(handle) != h.ID {
			return nil, ErrPasskey
		}
		return h, nil
	}, session, parsed)
	if err != nil || h.Disabled {
		return h.ID, ErrPasskey
	}
	if credential.Authenticator.CloneWarning {
		return h.ID, ErrClone
	}
	f.Passkey, f.Options = "", ""
	f.also = func(ctx context.Context, tx *store.Tx) error { return s.usedPasskey(ctx, tx, h, credential) }
	return h.ID, nil
}

// usedPasskey stores the new counter; when another answer was as far, one of the two is a copy's.
func (s *Service) usedPasskey(ctx context.Context, tx *store.Tx, h *holder, c *webauthn.Credential) error {
	for i, old := range h.credentials {
		if string(old.ID) != string(c.ID) {
			continue
		}
		ok, err := s.advance(ctx, tx, h.factors[i], int64(c.Authenticator.SignCount))
		if err == nil && !ok {
			err = ErrClone
		}
		return err
	}
	return ErrPasskey
}

// OfferPasskey begins to add a passkey.
func (s *Service) OfferPasskey(ctx context.Context, person string) (c Ceremony, err error) {
	err = s.DB.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		h, err := s.holder(ctx, tx, person)
		if err != nil {
			return err
		}
		options, state, err := s.passkeys.BeginRegistration(h, webauthn.WithExclusions(webauthn.Credentials(h.credentials).CredentialDescriptors()))
		if err != nil {
			return fmt.Errorf("offer passkey: %w", err)
		}
		c = Ceremony{toJSON(options.Response), toJSON(state)}
		return nil
	})
	return c, err
}

// AddPasskey adds the passkey that the browser made. The caller has used up the challenge.
func (s *Service) AddPasskey(ctx context.Context, person, label, state, answer string) error {
	var session webauthn.SessionData
	if state == "" || len(answer) > maxCredential || len([]rune(label)) > maxName || checkName(label) != nil {
		return ErrPasskey
	}
	if err := json.Unmarshal([]byte(state), &session); err != nil {
		return fmt.Errorf("read challenge: %w", err)
	}
	parsed, err := protocol.ParseCredentialCreationResponseBytes([]byte(answer))
	if err != nil {
		return ErrPasskey
	}
	session.UserVerification = protocol.VerificationRequired
	var c *webauthn.Credential
	err = s.DB.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		h, err := s.holder(ctx, tx, person)
		if err != nil {
			return err
		}
		if c, err = s.passkeys.CreateCredential(h, session, parsed); err != nil {
			return ErrPasskey
		}
		return nil
	})
	if err != nil {
		return err
	}
	c.Attestation = webauthn.CredentialAttestation{} // nothing is attested, and it is large
	plain := secret.New([]byte(toJSON(c)))
	err = s.addFactor(ctx, person, Factor{Kind: page.KindPasskey, Label: label, counter: int64(c.Authenticator.SignCount)}, plain.Reveal(), credentialKey(c.ID))
	if store.IsUnique(err) {
		return ErrPasskey // somebody has it
	}
	return err
}
