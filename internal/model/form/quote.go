package form

import (
	"strings"
	"unicode"

	"go.yaml.in/yaml/v3"

	"github.com/wardhq/ward/internal/model/lexis"
)

// Scalar is a scalar as it is written in one line: as it stands where it was
// plain, without quotes where none are needed, in double quotes otherwise.
func Scalar(n *yaml.Node, flow bool) string {
	plain := n.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) == 0
	switch {
	case plain && n.Tag != "!!str":
		return n.Value
	case lexis.IsPlain(n.Value, flow) && (plain || !lexis.IsForeignWord(n.Value)):
		return n.Value
	}
	return lexis.DoubleQuoted(n.Value)
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
