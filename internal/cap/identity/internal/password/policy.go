package password

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/secure/precis"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/base/secret"
)

// Lengths of new passwords (NIST SP 800-63B-4 §3.1.1.2).
const (
	MaxBytes         = 1024 // of UTF-8, as typed and as normalised
	MinOnlyFactor    = 15   // characters, where nothing else is asked
	MinWithSecond    = 8    // characters, where a second factor is asked as well
	maxJudged        = 100  // characters that Strength looks at: its cost grows faster than the length
	maxInputs        = 20   // words about the user
	maxInputJudged   = 64   // bytes of each
	minimumScore     = 2    // 2·10^8 guesses and more
	minimumOnlyScore = 3    // 2·10^10 guesses and more
)

// Normalise applies the PRECIS profile OpaqueString (RFC 8265 §4.2): NFC, every space becomes U+0020, and control
// characters are refused. So a password typed on another keyboard or system is the same password.
func Normalise(password secret.Bytes) (secret.Bytes, error) {
	if len(password.Reveal()) > MaxBytes {
		return secret.Bytes{}, fault.New(fault.Invalid, fmt.Sprintf("the password is longer than %d bytes", MaxBytes))
	}
	out, err := precis.OpaqueString.Bytes(password.Reveal())
	if err != nil || len(out) > MaxBytes || !utf8.Valid(out) {
		// The cause would name the character.
		return secret.Bytes{}, fault.New(fault.Invalid, "the password is empty, too long, or has characters that can't be used in one")
	}
	return secret.New(out), nil
}

// Lexicon knows words that attackers try first.
type Lexicon interface {
	// Guesses is how many tries a word in lower case takes at most, or 0 if it isn't known.
	Guesses(word string) int
}

// Policy is what new passwords must meet. Without SecondFactor it is strict; Words is required.
type Policy struct {
	Words        Lexicon
	SecondFactor bool // a second factor is always asked as well
}

// Check returns a fault of kind Invalid, in words for the user, when a new password is too short or too easy. about
// are words that an attacker would try first: name, address, product.
func (p Policy) Check(password secret.Bytes, about []string) error {
	plain, err := Normalise(password)
	if err != nil {
		return err
	}
	shortest, score := MinOnlyFactor, minimumOnlyScore
	if p.SecondFactor {
		shortest, score = MinWithSecond, minimumScore
	}
	if utf8.RuneCount(plain.Reveal()) < shortest {
		return fault.New(fault.Invalid, fmt.Sprintf("the password needs at least %d characters", shortest))
	}
	if Strength(plain, p.Words, about) < score {
		return fault.New(fault.Invalid, "the password is easy to guess; some unrelated words make a better one")
	}
	return nil
}

// Strength rates the first 100 characters as zxcvbn's five classes do: 0 (guessed at once) to 4 (2·10^12 guesses and
// more). It is an estimate of our own, made to be the lower one where the two differ.
func Strength(password secret.Bytes, words Lexicon, about []string) int {
	judged := []rune(string(password.Reveal()))
	e := estimate{words: words, known: map[string]float64{}}
	for _, a := range about[:min(len(about), maxInputs)] {
		for _, w := range append(strings.FieldsFunc(a, func(r rune) bool { return strings.ContainsRune(" @.,-_", r) }), a) {
			if w = strings.ToLower(w); len(w) > 2 && len(w) <= maxInputJudged && len(e.own) < maxInputs {
				e.own = append(e.own, w)
			}
		}
	}
	guesses, class := e.guesses(judged[:min(len(judged), maxJudged)]), 0
	for _, least := range []float64{6.3, 8.3, 10.3, 12.3} {
		if guesses >= least {
			class++
		}
	}
	return class
}
