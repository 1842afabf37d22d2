package password

import (
	"crypto/pbkdf2"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"strconv"
	"strings"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"
	"golang.org/x/crypto/scrypt"
)

// Limits of hashes from elsewhere: about a second of one core and 128 MiB each, and only one of the large ones runs
// at a time. They hold the defaults of PHP, Python's argon2-cffi and passlib, Django, Spring and Keycloak.
const (
	maxEncoded      = 512        // bytes of the whole string
	maxMemory       = 128 * 1024 // KiB, argon2 and scrypt
	maxMemoryTime   = 512 * 1024 // KiB × passes, argon2
	maxThreads      = 16         // argon2
	maxScryptCost   = 1 << 20    // N·r·p; at 128 bytes each it is also the memory limit
	maxScryptFactor = 64         // r and p each
	maxRounds       = 3_000_000  // PBKDF2: iterations × blocks of output
	maxBcryptCost   = 14
	minKey, maxKey  = 16, 64 // bytes: a shorter one would let other passwords in
	maxSalt         = 128    // bytes
)

type scheme uint8

const (
	unknown scheme = iota
	argon2id
	argon2i
	bcryptPlain
	bcryptSHA256 // Django: bcrypt of the hexadecimal SHA-256
	scryptKey
	pbkdf2SHA1
	pbkdf2SHA256
	pbkdf2SHA512
)

// Encoded is a password hash that was read and found within limits. The zero Encoded matches nothing.
type Encoded struct {
	scheme    scheme
	kib       uint32 // argon2: memory
	cost      int    // argon2: passes; scrypt: N; PBKDF2: iterations
	threads   int    // argon2: lanes; scrypt: p
	block     int    // scrypt: r
	salt, key []byte // bcrypt: key is the whole string
}

// Parse reads argon2id and argon2i (PHC), bcrypt ($2a$, $2b$, $2y$), scrypt and PBKDF2 (PHC and passlib), and
// Django's pbkdf2_*, bcrypt, bcrypt_sha256, scrypt and argon2. It refuses what is malformed or beyond the limits;
// its errors don't hold the input.
func Parse(encoded string) (Encoded, error) {
	if len(encoded) > maxEncoded {
		return Encoded{}, errors.New("parse password hash: longer than 512 bytes")
	}
	e, err := parse(encoded)
	if err != nil {
		return Encoded{}, fmt.Errorf("parse password hash: %w", err)
	}
	return e, nil
}

func parse(s string) (Encoded, error) {
	name, rest, found := strings.Cut(strings.TrimPrefix(s, "$"), "$")
	phc := strings.HasPrefix(s, "$")
	switch {
	case !found:
		return Encoded{}, errors.New("not of a known form")
	case phc && (name == "argon2id" || name == "argon2i"):
		return parseArgon2(name, rest)
	case phc && (name == "2a" || name == "2b" || name == "2y"):
		return parseBcrypt(bcryptPlain, s)
	case phc && name == "scrypt":
		return parseScryptPHC(rest)
	case phc && digestOf(name) != unknown:
		return parsePBKDF2(digestOf(name), rest, abase64)
	case !phc && digestOf(name) != unknown && name != "pbkdf2":
		return parsePBKDF2(digestOf(name), rest, django)
	case !phc && name == "bcrypt":
		return parseBcrypt(bcryptPlain, rest)
	case !phc && name == "bcrypt_sha256":
		return parseBcrypt(bcryptSHA256, rest)
	case !phc && name == "argon2":
		return parse("$" + rest)
	case !phc && name == "scrypt":
		return parseScryptDjango(rest)
	}
	return Encoded{}, errors.New("not of a known form")
}

func digestOf(name string) scheme {
	switch strings.ReplaceAll(name, "_", "-") {
	case "pbkdf2", "pbkdf2-sha1":
		return pbkdf2SHA1
	case "pbkdf2-sha256":
		return pbkdf2SHA256
	case "pbkdf2-sha512":
		return pbkdf2SHA512
	}
	return unknown
}

