package leak

import "bytes"

// shape is a kind of credential that shows by how it begins.
type shape struct {
	prefix string
	kind   string
	least  int // characters behind the prefix
	chars  func(byte) bool
	dots   int  // how many dots the rest has at least
	fold   bool // the prefix in any case
	keep   int  // how much of the prefix isn't masked
}

func isWord(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-'
}

func isUpper(c byte) bool { return c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' }

// isToken68 is RFC 7235 §2.1's token68, with dots.
func isToken68(c byte) bool {
	return isWord(c) || c == '.' || c == '~' || c == '+' || c == '/' || c == '='
}

// shapes are what issuers of credentials document, by their first letter in lower case.
func shapes(first byte) []shape {
	switch first {
	case 'a':
		return []shape{
			{prefix: "AKIA", kind: "an AWS access key's ID", least: 16, chars: isUpper},
			{prefix: "ASIA", kind: "an AWS access key's ID", least: 16, chars: isUpper},
			{prefix: "AIza", kind: "a Google API key", least: 35, chars: isWord},
			{prefix: "AGE-SECRET-KEY-1", kind: "an age key", least: 50, chars: isUpper},
		}
	case 'b':
		return []shape{
			{prefix: "Bearer ", kind: "a bearer token", least: 20, chars: isToken68, fold: true, keep: 7}, {prefix: "Basic ", kind: "a password for HTTP", least: 12, chars: isToken68, fold: true, keep: 6},
		}
	case 'd':
		return []shape{{prefix: "DPoP ", kind: "a bearer token", least: 20, chars: isToken68, fold: true, keep: 5}}
	case 'e':
		return []shape{{prefix: "eyJ", kind: "a signed token", least: 30, chars: func(c byte) bool { return isWord(c) || c == '.' }, dots: 2}}
	case 'g':
		return []shape{
			{prefix: "ghp_", kind: "a GitHub token", least: 36, chars: isWord},
			{prefix: "gho_", kind: "a GitHub token", least: 36, chars: isWord},
			{prefix: "ghu_", kind: "a GitHub token", least: 36, chars: isWord},
			{prefix: "ghs_", kind: "a GitHub token", least: 36, chars: isWord},
			{prefix: "ghr_", kind: "a GitHub token", least: 36, chars: isWord},
			{prefix: "github_pat_", kind: "a GitHub token", least: 40, chars: isWord},
			{prefix: "glpat-", kind: "a GitLab token", least: 20, chars: isWord},
		}
	case 'n':
		return []shape{{prefix: "npm_", kind: "an npm token", least: 36, chars: isWord}}
	case 'r':
		return []shape{{prefix: "rk_live_", kind: "a Stripe key", least: 16, chars: isWord}}
	case 's':
		return []shape{
			{prefix: "sk_live_", kind: "a Stripe key", least: 16, chars: isWord},
			{prefix: "sk-ant-", kind: "an Anthropic key", least: 40, chars: isWord},
			{prefix: "sk-proj-", kind: "an OpenAI key", least: 40, chars: isWord},
			{prefix: "SG.", kind: "a SendGrid key", least: 40, chars: func(c byte) bool { return isWord(c) || c == '.' }, dots: 1},
		}
	case 'x':
		return []shape{
			{prefix: "xoxb-", kind: "a Slack token", least: 20, chars: isWord}, {prefix: "xoxp-", kind: "a Slack token", least: 20, chars: isWord}, {prefix: "xoxa-", kind: "a Slack token", least: 20, chars: isWord}, {prefix: "xoxs-", kind: "a Slack token", least: 20, chars: isWord},
		}
	}
	return nil
}

// Tokens masks credentials that Ward doesn't know but that show what they are, in the lines of one log. The zero value is ready; it isn't for
// concurrent use.
type Tokens struct {
	inKey bool // between the first and the last line of a private key
}

// keyKind is the kind of a private key in PEM (RFC 7468).
const keyKind = "a private key"

// Mask puts asterisks in place of credentials in a line, in place, and calls found with the kind of each.
func (t *Tokens) Mask(line []byte, found func(kind string)) {
	begins, ends := bytes.Contains(line, []byte("-----BEGIN ")) && bytes.Contains(line, []byte("PRIVATE KEY-----")), bytes.Contains(line, []byte("-----END "))
	switch {
	case begins:
		found(keyKind)
		t.inKey = !ends
		fill(line)
		return
	case t.inKey && (ends || isKeyLine(line)):
		t.inKey = !ends
		fill(line)
		return
	}
	t.inKey = false
	before := byte(' ')
	for i := 0; i < len(line); i++ {
		c := line[i]
		if isWord(before) {
			before = c
			continue
		}
		before = c
		for _, s := range shapes(c | 0x20) {
			if n := s.match(line[i:]); n > 0 {
				found(s.kind)
				fill(line[i+s.keep : i+n])
				i, before = i+n-1, '*'
				break
			}
		}
	}
}

// isKeyLine tells whether a line can be one within PEM: base64 or a header, perhaps behind what a logger puts before it.
func isKeyLine(line []byte) bool {
	last := line[bytes.LastIndexByte(line, ' ')+1:]
	return len(last) >= 16 && !bytes.ContainsFunc(last, func(r rune) bool { return r > 0x7f || !isToken68(byte(r)) })
}

// match is how long the credential at the beginning of b is, 0 for none.
func (s *shape) match(b []byte) int {
	if len(b) < len(s.prefix)+s.least {
		return 0
	}
	if head := b[:len(s.prefix)]; string(head) != s.prefix && !(s.fold && bytes.EqualFold(head, []byte(s.prefix))) {
		return 0
	}
	n, dots := len(s.prefix), 0
	for n < len(b) && s.chars(b[n]) {
		if b[n] == '.' {
			dots++
		}
		n++
	}
	if n-len(s.prefix) < s.least || dots < s.dots {
		return 0
	}
	return n
}
