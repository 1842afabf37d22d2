package model

// Users says who may sign in, and how. The zero Users is an application without sign-in.
type Users struct {
	Pos  Pos // zero: the file has no users:
	Host string
	// Name, Color and Texts are what people see: the application's name, "#rrggbb", and own words for texts by key.
	Name, Color string
	Texts       []Text
	Register    Register
	// SecondFactor is required unless it is said to be optional. A passkey that verified its user is two factors.
	SecondFactor SecondFactor
	Passwords    bool // sign-in with a password is possible; passkeys always are
	Groups       []string
	Roles        []string
	Idle         int // seconds without a request after which a session ends
	Absolute     int // seconds after which a session ends in any case
	Mail         Mail
	SMS          SMS
	Providers    []Provider
	Clients      []Client
	Issuers      []Issuer
	GeoIP        string // path of a MaxMind database; "" for none
	Breached     string // path of a filter made by `ward users breached`; "" for the built-in one
	Flags        []Flag
}

// On tells whether the application has sign-in.
func (u *Users) On() bool { return u.Pos.Line > 0 }

// Text is a text of the pages in the team's own words.
type Text struct{ Key, Text string }

// Register says whether people may make accounts for themselves.
type Register uint8

// The zero Register is closed.
const (
	RegisterClosed Register = iota
	RegisterOpen
)

// SecondFactor says whether people need one.
type SecondFactor uint8

// The zero SecondFactor is required.
const (
	SecondFactorRequired SecondFactor = iota
	SecondFactorOptional
)

// Mail is how mail is sent. Without SMTP it is written to a folder.
type Mail struct {
	From         string // RFC 5322 address
	SMTP         string // smtp://host:port (STARTTLS required) or smtps://host:port
	User         string
	PasswordFile string
}

// SMS is how text messages are sent: to a webhook or a Twilio-compatible API; neither: not at all.
type SMS struct {
	Webhook    string // https://…
	Twilio     string // https://…, the API's base
	Account    string // of Twilio
	From       string // of Twilio
	SecretFile string // the webhook's HMAC key, or Twilio's token
}

// Provider is an OpenID provider that people may sign in with.
type Provider struct {
	Pos        Pos
	Name       string // a DNS label
	Title      string // on the button
	Issuer     string // https URL
	ClientID   string
	SecretFile string
	Scopes     []string
}

// Client is a declared OAuth client.
type Client struct {
	Pos       Pos
	Name      string   // its client_id
	Title     string   // for people
	Public    bool     // it can't keep a secret
	Redirects []string // exact redirect URIs
	Logouts   []string // exact post-logout redirect URIs
	Back      string   // URI for back-channel logout
	Grants    []string // authorization_code, refresh_token, client_credentials, device_code, token_exchange
	Scopes    []string
	Audiences []string // resources that it may ask tokens for
	// SecretHash is the SHA-256 (hex) of a random secret; JWKSFile is for private_key_jwt. Neither, and not Public: it
	// authenticates with its service's SVID.
	SecretHash string
	JWKSFile   string
	Service    ServiceName
	// PKCE is required unless a confidential client relies on nonce.
	NonceOnly bool
	RS256     bool // ID tokens signed with RS256 rather than ES256
	DPoP      bool // its tokens must be bound
	Consent   bool // people are asked
}

// Issuer is a foreign authority whose bearer tokens the gateway accepts.
type Issuer struct {
	Pos      Pos
	Name     string
	Issuer   string
	Audience string
	JWKS     string // URL; "" for the one of its discovery document
}

// Flag is the response to a red flag.
type Flag struct {
	Pos      Pos
	Name     string
	Response []string
}

// Need is what a right asks of the person in a request. The zero Need asks for nobody.
type Need struct {
	// Who may: any of "signed-in", "group:x", "role:x", "user:mail address" suffices. Empty: also nobody signed in.
	Who []string `json:"who,omitempty"`
	// MFA is how long ago, in seconds, a second factor may have been shown at most; 0: not asked.
	MFA int `json:"mfa,omitempty"`
	// When is a CEL condition; "" for none.
	When string `json:"when,omitempty"`
}

// Asks tells whether a request may need a person.
func (n *Need) Asks() bool { return len(n.Who) > 0 || n.MFA > 0 || n.When != "" }
