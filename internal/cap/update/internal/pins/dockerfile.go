package pins

import (
	"fmt"
	"strings"
)

// word is a piece of a line, by its place in the file.
type word struct {
	at   int
	text string
}

// arg is a literal default of a build argument.
type arg struct {
	word
	line int
}

// dockerfile reads FROM, and the ARG in front of the first, as https://docs.docker.com/reference/dockerfile/ says.
func (f *finder) dockerfile() {
	escape := "\\"
	args, stages := map[string]arg{}, map[string]bool{"scratch": true}
	began, directives := false, true
	lines := linesOf(f.text)
	for i := 0; i < len(lines); i++ {
		first := i
		text := strings.TrimSpace(lines[i].text)
		if directives {
			key, value, ok := strings.Cut(strings.TrimPrefix(text, "#"), "=")
			if directives = strings.HasPrefix(text, "#") && ok; directives && strings.EqualFold(strings.TrimSpace(key), "escape") && strings.TrimSpace(value) == "`" {
				escape = "`"
			}
		}
		if text == "" || text[0] == '#' {
			continue
		}
		whole := text
		for strings.HasSuffix(text, escape) && i+1 < len(lines) {
			i++
			next := strings.TrimSpace(lines[i].text)
			if next != "" && next[0] != '#' { // comments and empty lines don't end an instruction
				text = next
				whole += "\n" + next
			}
		}
		words := wordsOf(lines[first])
		switch name := strings.ToUpper(words[0].text); {
		case name == "FROM" && i > first:
			began = true
			f.problem(first+1, "a FROM of several lines isn't pinned")
		case name == "FROM":
			began = true
			f.from(first+1, words[1:], args, stages)
		case name == "ARG" && !began && i == first:
			for _, w := range words[1:] {
				if key, value, ok := strings.Cut(w.text, "="); ok {
					quotes := len(value) - len(strings.TrimLeft(value, `"'`))
					args[key] = arg{word{w.at + len(key) + 1 + quotes, strings.Trim(value, `"'`)}, first + 1}
				}
			}
		case strings.Contains(whole, "<<"):
			for _, end := range heredocs(whole) {
				for i++; i < len(lines) && !end(lines[i].text); i++ {
				}
			}
			if i >= len(lines) {
				f.problem(first+1, "a here-document doesn't end, so what follows isn't read")
			}
		}
	}
}

// heredocs tells of each here-document that an instruction begins with which line it ends.
func heredocs(instruction string) (ends []func(string) bool) {
	words := strings.Fields(instruction)
	if strings.EqualFold(words[0], "ONBUILD") {
		words = words[1:]
	}
	if len(words) == 0 || !matches(`(?i)RUN|COPY|ADD`, words[0]) {
		return nil
	}
	for _, w := range words[1:] {
		name, ok := strings.CutPrefix(strings.TrimLeft(w, "0123456789"), "<<")
		name, tabs := strings.CutPrefix(name, "-")
		if name = strings.Trim(name, `"'`); !ok || name == "" || strings.Contains(name, "<") {
			continue
		}
		ends = append(ends, func(line string) bool {
			if tabs {
				line = strings.TrimLeft(line, "\t")
			}
			return line == name
		})
	}
	return ends
}

// from reads what stands behind FROM.
func (f *finder) from(line int, words []word, args map[string]arg, stages map[string]bool) {
	for len(words) > 0 && strings.HasPrefix(words[0].text, "--") {
		words = words[1:]
	}
	if len(words) == 0 {
		f.problem(line, "FROM names no image")
		return
	}
	ref := words[0]
	before := stages[strings.ToLower(ref.text)]
	if len(words) > 2 && strings.EqualFold(words[1].text, "AS") {
		stages[strings.ToLower(words[2].text)] = true
	}
	if before {
		return
	}
	fixed, variable, ok := strings.Cut(ref.text, "$")
	if !ok {
		f.image(line, ref.at, ref.text, ref.text)
		return
	}
	// The pin goes where the argument's value is: whoever builds with another value replaces both.
	name := strings.TrimSuffix(strings.TrimPrefix(variable, "{"), "}")
	a, known := args[name]
	switch {
	case !matches(`\w+|\{\w+\}`, variable):
		f.problem(line, fmt.Sprintf("a digest can't be written behind the variable in %.120q", ref.text))
	case !known || a.text == "":
		f.problem(line, fmt.Sprintf("which image %.120q is, nobody says here: $%s has no value", ref.text, name))
	case mentions(f.text, name) != 2:
		f.problem(line, fmt.Sprintf("$%s in %.120q is used elsewhere, too, so a digest can't be written into it", name, ref.text))
	case stages[strings.ToLower(fixed+a.text)]:
	default:
		f.image(a.line, a.at, fixed+a.text, a.text)
	}
}

// mentions counts a name where it is a word by itself.
func mentions(text, name string) int {
	n := 0
	part := func(c byte) bool {
		return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
	}
	for at := 0; ; {
		i := strings.Index(text[at:], name)
		if i < 0 {
			return n
		}
		start, end := at+i, at+i+len(name)
		if (start == 0 || !part(text[start-1])) && (end == len(text) || !part(text[end])) {
			n++
		}
		at = start + 1
	}
}

// linesOf are the lines of a file, without their ends and the mark of its encoding.
func linesOf(text string) (out []word) {
	whole := len(text)
	text = strings.TrimPrefix(text, "\ufeff")
	at := whole - len(text)
	for line := range strings.SplitSeq(text, "\n") {
		out = append(out, word{at, strings.TrimSuffix(line, "\r")})
		at += len(line) + 1
	}
	return out
}

func wordsOf(line word) (out []word) {
	at := line.at
	for w := range strings.FieldsSeq(line.text) {
		at += strings.Index(line.text[at-line.at:], w)
		out = append(out, word{at, w})
		at += len(w)
	}
	return out
}
