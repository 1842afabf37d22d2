package credential

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
)

// digest knows a credential again without keeping it.
type digest [sha256.Size]byte

const (
	maxToken = 4 << 10 // bytes of a credential that are looked at
	maxBack  = 128     // bytes of one before its keyword
	maxValue = 512
)

// matcher holds the rules in the form for searching. It is safe for concurrent use.
type matcher struct {
	words          *automaton
	keywords       []string
	tokens, values [][]*rule // by keyword
	limited        []*rule   // those for some files
	store          *rule     // for files that are key stores as a whole
}

func newMatcher() (*matcher, error) {
	rules, err := loadRules()
	if err != nil {
		return nil, err
	}
	return matcherOf(rules), nil
}

func matcherOf(rules []*rule) *matcher {
	m := &matcher{store: keystore()}
	at := map[string]int{}
	add := func(r *rule, words []string, list *[][]*rule) {
		for _, w := range words {
			if _, ok := at[w]; !ok {
				at[w] = len(m.keywords)
				m.keywords, m.tokens, m.values = append(m.keywords, w), append(m.tokens, nil), append(m.values, nil)
			}
			(*list)[at[w]] = append((*list)[at[w]], r)
		}
	}
	for _, r := range rules {
		if len(r.Files) > 0 {
			m.limited = append(m.limited, r)
		}
		add(r, r.Keywords, &m.tokens)
		add(r, r.Names, &m.values)
	}
	m.words = newAutomaton(m.keywords)
	return m
}

// find returns the credentials of a text in their order. Of those that overlap, the most certain one stays. With a name, rules for other
// files aren't asked; without one, who learns it later sorts them out.
func (m *matcher) find(name string, src []byte) []hit {
	var hits []hit
	var elsewhere []*rule
	for _, r := range m.limited {
		if name != "" && !r.counts(name) {
			elsewhere = append(elsewhere, r)
		}
	}
	m.words.find(src, func(word uint16, end int) {
		start := end - len(m.keywords[word])
		for _, r := range m.tokens[word] {
			if len(r.Files) > 0 && slices.Contains(elsewhere, r) {
				continue
			}
			if h, ok := r.atToken(src, start); ok {
				hits = append(hits, h)
			}
		}
		if len(m.values[word]) == 0 {
			return
		}
		value, length := assignment(src, start, end)
		for _, r := range m.values[word] {
			if length == 0 || r.Generic && harmless(src, start, value) {
				continue
			}
			if h, ok := r.atValue(src, value, value+length); ok {
				hits = append(hits, h)
			}
		}
	})
	return settle(hits)
}

// settle drops what overlaps with something more certain, and numbers the rest.
func settle(hits []hit) []hit {
	if len(hits) == 0 {
		return nil
	}
	slices.SortStableFunc(hits, func(a, b hit) int {
		if a.rule.order != b.rule.order {
			return a.rule.order - b.rule.order
		}
		return a.start - b.start
	})
	var kept []hit // by start
	for _, h := range hits {
		i, _ := slices.BinarySearchFunc(kept, h.start, func(k hit, start int) int { return k.start - start })
		if i < len(kept) && kept[i].start < h.end || i > 0 && kept[i-1].end > h.start {
			continue
		}
		kept = slices.Insert(kept, i, h)
	}
	seen := map[*rule]map[digest]int{}
	for i := range kept {
		h := &kept[i]
		if seen[h.rule] == nil {
			seen[h.rule] = map[digest]int{}
		}
		if seen[h.rule][h.value] == 0 {
			seen[h.rule][h.value] = len(seen[h.rule]) + 1
		}
		h.number = seen[h.rule][h.value]
	}
	return kept
}