func parseArgon2(name, rest string) (Encoded, error) {
	e := Encoded{scheme: argon2id}
	if name == "argon2i" {
		e.scheme = argon2i
	}
	part := strings.Split(rest, "$")
	if len(part) != 4 || part[0] != "v=19" {
		return Encoded{}, errors.New("argon2 needs version 19, parameters, salt and key")
	}
	v, err := numbers(part[1], "m", "t", "p")
	if err != nil {
		return Encoded{}, err
	}
	e.kib, e.cost, e.threads = uint32(v[0]), v[1], v[2]
	if v[0] > maxMemory || v[1] > maxMemoryTime/v[0] || e.threads > maxThreads || v[0] < 8*e.threads {
		return Encoded{}, errors.New("argon2 parameters are out of bounds")
	}
	return e.with(part[2], part[3], base64.RawStdEncoding)
}

func parseBcrypt(kind scheme, s string) (Encoded, error) {
	const alphabet = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	if len(s) != 60 || s[:2] != "$2" || !strings.Contains("aby", s[2:3]) || s[3] != '$' || s[6] != '$' || strings.Trim(s[7:], alphabet) != "" {
		return Encoded{}, errors.New("bcrypt string is malformed")
	}
	cost, err := number(strings.TrimPrefix(s[4:6], "0"))
	if err != nil || cost < bcrypt.MinCost || cost > maxBcryptCost {
		return Encoded{}, errors.New("bcrypt cost is out of bounds")
	}
	return Encoded{scheme: kind, key: []byte(s)}, nil
}

func parseScryptPHC(rest string) (Encoded, error) {
	part := strings.Split(rest, "$")
	if len(part) != 3 {
		return Encoded{}, errors.New("scrypt needs parameters, salt and key")
	}
	v, err := numbers(part[0], "ln", "r", "p")
	if err != nil {
		return Encoded{}, err
	}
	if v[0] > 20 {
		return Encoded{}, errors.New("scrypt parameters are out of bounds")
	}
	e := Encoded{scheme: scryptKey, cost: 1 << v[0], block: v[1], threads: v[2]}
	if err := e.checkScrypt(); err != nil {
		return Encoded{}, err
	}
	return e.with(part[1], part[2], base64.RawStdEncoding)
}

func parseScryptDjango(rest string) (Encoded, error) {
	part := strings.Split(rest, "$") // N$salt$r$p$key in Django's order: work, salt, block, parallelism
	if len(part) != 5 {
		return Encoded{}, errors.New("scrypt needs work, salt, block, parallelism and key")
	}
	e := Encoded{scheme: scryptKey, salt: []byte(part[1])}
	for _, f := range []struct {
		to   *int
		from string
	}{{&e.cost, part[0]}, {&e.block, part[2]}, {&e.threads, part[3]}} {
		v, err := number(f.from)
		if err != nil {
			return Encoded{}, err
		}
		*f.to = v
	}
	if err := e.checkScrypt(); err != nil {
		return Encoded{}, err
	}
	return e.withKey(part[4], base64.StdEncoding)
}

func (e Encoded) checkScrypt() error {
	if e.cost < 2 || e.cost&(e.cost-1) != 0 || e.cost > maxScryptCost ||
		e.block > maxScryptFactor || e.threads > maxScryptFactor || e.cost*e.block*e.threads > maxScryptCost {
		return errors.New("scrypt parameters are out of bounds")
	}
	return nil
}

// form is how a PBKDF2 string is written.
type form uint8

const (
	abase64 form = iota // PHC and passlib: salt and key in base64 without padding, "." may stand for "+"
	django              // the salt as it is, the key in padded base64
)

func parsePBKDF2(kind scheme, rest string, f form) (Encoded, error) {
	part := strings.Split(rest, "$")
	if len(part) != 3 {
		return Encoded{}, errors.New("pbkdf2 needs iterations, salt and key")
	}
	e := Encoded{scheme: kind}
	rounds, _, _ := strings.Cut(strings.TrimPrefix(part[0], "i="), ",l=")
	var err error
	if e.cost, err = number(rounds); err != nil {
		return Encoded{}, err
	}
	if f == django {
		e.salt = []byte(part[1])
		e, err = e.withKey(part[2], base64.StdEncoding)
	} else {
		e, err = e.with(strings.ReplaceAll(part[1], ".", "+"), strings.ReplaceAll(part[2], ".", "+"), base64.RawStdEncoding)
	}
	if err != nil {
		return Encoded{}, err
	}
	size := e.digest()().Size()
	if blocks := (len(e.key) + size - 1) / size; e.cost > maxRounds/blocks {
		return Encoded{}, errors.New("pbkdf2 iterations are out of bounds")
	}
	return e, nil
}

