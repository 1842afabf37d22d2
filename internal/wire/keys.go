package wire

import "time"

// ManagedKey is a key as administrators see it: everything but its material.
type ManagedKey struct {
	Name    string `json:"name"`
	Purpose string `json:"purpose"` // encrypt, lookup, mac, ES256, EdDSA or RS256
	State   string `json:"state"`   // a KeyState
	// RotateSeconds is how often it is replaced; 0: only by hand.
	RotateSeconds int64     `json:"rotate_seconds"`
	Current       int64     `json:"current"` // the version that encrypts and signs; 0: made when first used
	MinVersion    int64     `json:"min_version"`
	Created       time.Time `json:"created"`
	NextRotation  time.Time `json:"next_rotation,omitzero"`
	DeleteAt      time.Time `json:"delete_at,omitzero"`
	Destroyed     time.Time `json:"destroyed,omitzero"`
	// Versions, Uses and Loss come with a single key only.
	Versions []ManagedKeyVersion `json:"versions,omitempty"`
	Uses     []ManagedKeyUse     `json:"uses,omitempty"`
	Loss     *ManagedKeyLoss     `json:"loss,omitempty"`
}

// States of keys and of versions.
const (
	KeyEnabled   = "enabled"
	KeyDisabled  = "disabled"
	KeyPending   = "to be destroyed" // at DeleteAt
	KeyDestroyed = "destroyed"
	KeyCurrent   = "current"   // a version that encrypts and signs
	KeyOlder     = "older"     // one that decrypts and verifies
	KeyPublished = "published" // one that will sign
	KeyRetired   = "retired"   // one below the lowest that may be used
)

// ManagedKeyVersion is one version of a key.
type ManagedKeyVersion struct {
	Number   int64     `json:"number"`
	ID       string    `json:"id"` // in hex, as in ciphertexts and key sets
	State    string    `json:"state"`
	Created  time.Time `json:"created"`
	Starts   time.Time `json:"starts"`
	Imported bool      `json:"imported,omitempty"`
	// What may have been encrypted under it, at most: a data key given to a service counts with all that it may seal.
	DataKeys int64 `json:"data_keys"`
	Messages int64 `json:"messages"`
	Bytes    int64 `json:"bytes"`
}

// ManagedKeyUse is how often a service has done one thing with a key.
type ManagedKeyUse struct {
	Service string    `json:"service"`
	Op      string    `json:"op"` // "-refused" behind it counts what couldn't be decrypted
	Count   int64     `json:"count"`
	Last    time.Time `json:"last"`
}

// ManagedKeyLoss is what can't be read, or made any more, without a key.
type ManagedKeyLoss struct {
	DataKeys int64     `json:"data_keys"` // issued to services: each may have sealed many values
	Messages int64     `json:"messages"`  // encrypted here
	Signed   int64     `json:"signed"`    // signatures and MACs: those made can be verified elsewhere at the most
	Owners   int64     `json:"owners"`    // who have keys under it
	Services []string  `json:"services"`  // that have used it
	LastUse  time.Time `json:"last_use,omitzero"`
}

// ManagedKeyRotate asks for a new version.
type ManagedKeyRotate struct {
	// AtOnce lets a new signing key sign before it was published for a day.
	AtOnce bool `json:"at_once,omitempty"`
}

// ManagedKeyVersionNumber names a version; 0 is the whole key.
type ManagedKeyVersionNumber struct {
	Version int64 `json:"version,omitempty"`
}

// ManagedKeyDelete asks for a key's destruction.
type ManagedKeyDelete struct {
	WaitDays int `json:"wait_days,omitempty"` // 0: 30
	// Confirm repeats the key's name: it can't be undone afterwards.
	Confirm string `json:"confirm"`
}

// ManagedKeyImport brings material: 32 bytes, or PKCS #8 (DER).
type ManagedKeyImport struct {
	Material []byte `json:"material"`
}

// ManagedKeyOwner names an owner of data.
type ManagedKeyOwner struct {
	Owner string `json:"owner"`
}

// ManagedKeys is a list of keys, at most 1,000 behind the one that was asked for with ?after=.
type ManagedKeys struct {
	Keys []ManagedKey `json:"keys"`
}
