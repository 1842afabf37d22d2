package model

import "github.com/wardhq/ward/internal/model/phrase"

// Secret is a value that Ward keeps, and hands to those that it is declared for.
type Secret struct {
	Pos  Pos
	Name string // DNS label
	// Generate: Ward makes the value: "password", "key" (32 bytes in base64) or "certificate"; "" for one that people set.
	Generate   string `json:",omitempty"`
	SealedFile string `json:",omitempty"` // an age file for control's recipient, relative to the folder of ward.yaml
	RotateDays int    `json:",omitempty"` // 0: not by itself
	Canary     bool   `json:",omitempty"` // nobody uses it: whoever shows it has stolen it
}

// Uses of a key.
const (
	UseEncrypt = "encrypt"
	UseDecrypt = "decrypt"
	UseLookup  = "lookup" // deterministic encryption and blind indexes
	UseMAC     = "mac"
	UseSign    = "sign"
	UseVerify  = "verify"
)

// Purposes of a key.
const (
	PurposeEncrypt = "encrypt"
	PurposeLookup  = "lookup"
	PurposeMAC     = "mac"
)

// LookupSuffix ends the name of the key that a data class's lookups use.
const LookupSuffix = ".lookup"

// Key is a managed key. Each data class has one of its own name, and one for lookups.
type Key struct {
	Pos        Pos
	Name       string
	Purpose    string // PurposeEncrypt and so on, or a signature algorithm: ES256, EdDSA, RS256
	RotateDays int    `json:",omitempty"` // 0: the purpose's default
}

// KeyUse is what a service may do with a key.
type KeyUse struct {
	Pos  Pos
	Key  string
	Uses []string // in the order of the vocabulary
}

// SecretUse is a secret that a service gets.
type SecretUse struct {
	Pos    Pos
	Secret string
	phrase.Delivery
}

// Auth is how Ward authenticates calls to an external, with a secret that the caller never sees.
type Auth struct {
	Pos Pos
	phrase.Auth
	For []Grant `json:",omitempty"` // the calls that it is added to; empty for every granted one
}

// Database is a PostgreSQL database that Ward logs in to for services.
type Database struct {
	Pos      Pos
	Name     string
	Target   string       // a service, or an external
	Port     int          // 0: the target's only tcp port
	Database string       // its name in the server; default Name
	TLS      string       // TLSVerify (default for externals) or TLSOff: by PostgreSQL's own negotiation
	CAFile   string       `json:",omitempty"`
	Admin    phrase.Login // an account that may make users; only for users that Ward makes
	Users    []DatabaseUser
}

// Values of Database.TLS.
const (
	TLSVerify = "verify"
	TLSOff    = "off"
)

// DatabaseUser is what a service is at a database: a fixed account, or a user that Ward makes for each instance.
type DatabaseUser struct {
	Pos     Pos
	Service ServiceName
	Login   phrase.Login    // a fixed account; zero for made users
	Role    string          `json:",omitempty"` // a role that a made user is a member of, and acts as
	Rights  []phrase.Rights `json:",omitempty"` // or what a made user may do
	Life    int             // seconds that a made user is valid, unless it is renewed
}