// atToken tries the token that begins with the keyword at start, or with the word around it.
func (r *rule) atToken(src []byte, start int) (hit, bool) {
	if r.Back {
		for n := 0; start > 0 && n < maxBack && (isWord(src[start-1]) || strings.IndexByte(".~-", src[start-1]) >= 0); n++ {
			start--
		}
	}
	if start > 0 && isWord(src[start]) && (isWord(src[start-1]) && !escaped(src, start-1) || src[start-1] == '+' || src[start-1] == '.' && start > 1 && isWord(src[start-2])) {
		return hit{}, false // the middle of a longer word or of base64, or a field
	}
	loc := r.token().FindSubmatchIndex(src[start:min(start+maxToken, len(src))])
	if loc == nil {
		return hit{}, false
	}
	if end := start + loc[1]; end < len(src) && (isWord(src[end]) && (r.Back || isWord(src[end-1])) || src[end] == '+') {
		return hit{}, false
	}
	return r.hit(src, start, loc)
}

// escaped tells whether the letter at i belongs to an escape such as \n, or to %3D.
func escaped(src []byte, i int) bool {
	return i > 0 && src[i-1] == '\\' && strings.IndexByte("nrt", src[i]) >= 0 || i > 1 && src[i-2] == '%'
}

// atValue tries what a name has as its value; what is called or has no digit is a name itself.
func (r *rule) atValue(src []byte, start, end int) (hit, bool) {
	if end < len(src) && (src[end] == '(' || src[end] == '[') || !r.Exact && !bytes.ContainsAny(src[start:end], "0123456789") {
		return hit{}, false
	}
	loc := r.value().FindSubmatchIndex(src[start:end])
	if loc == nil || loc[1] != end-start {
		return hit{}, false
	}
	return r.hit(src, start, loc)
}

// hit makes one of a match, unless it is an example or too regular.
func (r *rule) hit(src []byte, start int, loc []int) (hit, bool) {
	from, to := loc[0], loc[1]
	for g := 2; g+1 < len(loc); g += 2 {
		if loc[g] >= 0 {
			from, to = loc[g], loc[g+1]
			break
		}
	}
	text := string(src[start+from : start+to])
	if !r.Exact && (isExample(text) || entropy(text) < r.Entropy || r.Random && !looksRandom(text)) {
		return hit{}, false
	}
	h := hit{rule: r, start: start + from, end: start + to, shown: shownOf(r, text), value: sha256.Sum256([]byte(text))}
	return h, !slices.Contains(r.Published, hex.EncodeToString(h.value[:8]))
}

func isWord(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

func isLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }

// assignment finds what is assigned to the name in which a keyword stands: in programs, configuration, JSON, XML and calls with a name
// and a value. It returns where the value begins and its length, 0 for none.
func assignment(src []byte, start, end int) (value, length int) {
	if start > 0 && isLetter(src[start-1]) && isLetter(src[start]) && !(src[start] < 'a' && src[start-1] >= 'a') && !escaped(src, start-1) {
		return 0, 0 // "clob" isn't "lob"; "apiKey" is "key"
	}
	i := end
	rest := src[:min(end+maxValue, len(src))]
	skip := func(set string, most int) int {
		n := 0
		for n < most && i < len(rest) && strings.IndexByte(set, rest[i]) >= 0 {
			i, n = i+1, n+1
		}
		return n
	}
	for n := 0; n < 32 && i < len(rest) && (isWord(rest[i]) || strings.IndexByte(" \t.-", rest[i]) >= 0); n++ {
		i++
	}
	skip("]\\'\"` \t", 6) // config["token"] = …, {\"token\": …}
	if skip("=:>,|?+.", 4) == 0 {
		return 0, 0
	}
	skip("> \t\r\n", 24)
	if i < len(rest) && (rest[i] == '=' || rest[i] == '+') { // "??=", ": string =", after a space
		i++
	}
	skip(" \t", 4)
	skip("\\'\"`", 4)
	stop := bytes.IndexAny(rest[i:], "\"'`; \t\r\n<>,()[]{}\\")
	if stop < 0 {
		stop = len(rest) - i
	}
	return i, stop
}
