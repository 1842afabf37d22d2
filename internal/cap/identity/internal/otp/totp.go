// Package otp makes and checks one-time codes: TOTP of authenticator apps, codes sent by mail or SMS, and recovery
// codes.
//
// Guarantee: comparisons take the same time wherever codes differ; a code that was accepted isn't accepted again, if
// the caller stores what Verify returns in the same transaction and only when nobody else has meanwhile; what is
// stored of a sent or recovery code doesn't reveal it, and is worth nothing for another user or purpose. Not
// guaranteed: a limit on guesses for TOTP and recovery codes, which is the caller's, per user.
package otp

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha1"
	"crypto/subtle"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"rsc.io/qr"

	"github.com/wardhq/ward/internal/base/secret"
)

// TOTP's parameters are those that every authenticator app knows (RFC 6238; 160 bits as RFC 4226 §4 R6 advises).
const (
	SecretSize = 20 // bytes
	totpDigits = 6
	totpPeriod = 30 // seconds
	totpWindow = 1  // steps that a clock may be off, either way
)

// NewSecret makes a TOTP secret.
func NewSecret() secret.Bytes {
	b := make([]byte, SecretSize)
	_, _ = rand.Read(b) // never returns an error (crypto/rand)
	return secret.New(b)
}

// VerifyTOTP checks a code at a time. lastStep is the step that was accepted last for this secret, or 0; the caller
// stores the returned step before it acts on the answer, and refuses when another request has stored as high a one.
func VerifyTOTP(key secret.Bytes, code string, now time.Time, lastStep int64) (step int64, ok bool) {
	code = stripSpaces(code)
	at := now.Unix() / totpPeriod
	if len(key.Reveal()) < 16 || len(code) != totpDigits || at < totpWindow {
		return 0, false
	}
	for s := at - totpWindow; s <= at+totpWindow; s++ {
		// All steps are computed, so that time doesn't tell which was near.
		if subtle.ConstantTimeCompare([]byte(hotp(key, s)), []byte(code)) == 1 && s > lastStep && !ok {
			step, ok = s, true
		}
	}
	return step, ok
}

// hotp is RFC 4226 §5.3 with six digits.
func hotp(key secret.Bytes, counter int64) string {
	mac := hmac.New(sha1.New, key.Reveal())
	_ = binary.Write(mac, binary.BigEndian, counter) // a hash never returns an error
	sum := mac.Sum(nil)
	at := sum[len(sum)-1] & 0xf
	return fmt.Sprintf("%06d", binary.BigEndian.Uint32(sum[at:])&0x7fffffff%1_000_000)
}

// Enrolment is what a person needs to add an account to an authenticator app. All of it is secret.
type Enrolment struct {
	URI secret.Bytes // otpauth://totp/…
	Key secret.Bytes // the secret as base32 in groups of four, to be typed
	PNG secret.Bytes // the URI as a QR code
}

// Enrol describes a secret for the app. Issuer and account are shown there.
func Enrol(key secret.Bytes, issuer, account string) (Enrolment, error) {
	if len(key.Reveal()) != SecretSize || issuer == "" || account == "" || len(issuer)+len(account) > 300 {
		return Enrolment{}, errors.New("enrol authenticator app: it needs a secret of 20 bytes, and short names of issuer and account")
	}
	// The label's colon parts issuer and account, so neither may have one of its own.
	clean := strings.NewReplacer(":", " ").Replace
	typed := base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(key.Reveal())
	// url.Values would write a space as "+", which some apps show as it is.
	query := fmt.Sprintf("secret=%s&issuer=%s&algorithm=SHA1&digits=%d&period=%d",
		typed, strings.ReplaceAll(url.QueryEscape(clean(issuer)), "+", "%20"), totpDigits, totpPeriod)
	uri := "otpauth://totp/" + url.PathEscape(clean(issuer)) + ":" + url.PathEscape(clean(account)) + "?" + query
	code, err := qr.Encode(uri, qr.M)
	if err != nil {
		return Enrolment{}, errors.New("enrol authenticator app: the names are too long for a QR code")
	}
	return Enrolment{URI: secret.New([]byte(uri)), Key: secret.New([]byte(groups(typed))), PNG: secret.New(code.PNG())}, nil
}

func groups(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i += 4 {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(s[i:min(i+4, len(s))])
	}
	return b.String()
}

// stripSpaces takes out what people put between digits; anything too long stays too long.
func stripSpaces(s string) string {
	if len(s) > 64 {
		return s
	}
	return strings.NewReplacer(" ", "", "-", "", "\u00a0", "").Replace(s)
}