func (e Encoded) with(salt, key string, enc *base64.Encoding) (Encoded, error) {
	var err error
	if e.salt, err = enc.Strict().DecodeString(salt); err != nil {
		return Encoded{}, errors.New("the salt isn't base64")
	}
	return e.withKey(key, enc)
}

func (e Encoded) withKey(key string, enc *base64.Encoding) (Encoded, error) {
	var err error
	if e.key, err = enc.Strict().DecodeString(key); err != nil {
		return Encoded{}, errors.New("the key isn't base64")
	}
	if len(e.key) < minKey || len(e.key) > maxKey || len(e.salt) == 0 || len(e.salt) > maxSalt {
		return Encoded{}, errors.New("salt or key has an unusual size")
	}
	return e, nil
}

// numbers reads "a=1,b=2" with exactly these names in this order.
func numbers(s string, names ...string) ([]int, error) {
	part := strings.Split(s, ",")
	if len(part) != len(names) {
		return nil, fmt.Errorf("parameters must be %s", strings.Join(names, ", "))
	}
	out := make([]int, len(names))
	for i, p := range part {
		value, ok := strings.CutPrefix(p, names[i]+"=")
		if !ok {
			return nil, fmt.Errorf("parameters must be %s", strings.Join(names, ", "))
		}
		var err error
		if out[i], err = number(value); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// number reads a positive decimal below 2^31 without sign or leading zero.
func number(s string) (int, error) {
	v, err := strconv.ParseUint(s, 10, 31)
	if err != nil || v == 0 || s[0] == '0' {
		return 0, errors.New("a parameter isn't a positive number")
	}
	return int(v), nil
}

// Current reports whether the hash is as a new one would be.
func (e Encoded) Current() bool {
	return e.scheme == argon2id && e.kib == currentMemory && e.cost == currentTime && e.threads == 1 &&
		len(e.salt) >= currentSalt && len(e.key) == currentKey
}

// current is a hash of today's parameters that matches nothing yet.
func current(salt []byte) Encoded {
	return Encoded{scheme: argon2id, kib: currentMemory, cost: currentTime, threads: 1, salt: salt, key: make([]byte, currentKey)}
}

// memory in KiB that a check takes.
func (e Encoded) memory() uint32 {
	if e.scheme == scryptKey {
		return uint32(e.cost * e.block / 8)
	}
	return e.kib
}

func (e Encoded) phc() string {
	b64 := base64.RawStdEncoding.EncodeToString
	return fmt.Sprintf("$argon2id$v=19$m=%d,t=%d,p=%d$%s$%s", e.kib, e.cost, e.threads, b64(e.salt), b64(e.key))
}

func (e Encoded) argon2(password []byte) []byte {
	key := argon2.IDKey
	if e.scheme == argon2i {
		key = argon2.Key
	}
	return key(password, e.salt, uint32(e.cost), e.kib, uint8(e.threads), uint32(len(e.key)))
}

func (e Encoded) digest() func() hash.Hash {
	switch e.scheme {
	case pbkdf2SHA1:
		return sha1.New
	case pbkdf2SHA256:
		return sha256.New
	default:
		return sha512.New
	}
}

// matches does the work, in time that doesn't depend on where the keys differ.
func (e Encoded) matches(password []byte) bool {
	var got []byte
	var err error
	switch e.scheme {
	case argon2id, argon2i:
		got = e.argon2(password)
	case bcryptPlain:
		return bcrypt.CompareHashAndPassword(e.key, password) == nil
	case bcryptSHA256:
		sum := sha256.Sum256(password)
		return bcrypt.CompareHashAndPassword(e.key, []byte(hex.EncodeToString(sum[:]))) == nil
	case scryptKey:
		got, err = scrypt.Key(password, e.salt, e.cost, e.block, e.threads, len(e.key))
	case pbkdf2SHA1, pbkdf2SHA256, pbkdf2SHA512:
		got, err = pbkdf2.Key(e.digest(), string(password), e.salt, e.cost, len(e.key))
	default:
		return false
	}
	return err == nil && subtle.ConstantTimeCompare(got, e.key) == 1
}
