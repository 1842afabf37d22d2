package password

import (
	"strings"
	"testing"

	"github.com/ccojocar/zxcvbn-go"

	"github.com/wardhq/ward/internal/cap/identity/internal/breach"
)

func words(t testing.TB) Lexicon {
	t.Helper()
	w, err := breach.EmbeddedWords()
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// TestStrength: what is listed as weak is never accepted, even with a second factor, and what is listed as strong is
// accepted alone. zxcvbn-go is the second opinion: where it calls one weak, so do we.
func TestStrength(t *testing.T) {
	about := []string{"Marguerite Delacroix", "m.delacroix@example.org", "Demo Shop"}
	known := words(t)
	for _, c := range []struct {
		class     string
		passwords string
	}{
		{"common", "password 12345678 qwerty iloveyou dragon monkey letmein football baseball trustno1 abc123 superman"},
		{"common with a tail", "password1 password123 Password1! dragon123 monkey2024 letmein99 football1990 iloveyou2"},
		{"leet", "p4ssw0rd P@ssw0rd p@$$w0rd dr4g0n 1l0v3y0u m0nk3y l3tm31n tru5tn01"},
		{"sequences", "abcdefgh abcdefghijklmnop 123456789012 87654321 zyxwvuts abc123abc123 9876543210 abcd1234 aabbccdd"},
		{"repeats", "aaaaaaaa aaaaaaaaaaaaaaaaaaaaaaaa abababababab passwordpassword abcabcabcabc 11111111111 qweqweqwe"},
		{"keyboard", "qwertyuiop qwertyuiopasdfghjkl asdfghjkl zxcvbnm,./ 1qaz2wsx !QAZ@WSX qazwsxedc 1q2w3e4r QWERTYUIOP poiuytrewq"},
		{"dates", "19900412 12041990 12.04.1990 1990-04-12 04/12/90 20240101 1990 19901991 12041990a"},
		{"own words", "marguerite marguerite1 M.Delacroix delacroix1990 marguerite.delacroix m4rgu3rite etireugram demoshop demoshop1"},
		{"two common words", "dragonmaster lovemonkey superdragon passwordqwerty"},
		{"backwards", "drowssap nogard drowssap1 ytrewq"},
		{"capitals", "PASSWORD Dragon DRAGON1 PassWord"},
	} {
		for p := range strings.FieldsSeq(c.passwords) {
			own := Strength(pw(p), known, about)
			if own >= minimumScore {
				t.Errorf("%s: %q gets %d", c.class, p, own)
			}
		}
	}
	for _, p := range []string{"tangled-umbrella-frost-71", "kW8!xpQ2#vBn4t", "correct horse battery staple", "жѪщ8ыЯ!ўqэ", "Tr0ub4dor&3-xkcd-wq", "vuhzxmqkwpf93"} {
		if own := Strength(pw(p), known, about); own < minimumOnlyScore {
			t.Errorf("%q gets %d only", p, own)
		}
	}
}

// TestStrengthAgainstZxcvbn: over words of the lists with usual tails, we are never more than a class above it, and
// never accept what it finds weakest.
func TestStrengthAgainstZxcvbn(t *testing.T) {
	known := words(t)
	checked := 0
	for _, stem := range []string{"sunshine", "princess", "charlie", "jennifer", "hamilton", "computer", "whatever", "qwerty", "michelle", "elephant", "mountain", "thunder", "zxcvbn", "asdfgh", "123123"} {
		for _, tail := range []string{"", "1", "12", "123", "!", "1!", "99", "1990", "2024", "2024!", stem, "abc", "xyz", "111", "aaa"} {
			for _, p := range []string{stem + tail, strings.ToUpper(stem[:1]) + stem[1:] + tail, tail + stem, strings.NewReplacer("e", "3", "a", "4", "o", "0").Replace(stem) + tail} {
				theirs, ours := zxcvbn.PasswordStrength(p, nil).Score, Strength(pw(p), known, nil)
				checked++
				if theirs == 0 && ours >= minimumScore || ours > theirs+1 {
					t.Errorf("%q: we say %d, zxcvbn-go %d", p, ours, theirs)
				}
			}
		}
	}
	if checked < 800 {
		t.Errorf("%d checked only", checked)
	}
}
