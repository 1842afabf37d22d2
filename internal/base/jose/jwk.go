package jose

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"
)

// ErrUnsupported is in the errors about keys that may be sound but aren't for us: another type, curve,
// size, algorithm or use.
var ErrUnsupported = errors.New("key is not supported")

// JWK is a public key that verifies signatures. The zero JWK verifies nothing.
type JWK struct {
	ID     string // kid; may be empty
	Alg    Alg    // empty for an RSA key that may verify both RS256 and PS256
	public crypto.PublicKey
}

// ParseJWK reads a public key (RFC 7517 §4, RFC 7518 §6, RFC 8037 §2): P-256, Ed25519, or RSA of 2048
// to 4096 bits. One that holds private members is refused. Certificates and addresses in it are
// never used.
func ParseJWK(data []byte) (JWK, error) {
	if len(data) > MaxKey {
		return JWK{}, fmt.Errorf("read JWK: more than %d bytes", MaxKey)
	}
	m, err := parseObject(data)
	if err != nil {
		return JWK{}, fmt.Errorf("read JWK: %w", err)
	}
	k, err := jwkOf(m)
	if err != nil {
		return JWK{}, fmt.Errorf("read JWK: %w", err)
	}
	return k, nil
}

func jwkOf(m members) (JWK, error) {
	kty, err := m.text("kty", maxName)
	if err != nil {
		return JWK{}, err
	}
	var algs []Alg
	var read func(members) (crypto.PublicKey, error)
	switch kty {
	case "EC":
		algs, read = []Alg{ES256}, readEC
	case "OKP":
		algs, read = []Alg{EdDSA}, readOKP
	case "RSA":
		algs, read = []Alg{RS256, PS256}, readRSA
	default:
		return JWK{}, fmt.Errorf("kty %.32q: %w", kty, ErrUnsupported)
	}
	for _, private := range []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k"} {
		if _, ok := m[private]; ok {
			return JWK{}, fmt.Errorf("it holds the private member %s", private)
		}
	}
	k := JWK{}
	if k.ID, err = m.text("kid", maxName); err != nil {
		return JWK{}, err
	}
	alg, err := m.text("alg", maxName)
	if err != nil {
		return JWK{}, err
	}
	if k.Alg = Alg(alg); alg == "" && len(algs) == 1 {
		k.Alg = algs[0]
	} else if alg != "" && !slices.Contains(algs, k.Alg) {
		return JWK{}, fmt.Errorf("alg %.32q of a key of type %s: %w", alg, kty, ErrUnsupported)
	}
	if err := checkUse(m); err != nil {
		return JWK{}, err
	}
	if k.public, err = read(m); err != nil {
		return JWK{}, err
	}
	return k, nil
}

// checkUse wants a key for signatures (RFC 7517 §4.2, §4.3).
func checkUse(m members) error {
	use, err := m.text("use", maxName)
	if err != nil {
		return err
	}
	if use != "" && use != "sig" {
		return fmt.Errorf("use %.32q: %w", use, ErrUnsupported)
	}
	raw, ok := m["key_ops"]
	if !ok {
		return nil
	}
	var ops []string
	if err := json.Unmarshal(raw, &ops); err != nil {
		return errors.New("key_ops is not a list of strings")
	}
	if !slices.Contains(ops, "verify") {
		return fmt.Errorf("key_ops without verify: %w", ErrUnsupported)
	}
	return nil
}

func readEC(m members) (crypto.PublicKey, error) {
	if crv, err := m.text("crv", maxName); err != nil || crv != "P-256" {
		return nil, errors.Join(fmt.Errorf("crv %.32q: %w", crv, ErrUnsupported), err)
	}
	x, err := m.bytes("x")
	if err != nil {
		return nil, err
	}
	y, err := m.bytes("y")
	if err != nil {
		return nil, err
	}
	if len(x) != 32 || len(y) != 32 {
		return nil, errors.New("x and y of P-256 have 32 bytes each")
	}
	k, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), slices.Concat([]byte{4}, x, y))
	if err != nil {
		return nil, errors.New("the point is not on P-256")
	}
	return k, nil
}

func readOKP(m members) (crypto.PublicKey, error) {
	if crv, err := m.text("crv", maxName); err != nil || crv != "Ed25519" {
		return nil, errors.Join(fmt.Errorf("crv %.32q: %w", crv, ErrUnsupported), err)
	}
	x, err := m.bytes("x")
	if err != nil {
		return nil, err
	}
	if len(x) != ed25519.PublicKeySize {
		return nil, errors.New("x of Ed25519 has 32 bytes")
	}
	return ed25519.PublicKey(x), nil
}

func readRSA(m members) (crypto.PublicKey, error) {
	n, err := m.bytes("n")
	if err != nil {
		return nil, err
	}
	e, err := m.bytes("e")
	if err != nil {
		return nil, err
	}
	if len(e) == 0 || len(n) == 0 || n[0] == 0 || e[0] == 0 {
		return nil, errors.New("n or e begins with a zero byte or is empty") // RFC 7518 §2, Base64urlUInt
	}
	if len(e) > 4 {
		return nil, fmt.Errorf("e of more than 32 bits: %w", ErrUnsupported)
	}
	k := &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(new(big.Int).SetBytes(e).Int64())}
	return k, checkRSA(k)
}

