// Package pow asks a browser for some work before it may register: the server gives a salted hash and a range, the
// browser finds the number (the scheme of ALTCHA, version 1). It needs no third party.
//
// Guarantee: Verify takes only challenges that this key made, that haven't expired, and whose number is right; the
// cost of checking is two hashes. A challenge works once if the caller stores Solution.ID until Solution.Expires and
// refuses one that is there. Not guaranteed: that bots stay away. It makes each registration cost them CPU time, on
// average half of Difficulty hashes; limits per address come on top.
package pow

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	_ "embed"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/wardhq/ward/internal/base/secret"
)

// Difficulties: the number lies between 0 and this. A phone tries some 100,000 to 500,000 a second.
const (
	Easy = 50_000    // in quiet times
	Hard = 1_000_000 // under attack
	most = 5_000_000
)

// Script is the ES module that solves a challenge in the browser, to be served from our own origin; it is its own
// worker. The form is <form data-work="Challenge as JSON"> with <input type="hidden" name="work">, and optionally an
// element data-work-status with the texts data-busy and data-done.
func Script() []byte { return bytes.Clone(script) }

//go:embed static/pow.js
var script []byte

// Challenge is what the browser gets, as JSON.
type Challenge struct {
	Algorithm string `json:"algorithm"` // SHA-256
	Challenge string `json:"challenge"` // hex SHA-256 of salt followed by the number in decimal
	MaxNumber int64  `json:"maxnumber"`
	Salt      string `json:"salt"`      // random, "?expires=<unix seconds>&for=<purpose>&"
	Signature string `json:"signature"` // hex HMAC-SHA-256 of challenge, bound to salt by it
}

// Difficulty doubles with each doubling of how busy registration is: recent over usual is 1 in quiet times.
func Difficulty(recent, usual int) int64 {
	d := int64(Easy)
	for n := max(usual, 1); recent > n && d < Hard; n *= 2 {
		d *= 2
	}
	return min(d, Hard)
}

// New makes a challenge for a purpose ("register") with a number up to difficulty.
func New(key secret.Bytes, purpose string, difficulty int64, expires time.Time) (Challenge, error) {
	if len(key.Reveal()) != secret.KeySize || purpose == "" || difficulty < 1 || difficulty > most {
		return Challenge{}, errors.New("make proof-of-work challenge: it needs a key of 32 bytes, a purpose and a difficulty up to 5,000,000")
	}
	n, err := rand.Int(rand.Reader, big.NewInt(difficulty+1))
	if err != nil {
		return Challenge{}, fmt.Errorf("make proof-of-work challenge: %w", err)
	}
	// The salt ends with "&": its digits can't be moved to the number (ALTCHA's advisory of 2025 on splicing).
	salt := rand.Text() + "?" + url.Values{"expires": {strconv.FormatInt(expires.Unix(), 10)}, "for": {purpose}}.Encode() + "&"
	sum := digest(salt, n.Int64())
	return Challenge{Algorithm: "SHA-256", Challenge: sum, MaxNumber: difficulty, Salt: salt, Signature: hex.EncodeToString(sign(key, sum))}, nil
}

func digest(salt string, number int64) string {
	sum := sha256.Sum256(strconv.AppendInt([]byte(salt), number, 10))
	return hex.EncodeToString(sum[:])
}

func sign(key secret.Bytes, challenge string) []byte {
	mac := hmac.New(sha256.New, key.Reveal())
	_, _ = mac.Write([]byte("ward proof of work 1\x00" + challenge))
	return mac.Sum(nil)
}

// Solution is a challenge that was solved.
type Solution struct {
	ID      [16]byte // to be stored until Expires
	Expires time.Time
}

// payload is what the browser sends: base64 of this as JSON.
type payload struct {
	Challenge
	Number int64 `json:"number"`
}

const maxPayload = 1024 // bytes of base64

// ErrUnsolved says that the work isn't there, is wrong, or is too old. The form then shows a new challenge.
var ErrUnsolved = errors.New("the proof of work is missing, wrong or too old")

// Verify checks what came in the form's field.
func Verify(key secret.Bytes, purpose, field string, now time.Time) (Solution, error) {
	p, err := parse(field)
	if err != nil || len(key.Reveal()) != secret.KeySize {
		return Solution{}, ErrUnsolved
	}
	signature, err := hex.DecodeString(p.Signature)
	if err != nil || subtle.ConstantTimeCompare(signature, sign(key, p.Challenge.Challenge)) != 1 {
		return Solution{}, ErrUnsolved
	}
	// What is signed is the hash; it binds salt and number.
	if subtle.ConstantTimeCompare([]byte(digest(p.Salt, p.Number)), []byte(p.Challenge.Challenge)) != 1 || !strings.HasSuffix(p.Salt, "&") {
		return Solution{}, ErrUnsolved
	}
	_, query, _ := strings.Cut(strings.TrimSuffix(p.Salt, "&"), "?")
	v, err := url.ParseQuery(query)
	if err != nil || v.Get("for") != purpose {
		return Solution{}, ErrUnsolved
	}
	seconds, err := strconv.ParseInt(v.Get("expires"), 10, 64)
	if err != nil || !now.Before(time.Unix(seconds, 0)) {
		return Solution{}, ErrUnsolved
	}
	s := Solution{Expires: time.Unix(seconds, 0)}
	sum := sha256.Sum256(binary.BigEndian.AppendUint64([]byte(p.Salt), uint64(p.Number)))
	copy(s.ID[:], sum[:])
	return s, nil
}

func parse(field string) (payload, error) {
	var p payload
	if len(field) > maxPayload {
		return p, ErrUnsolved
	}
	raw, err := base64.StdEncoding.Strict().DecodeString(field)
	if err != nil {
		return p, ErrUnsolved
	}
	if err := json.Unmarshal(raw, &p); err != nil || p.Algorithm != "SHA-256" || p.Number < 0 || p.Number > most {
		return p, ErrUnsolved
	}
	return p, nil
}
