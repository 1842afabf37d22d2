package lexis

import (
	"fmt"
	"strings"
	"unicode"

	"go.yaml.in/yaml/v3"
)

const plainMarks = " _./:*=+@$()~;<>^-&%!,{}[]'\"|"

// IsPlain says that a text may stand without quotes, and stays a text.
func IsPlain(s string, flow bool) bool {
	if s == "" || s != strings.TrimSpace(s) || strings.HasSuffix(s, ":") {
		return false
	}
	dash := len(s) > 1 && s[0] == '-' && s[1] != ' ' && !strings.HasPrefix(s, "---")
	if c := rune(s[0]); !dash && c < 0x80 && !unicode.IsLetter(c) && !unicode.IsDigit(c) && c != '/' && c != '.' && c != '_' {
		return false
	}
	for _, r := range s {
		if r < 0x80 && !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune(plainMarks, r) {
			return false
		}
		if r >= 0x80 && !unicode.IsLetter(r) && !unicode.IsDigit(r) {
			return false
		}
	}
	if strings.Contains(s, ": ") || flow && strings.ContainsAny(s, ",{}[]") {
		return false
	}
	n := yaml.Node{Kind: yaml.ScalarNode, Value: s}
	return n.ShortTag() == "!!str"
}

// IsForeignWord says that another YAML program would read the text as a boolean.
func IsForeignWord(s string) bool {
	switch strings.ToLower(s) {
	case "y", "n", "yes", "no", "on", "off":
		return true
	}
	return false
}

// DoubleQuoted is a text as a double-quoted YAML scalar in one line.
func DoubleQuoted(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case r == ' ' || unicode.IsPrint(r):
			b.WriteRune(r)
		case r <= 0xff:
			fmt.Fprintf(&b, `\x%02X`, r)
		case r <= 0xffff:
			fmt.Fprintf(&b, `\u%04X`, r)
		default:
			fmt.Fprintf(&b, `\U%08X`, r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// Quote is a text as ward.yaml writes it, in quotes only where it needs them;
// flow says that it stands inside of [ ] or { }.
func Quote(s string, flow bool) string {
	if IsPlain(s, flow) && !IsForeignWord(s) {
		return s
	}
	return DoubleQuoted(s)
}