func checkRSA(k *rsa.PublicKey) error {
	if k.N.Bit(0) == 0 {
		return errors.New("n is even")
	}
	if bits := k.N.BitLen(); bits < 2048 || bits > 4096 {
		return fmt.Errorf("RSA of %d bits instead of 2048 to 4096: %w", bits, ErrUnsupported)
	}
	if k.E < 65537 || k.E > 1<<31-1 || k.E%2 == 0 {
		return fmt.Errorf("e must be odd, from 65537 to 2^31-1: %w", ErrUnsupported)
	}
	return nil
}

// Find makes a single key serve as Keys: it is found for its own kid or none.
func (k JWK) Find(kid string, alg Alg) (JWK, bool) {
	return k, (kid == "" || k.ID == "" || kid == k.ID) && k.verifies(alg)
}

// verifies says whether the key is of alg's type, and not bound to another algorithm.
func (k JWK) verifies(alg Alg) bool {
	if k.Alg != "" && k.Alg != alg {
		return false
	}
	switch k.public.(type) {
	case *ecdsa.PublicKey:
		return alg == ES256
	case ed25519.PublicKey:
		return alg == EdDSA
	case *rsa.PublicKey:
		return alg == RS256 || alg == PS256
	}
	return false
}

// essential is the key alone, in the form that RFC 7638 §3 hashes: required members, sorted, no space.
func (k JWK) essential() json.RawMessage {
	switch p := k.public.(type) {
	case *ecdsa.PublicKey:
		point, _ := p.Bytes() // 0x04, X, Y (SEC 1 §2.3.3); a parsed P-256 key always encodes
		return fmt.Appendf(nil, `{"crv":"P-256","kty":"EC","x":"%s","y":"%s"}`, encode(point[1:33]), encode(point[33:]))
	case ed25519.PublicKey:
		return fmt.Appendf(nil, `{"crv":"Ed25519","kty":"OKP","x":"%s"}`, encode(p))
	case *rsa.PublicKey:
		return fmt.Appendf(nil, `{"e":"%s","kty":"RSA","n":"%s"}`, encode(big.NewInt(int64(p.E)).Bytes()), encode(p.N.Bytes()))
	}
	return json.RawMessage("{}")
}

// Thumbprint is the SHA-256 thumbprint of RFC 7638 in base64url; it is DPoP's jkt too.
func (k JWK) Thumbprint() string {
	sum := sha256.Sum256(k.essential())
	return encode(sum[:])
}

// MarshalJSON is the public key with use, alg and kid.
func (k JWK) MarshalJSON() ([]byte, error) {
	if k.public == nil {
		return nil, errors.New("write JWK: it has no key")
	}
	rest, err := json.Marshal(struct {
		Use string `json:"use"`
		Alg Alg    `json:"alg,omitempty"`
		ID  string `json:"kid,omitempty"`
	}{"sig", k.Alg, k.ID})
	if err != nil {
		return nil, fmt.Errorf("write JWK: %w", err)
	}
	essential := k.essential()
	return slices.Concat(essential[:len(essential)-1], []byte(","), rest[1:]), nil
}

// KeySet is a set of public keys (RFC 7517 §5). It doesn't change and is safe for concurrent use.
type KeySet struct{ keys []JWK }

// NewKeySet makes a set; a kid that is there twice is refused.
func NewKeySet(keys ...JWK) (*KeySet, error) {
	if len(keys) > maxKeys {
		return nil, fmt.Errorf("make key set: more than %d keys", maxKeys)
	}
	seen := map[string]bool{}
	for _, k := range keys {
		if k.public == nil {
			return nil, errors.New("make key set: a JWK has no key")
		}
		if k.ID != "" && seen[k.ID] {
			return nil, fmt.Errorf("make key set: kid %.64q is there twice", k.ID)
		}
		seen[k.ID] = true
	}
	return &KeySet{keys: slices.Clone(keys)}, nil
}

// ParseKeySet reads a JWK set of at most 64 KiB and 64 keys. Keys that are not supported are left out;
// a malformed or private one makes the whole set refused.
func ParseKeySet(data []byte) (*KeySet, error) {
	if len(data) > MaxKeySet {
		return nil, fmt.Errorf("read key set: more than %d bytes", MaxKeySet)
	}
	m, err := parseObject(data)
	if err != nil {
		return nil, fmt.Errorf("read key set: %w", err)
	}
	var raws []json.RawMessage
	if raw, ok := m["keys"]; !ok || raw[0] != '[' || json.Unmarshal(raw, &raws) != nil {
		return nil, errors.New("read key set: keys is not a list")
	}
	if len(raws) > maxKeys {
		return nil, fmt.Errorf("read key set: more than %d keys", maxKeys)
	}
	var keys []JWK
	for i, raw := range raws {
		k, err := ParseJWK(raw)
		if errors.Is(err, ErrUnsupported) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read key set: key %d: %w", i, err)
		}
		keys = append(keys, k)
	}
	return NewKeySet(keys...)
}

// Find is the key of that kid if it serves alg. Without a kid, it is the only key that serves alg.
func (s *KeySet) Find(kid string, alg Alg) (JWK, bool) {
	var found []JWK
	for _, k := range s.keys {
		if (kid == "" || k.ID == kid) && k.verifies(alg) {
			found = append(found, k)
		}
	}
	if len(found) != 1 {
		return JWK{}, false
	}
	return found[0], true
}

// Len is the number of keys.
func (s *KeySet) Len() int { return len(s.keys) }

// MarshalJSON is the set as it is published.
func (s *KeySet) MarshalJSON() ([]byte, error) {
	keys := s.keys
	if keys == nil {
		keys = []JWK{}
	}
	return json.Marshal(map[string][]JWK{"keys": keys})
}
