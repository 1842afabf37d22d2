package password

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// What is judged: an attacker's cheapest way to say a password as pieces, each a word, a run, a date, a repetition or
// single characters. Costs are log10 of guesses. The model is that of Wheeler, "zxcvbn: Low-Budget Password Strength
// Estimation" (USENIX Security 2016); the words come from outside.
const (
	ownWord     = 1.0 // any of the few words about the user
	pieceCost   = 0.3 // for not knowing where a piece ends
	yearCost    = 2.0
	dateCost    = 4.5 // days of a century
	shortPiece  = 3   // characters
	longestWord = 24  // characters; of a repeated unit too
)

// estimate judges one password.
type estimate struct {
	words Lexicon
	own   []string
	known map[string]float64 // units of repetitions that were judged
}

// guesses is log10 of how many an attacker needs.
func (e *estimate) guesses(password []rune) float64 {
	n := len(password)
	single := characterCost(password)
	best := make([]float64, n+1)
	for i := range best[1:] {
		best[i+1] = math.Inf(1)
	}
	lower := slices.Clone(password)
	for i, r := range lower {
		lower[i] = unicode.ToLower(r)
	}
	plain := [][]rune{lower, unleet(lower, 'i'), unleet(lower, 'l')}
	for i := range n {
		best[i+1] = min(best[i+1], best[i]+single)
		take := func(length int, cost float64) {
			if i > 0 {
				cost += pieceCost
			}
			best[i+length] = min(best[i+length], best[i]+cost)
		}
		for length := shortPiece; length <= min(longestWord, n-i); length++ {
			if cost, ok := e.word(password[i:i+length], plain, i); ok {
				take(length, cost)
			}
			if cost, ok := date(string(lower[i : i+length])); ok {
				take(length, cost)
			}
		}
		e.repeats(password[i:], take)
		runs(lower[i:], sequence, take)
		runs(password[i:], keyboard, take)
	}
	return best[n]
}

// characterCost is that of one character which belongs to nothing known. Letters alone are rarely random.
func characterCost(password []rune) float64 {
	var size float64
	var lower, upper, digit, mark, other bool
	for _, r := range password {
		switch {
		case r >= 'a' && r <= 'z':
			lower = true
		case r >= 'A' && r <= 'Z':
			upper = true
		case r >= '0' && r <= '9':
			digit = true
		case r < 0x80:
			mark = true
		default:
			other = true
		}
	}
	for _, c := range []struct {
		there bool
		size  float64
	}{{lower, 16}, {upper, 16}, {digit, 10}, {mark, 20}, {other, 30}} {
		if c.there {
			size += c.size
		}
	}
	return math.Log10(max(size, 1))
}

// word prices password as a word from place at on: as it is, with leet spelling, and backwards.
func (e *estimate) word(password []rune, plain [][]rune, at int) (cost float64, ok bool) {
	cost = math.Inf(1)
	for spelling, p := range plain {
		p = p[at : at+len(password)]
		if spelling > 0 && slices.Equal(p, plain[0][at:at+len(password)]) {
			continue
		}
		backwards := slices.Clone(p)
		slices.Reverse(backwards)
		for turn, w := range []string{string(p), string(backwards)} {
			base := math.Inf(1)
			if n := e.words.Guesses(w); n > 0 {
				base = math.Log10(float64(n))
			}
			if slices.Contains(e.own, w) {
				base = ownWord
			}
			cost = min(cost, base+0.3*float64(turn)+0.5*float64(min(spelling, 1)))
		}
	}
	return cost + capitals(password), !math.IsInf(cost, 1)
}

// capitals is what the choice of capital letters costs.
func capitals(word []rune) float64 {
	upper := 0
	for _, r := range word {
		if unicode.IsUpper(r) {
			upper++
		}
	}
	switch {
	case upper == 0:
		return 0
	case upper == len(word), upper == 1 && (unicode.IsUpper(word[0]) || unicode.IsUpper(word[len(word)-1])):
		return 0.3
	}
	ways := 0.0 // of choosing so many
	for k := 1.0; k <= float64(min(upper, len(word)-upper)); k++ {
		ways += math.Log10((float64(len(word)) - k + 1) / k)
	}
	return max(ways, 0.6)
}

// unleet undoes digits and signs that stand for letters; ones is the letter that 1 and ! stand for.
func unleet(lower []rune, ones rune) []rune {
	out := slices.Clone(lower)
	for i, r := range out {
		switch r {
		case '1', '!', '|':
			out[i] = ones
		default:
			if at := strings.IndexRune("4@8(3690$57+", r); at >= 0 {
				out[i] = rune("aabceggosstt"[at])
			}
		}
	}
	return out
}

