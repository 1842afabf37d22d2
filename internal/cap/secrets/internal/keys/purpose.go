package keys

import (
	"time"
)

// Purpose is what a key is for, for good. The zero Purpose is none.
type Purpose string

// The purposes.
const (
	Encrypt Purpose = "encrypt" // messages, and data keys for services
	Lookup  Purpose = "lookup"  // deterministic encryption and blind indexes
	MAC     Purpose = "mac"     // HMAC-SHA-256
	ES256   Purpose = "ES256"   // ECDSA on P-256 with SHA-256 (RFC 7518 §3.4)
	EdDSA   Purpose = "EdDSA"   // Ed25519 (RFC 8037 §3.1)
	RS256   Purpose = "RS256"   // RSASSA-PKCS1-v1_5 with SHA-256, 3072 bits (RFC 7518 §3.3)
)

const (
	defaultRotation = 90 * 24 * time.Hour
	// maxAhead is how long the next key of signatures is published before it signs: longer than verifiers keep a key set.
	maxAhead = 24 * time.Hour
)

func (p Purpose) known() bool { return p == Encrypt || p == Lookup || p == MAC || p.signs() }

func (p Purpose) signs() bool { return p == ES256 || p == EdDSA || p == RS256 }

// rotation is how often a key is replaced if nobody says. What equal values must be found with is replaced by hand only.
func (p Purpose) rotation() time.Duration {
	if p == Lookup || p == MAC {
		return 0
	}
	return defaultRotation
}

// ahead is how long before the end of its predecessor a version is made.
func (p Purpose) ahead(rotate time.Duration) time.Duration {
	if !p.signs() {
		return 0
	}
	return min(maxAhead, rotate/4)
}

// Op is what is done with a key, or to it.
type Op string

// What services do.
const (
	OpEncrypt     Op = "encrypt"
	OpDecrypt     Op = "decrypt"
	OpRewrap      Op = "rewrap"
	OpDataKey     Op = "data-key"
	OpOpenDataKey Op = "open-data-key"
	OpLookupKeys  Op = "lookup-keys"
	OpSign        Op = "sign"
	OpVerify      Op = "verify"
	OpMAC         Op = "mac"
	OpVerifyMAC   Op = "verify-mac"
)

// What is done to keys.
const (
	OpCreate   Op = "create"
	OpTune     Op = "tune" // its rotation
	OpRotate   Op = "rotate"
	OpImport   Op = "import"
	OpMinimum  Op = "min-version"
	OpDisable  Op = "disable"
	OpEnable   Op = "enable"
	OpDelete   Op = "delete"
	OpUndelete Op = "undelete"
	OpDestroy  Op = "destroy"
	OpShred    Op = "shred"
	OpReadmit  Op = "readmit"
)

// refused marks the count of items that couldn't be decrypted.
func (o Op) refused() Op { return o + "-refused" }

func (o Op) serves(p Purpose) bool {
	switch o {
	case OpEncrypt, OpDecrypt, OpRewrap:
		return p == Encrypt || p == Lookup
	case OpDataKey, OpOpenDataKey, OpShred, OpReadmit:
		return p == Encrypt
	case OpLookupKeys:
		return p == Lookup
	case OpSign, OpVerify:
		return p.signs()
	case OpMAC, OpVerifyMAC:
		return p == MAC
	}
	return false
}
