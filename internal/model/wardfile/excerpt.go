package wardfile

import (
	"strings"
	"unicode/utf8"
)

const excerptWidth = 110

// excerpt cuts a line to a readable width around a column, and says where in it
// the column stands.
func excerpt(line string, col int) (string, int) {
	caret := max(col-1, 0)
	if n := utf8.RuneCountInString(line); n > excerptWidth {
		runes := []rune(line)
		from := min(max(caret-excerptWidth/2, 0), n-excerptWidth)
		head, tail := "", ""
		if from > 0 {
			head = "…"
		}
		if from+excerptWidth < n {
			tail = "…"
		}
		line = head + string(runes[from:from+excerptWidth]) + tail
		caret += len([]rune(head)) - from
	}
	trimmed := strings.TrimLeft(line, " ")
	caret -= len(line) - len(trimmed)
	line = strings.TrimRight(strings.ReplaceAll(trimmed, "\t", " "), " ")
	return line, min(max(caret, 0), utf8.RuneCountInString(line))
}
