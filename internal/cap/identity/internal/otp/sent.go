package otp

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"math/big"
	"time"

	"github.com/wardhq/ward/internal/base/secret"
)

// Purpose says what a sent code is good for; a code for one is worth nothing for another.
type Purpose string

// The purposes.
const (
	VerifyAddress Purpose = "verify-address"
	SignIn        Purpose = "sign-in"
	ResetPassword Purpose = "reset-password"
	AddFactor     Purpose = "add-factor"
	StepUp        Purpose = "step-up"
)

// Limits of sent codes. Six digits and five attempts are one chance in 200,000 for each code sent.
const (
	minDigits   = 6
	maxDigits   = 8
	maxLife     = time.Hour
	maxAttempts = 5
)

// Sent is what is stored of a code that went out by mail or SMS. The zero Sent accepts nothing.
type Sent struct {
	MAC      []byte    // HMAC-SHA-256 of purpose, user, destination and code
	Expires  time.Time // from this moment on it isn't accepted
	Attempts int       // how many are left; 0 when used up or accepted
}

// Target is whom a code is for. All of it is bound to the code.
type Target struct {
	Purpose Purpose
	User    string // the user's identifier
	Address string // the mail address or phone number that it was sent to
}

// NewSent makes a code of 6 to 8 digits for a target, and what to store of it. The key has 32 bytes and is the
// deployment's own, so that a stolen table can't be searched for the code.
func NewSent(key secret.Bytes, to Target, digits int, expires time.Time) (code secret.Bytes, s Sent, err error) {
	if len(key.Reveal()) != secret.KeySize || to.Purpose == "" || to.User == "" || digits < minDigits || digits > maxDigits {
		return secret.Bytes{}, Sent{}, errors.New("make one-time code: it needs a key of 32 bytes, a purpose, a user, and 6 to 8 digits")
	}
	limit := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(digits)), nil)
	n, err := rand.Int(rand.Reader, limit)
	if err != nil {
		return secret.Bytes{}, Sent{}, fmt.Errorf("make one-time code: %w", err)
	}
	text := fmt.Appendf(nil, "%0*d", digits, n)
	return secret.New(text), Sent{MAC: sentMAC(key, to, text), Expires: expires, Attempts: maxAttempts}, nil
}

// Verify checks a typed code. The caller stores the returned Sent in the same transaction in which it read the old
// one, whatever the answer: it has an attempt less, and none after success.
func (s Sent) Verify(key secret.Bytes, to Target, typed string, now time.Time) (next Sent, ok bool) {
	typed = stripSpaces(typed)
	equal := subtle.ConstantTimeCompare(s.MAC, sentMAC(key, to, []byte(typed))) == 1
	if s.Attempts <= 0 || s.Attempts > maxAttempts || !now.Before(s.Expires) || s.Expires.Sub(now) > maxLife {
		s.Attempts = 0
		return s, false
	}
	s.Attempts--
	if equal {
		s.Attempts = 0
	}
	return s, equal
}

func sentMAC(key secret.Bytes, to Target, code []byte) []byte {
	mac := hmac.New(sha256.New, key.Reveal())
	for _, part := range []string{"ward one-time code 1", string(to.Purpose), to.User, to.Address, string(code)} {
		_ = binary.Write(mac, binary.BigEndian, uint64(len(part))) // lengths keep "a"+"bc" apart from "ab"+"c"
		_, _ = mac.Write([]byte(part))
	}
	return mac.Sum(nil)
}