// repeats prices what begins with the same unit twice or more.
func (e *estimate) repeats(rest []rune, take func(int, float64)) {
	for unit := 1; unit <= min(longestWord, len(rest)/2); unit++ {
		count := 1
		for (count+1)*unit <= len(rest) && slices.Equal(rest[:unit], rest[count*unit:(count+1)*unit]) {
			count++
		}
		if count < 2 || count*unit < shortPiece {
			continue
		}
		word := string(rest[:unit])
		cost, ok := e.known[word]
		if !ok {
			cost = e.guesses(rest[:unit])
			e.known[word] = cost
		}
		for k := 2; k <= count; k++ {
			if k*unit >= shortPiece {
				take(k*unit, cost+math.Log10(float64(k)))
			}
		}
	}
}

// runs prices each beginning of rest in which every step is one of kind.
func runs(rest []rune, kind func(a, b rune) (direction int, start float64), take func(int, float64)) {
	turns, last := 0, 0
	for i := 1; i < len(rest); i++ {
		direction, start := kind(rest[i-1], rest[i])
		if direction == 0 {
			return
		}
		if direction != last {
			turns++
		}
		last = direction
		if i+1 >= shortPiece {
			take(i+1, start+0.6*float64(turns)+math.Log10(float64(i+1)))
		}
	}
}

// sequence is a step to the next letter or digit, up or down; a turn makes it another.
func sequence(a, b rune) (direction int, start float64) {
	if !unicode.IsLetter(a) && !unicode.IsDigit(a) || b-a > 1 || b-a < -1 {
		return 0, 0
	}
	return int(b-a) + 2, 1 // 2: the same once more, as in aabbcc
}

// keyboard is a step to a neighbouring key, with or without shift.
func keyboard(a, b rune) (direction int, start float64) {
	ar, ac := keyAt(a)
	br, bc := keyAt(b)
	if ar < 0 || br < 0 {
		return 0, 0
	}
	// Each row is shifted a little to the right of the one above.
	switch dr, dc := br-ar, bc-ac; {
	case dr == 0 && (dc == 1 || dc == -1):
		return dc, 1.7
	case dr == 1 && (dc == 0 || dc == -1):
		return 3 + dc, 1.7
	case dr == -1 && (dc == 0 || dc == 1):
		return 5 + dc, 1.7
	}
	return 0, 0
}

// keyAt is where a key lies on the American keyboard, or -1.
func keyAt(r rune) (row, column int) {
	for i, keys := range [...]string{"1234567890-=!@#$%^&*()_+", "qwertyuiop[]QWERTYUIOP{}", "asdfghjkl;'\\ASDFGHJKL:\"|", "zxcvbnm,./  ZXCVBNM<>?"} {
		if at := strings.IndexRune(keys, r); at >= 0 && r != ' ' {
			return i, at % 12
		}
	}
	return -1, 0
}

// date prices a year of our time, and a day with or without marks between.
func date(s string) (cost float64, ok bool) {
	parts := strings.FieldsFunc(s, func(r rune) bool { return strings.ContainsRune("./-_ ", r) })
	digits := strings.Join(parts, "")
	if strings.Trim(digits, "0123456789") != "" || len(digits) > 8 || len(digits) < 4 {
		return 0, false
	}
	switch {
	case len(parts) == 3 && len(s) == len(digits)+2 && day(parts):
		return dateCost + 0.6, true
	case len(s) != len(digits):
		return 0, false
	case len(s) == 4:
		return yearCost, s >= "1900" && s <= "2059"
	case len(s) == 6:
		return dateCost, day([]string{s[:2], s[2:4], s[4:]})
	case len(s) == 8:
		return dateCost, day([]string{s[:2], s[2:4], s[4:]}) || day([]string{s[:4], s[4:6], s[6:]})
	}
	return 0, false
}

// day tells whether three numbers are day, month and year in any usual order.
func day(parts []string) bool {
	var n [3]int
	for i, p := range parts {
		n[i], _ = strconv.Atoi(p) // digits only
		if len(p) == 3 || len(p) > 2 && (n[i] < 1900 || n[i] > 2059) {
			return false
		}
	}
	is := func(day, month, year int) bool {
		return n[day] >= 1 && n[day] <= 31 && n[month] >= 1 && n[month] <= 12 && len(parts[day]) <= 2 && len(parts[month]) <= 2 && len(parts[year]) >= 2
	}
	return is(0, 1, 2) || is(1, 0, 2) || is(2, 1, 0) || is(1, 2, 0)
}
