package model

import (
	"fmt"
	"strings"
	"unicode"

	"go.yaml.in/yaml/v3"
)

const plainMarks = " _./:*=+@$()~;<>^-&%!,{}[]'\"|"

// scalarText is a scalar as it is written in one line: as it stands where it was
// plain, without quotes where none are needed, in double quotes otherwise.
func (p *printer) scalarText(n *yaml.Node, flow bool) string {
	plain := n.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) == 0
	switch {
	case plain && n.Tag != "!!str":
		return n.Value
	case isPlain(n.Value, flow) && (plain || !isForeignWord(n.Value)):
		return n.Value
	}
	return doubleQuoted(n.Value)
}

// isPlain says that a text may stand without quotes, and stays a text.
func isPlain(s string, flow bool) bool {
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

// isForeignWord says that another YAML program would read the text as a boolean.
func isForeignWord(s string) bool {
	switch strings.ToLower(s) {
	case "y", "n", "yes", "no", "on", "off":
		return true
	}
	return false
}

func doubleQuoted(s string) string {
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

// isLiteral says that a scalar is written as a literal block.
func isLiteral(n *yaml.Node) bool {
	if n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) == 0 || strings.TrimSpace(n.Value) == "" || strings.HasSuffix(n.Value, "\n\n") {
		return false
	}
	for line := range strings.SplitSeq(strings.TrimSuffix(n.Value, "\n"), "\n") {
		if strings.TrimRight(line, " \t") != line || strings.HasPrefix(line, "\t") {
			return false
		}
	}
	if c := n.Value[0]; c == ' ' || c == '\n' {
		return false
	}
	return !strings.ContainsFunc(n.Value, func(r rune) bool { return r != '\n' && r != '\t' && !unicode.IsPrint(r) })
}

// Quote is a text as ward.yaml writes it, in quotes only where it needs them;
// flow says that it stands inside of [ ] or { }.
func Quote(s string, flow bool) string {
	if isPlain(s, flow) && !isForeignWord(s) {
		return s
	}
	return doubleQuoted(s)
}
