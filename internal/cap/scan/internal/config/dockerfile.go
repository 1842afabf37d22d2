package config

import (
	"encoding/json"
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"
)

// The bounds of one Dockerfile.
const maxInstructions = 5_000

// instruction is one of a Dockerfile, as Docker's reference for it says: continuation lines joined, comments between them left out.
type instruction struct {
	name  string // upper case
	flags []string
	text  string // what follows the name and the flags
	args  []string
	json  bool // args are those of the JSON form
	body  string
	line  int
	lines []mark
	build bool // ONBUILD stood in front
}

// mark says that from an offset of the text on, another line of the file goes.
type mark struct{ offset, line int }

func (in *instruction) lineAt(offset int) int {
	i := sort.Search(len(in.lines), func(i int) bool { return in.lines[i].offset > offset })
	if i == 0 {
		return in.line
	}
	return in.lines[i-1].line
}

// script is what a shell would run: the text and its here-documents, or the JSON form's words.
func (in *instruction) script() string {
	if in.json {
		quoted := make([]string, len(in.args))
		for i, a := range in.args {
			quoted[i] = shellQuote(a)
		}
		return strings.Join(quoted, " ")
	}
	return in.text + in.body
}

// dockerfile is a parsed one.
type dockerfile struct {
	instructions []instruction
	warnings     []Problem // instructions that don't exist
}

// dockerReader joins lines to instructions.
type dockerReader struct {
	lines  []string
	at     int
	escape byte
	file   dockerfile
}

// parseDockerfile reads a Dockerfile (docs.docker.com/reference/dockerfile): directives, continuation lines, here-documents, the JSON form,
// flags, ONBUILD. It fails on what Docker itself couldn't build by: a here-document without its end, a file without FROM.
func parseDockerfile(src []byte) (*dockerfile, error) {
	text := strings.TrimPrefix(string(src), "\ufeff")
	r := &dockerReader{lines: strings.Split(text, "\n"), escape: '\\'}
	r.directives()
	for r.at < len(r.lines) {
		if len(r.file.instructions) >= maxInstructions {
			return nil, fmt.Errorf("more than %d instructions", maxInstructions)
		}
		if err := r.next(); err != nil {
			return nil, err
		}
	}
	if !slices.ContainsFunc(r.file.instructions, func(in instruction) bool { return in.name == "FROM" }) {
		return nil, fmt.Errorf("no FROM instruction")
	}
	return &r.file, nil
}

// directives reads `# escape=` from the comments at the very top.
func (r *dockerReader) directives() {
	for _, line := range r.lines {
		comment, ok := strings.CutPrefix(strings.TrimSpace(line), "#")
		if !ok {
			return
		}
		key, value, ok := strings.Cut(comment, "=")
		if !ok || strings.ContainsAny(strings.TrimSpace(key), " \t") {
			return
		}
		if v := strings.TrimSpace(value); strings.EqualFold(strings.TrimSpace(key), "escape") && (v == "`" || v == "\\") {
			r.escape = v[0]
		}
	}
}

func isComment(line string) bool { return strings.HasPrefix(strings.TrimLeft(line, " \t\r"), "#") }

// next reads one instruction and its here-documents.
func (r *dockerReader) next() error {
	var text strings.Builder
	var marks []mark
	in := instruction{}
	for ; r.at < len(r.lines); r.at++ {
		line := strings.TrimRight(r.lines[r.at], " \t\r")
		if isComment(line) || strings.TrimSpace(line) == "" {
			continue // also between continuation lines, which don't end there
		}
		if in.line == 0 {
			in.line = r.at + 1
			line = strings.TrimLeft(line, " \t")
		}
		marks = append(marks, mark{text.Len(), r.at + 1})
		more := r.continues(line)
		if more {
			line = line[:len(line)-1]
		}
		text.WriteString(line)
		if !more {
			r.at++
			break
		}
	}
	if in.line == 0 {
		return nil
	}
	return r.finish(in, text.String(), marks)
}

// continues says whether a line ends with an escape that isn't escaped itself.
func (r *dockerReader) continues(line string) bool {
	n := len(line)
	return n > 0 && line[n-1] == r.escape && (n == 1 || line[n-2] != r.escape)
}

func (r *dockerReader) finish(in instruction, text string, marks []mark) error {
	rest := text
	for {
		name, after := cutSpace(rest)
		in.name, rest = strings.ToUpper(name), after
		if in.name != "ONBUILD" || in.build {
			break
		}
		in.build = true
	}
	for takesFlags(in.name) && strings.HasPrefix(rest, "--") {
		var flag string
		flag, rest = cutSpace(rest)
		if flag == "--" {
			break // what follows is no flag, whatever it looks like
		}
		in.flags = append(in.flags, flag)
	}
	in.text = strings.TrimSpace(rest)
	start := len(text) - len(strings.TrimLeft(rest, " \t"))
	for _, m := range marks {
		in.lines = append(in.lines, mark{max(m.offset-start, 0), m.line})
	}
	if strings.HasPrefix(in.text, "[") && json.Unmarshal([]byte(in.text), &in.args) == nil {
		in.json = true
	} else {
		in.args = dockerWords(in.text, r.escape)
	}
	if in.name == "RUN" || in.name == "COPY" || in.name == "ADD" {
		if err := r.hereDocuments(&in); err != nil {
			return err
		}
	}
	if !isInstruction(in.name) {
		r.file.warnings = append(r.file.warnings, Problem{Line: in.line, Message: fmt.Sprintf("no instruction is called %s", excerpt(in.name))})
		return nil
	}
	r.file.instructions = append(r.file.instructions, in)
	return nil
}

func takesFlags(name string) bool {
	return slices.Contains([]string{"ADD", "COPY", "FROM", "RUN", "HEALTHCHECK"}, name)
}

func isInstruction(name string) bool {
	return slices.Contains([]string{
		"ADD", "ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK", "LABEL", "MAINTAINER",
		"ONBUILD", "RUN", "SHELL", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR",
	}, name)
}

func cutSpace(s string) (first, rest string) {
	s = strings.TrimLeft(s, " \t")
	if i := strings.IndexAny(s, " \t"); i >= 0 {
		return s[:i], strings.TrimLeft(s[i:], " \t")
	}
	return s, ""
}

// hereDocuments reads the bodies that <<NAME announces; they follow the instruction in the order of their names.
func (r *dockerReader) hereDocuments(in *instruction) error {
	if in.json {
		return nil
	}
	for _, word := range strings.Fields(in.text) {
		rest, ok := strings.CutPrefix(strings.TrimLeft(word, "0123456789"), "<<")
		if !ok || strings.HasPrefix(rest, "<") {
			continue
		}
		rest, tabs := strings.CutPrefix(rest, "-")
		name := strings.Trim(rest, `"'`)
		if name == "" {
			continue
		}
		if err := r.body(in, name, tabs); err != nil {
			return err
		}
	}
	return nil
}

func (r *dockerReader) body(in *instruction, name string, tabs bool) error {
	var body strings.Builder
	base := len(in.text) + len(in.body)
	for ; r.at < len(r.lines); r.at++ {
		line := strings.TrimSuffix(r.lines[r.at], "\r")
		if tabs {
			line = strings.TrimLeft(line, "\t")
		}
		if line == name {
			r.at++
			in.body += body.String()
			return nil
		}
		in.lines = append(in.lines, mark{base + body.Len() + 1, r.at + 1})
		body.WriteString("\n" + line)
	}
	return fmt.Errorf("line %d: the here-document %s has no end", in.line, excerpt(name))
}

// dockerWords splits at blanks outside quotes, and takes the quotes off.
func dockerWords(text string, escape byte) []string {
	var out []string
	var word strings.Builder
	var quote byte
	open := false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == escape && quote != '\'' && i+1 < len(text):
			i++
			word.WriteByte(text[i])
			open = true
		case quote != 0:
			if c == quote {
				quote = 0
			} else {
				word.WriteByte(c)
			}
		case c == '"' || c == '\'':
			quote, open = c, true
		case c == ' ' || c == '\t':
			if open {
				out = append(out, word.String())
			}
			word.Reset()
			open = false
		default:
			word.WriteByte(c)
			open = true
		}
	}
	if open {
		out = append(out, word.String())
	}
	return out
}

// pairs are the names and values that ENV, ARG or LABEL set; both forms of ENV.
func (in *instruction) pairs() [][2]string {
	if in.name == "ENV" && len(in.args) > 0 && !strings.Contains(in.args[0], "=") {
		name, value := cutSpace(in.text)
		return [][2]string{{name, strings.Trim(value, `"'`)}}
	}
	var out [][2]string
	for _, a := range in.args {
		name, value, _ := strings.Cut(a, "=")
		out = append(out, [2]string{name, value})
	}
	return out
}

// expand replaces $NAME, ${NAME}, ${NAME:-word} and ${NAME:+word}; known says whether every name had a value.
func expand(text string, values map[string]string) (out string, known bool) {
	var b strings.Builder
	known = true
	for i := 0; i < len(text); {
		if text[i] != '$' || i+1 >= len(text) {
			b.WriteByte(text[i])
			i++
			continue
		}
		name, end := "", i+1
		if text[end] == '{' {
			n := strings.IndexByte(text[end:], '}')
			if n < 0 {
				return text, false
			}
			name, end = text[end+1:end+n], end+n+1
		} else {
			for end < len(text) && isName(text[end]) {
				end++
			}
			name = text[i+1 : end]
		}
		value, ok := lookUp(name, values)
		if !ok {
			known = false
			value = text[i:end]
		}
		b.WriteString(value)
		i = max(end, i+1)
	}
	return b.String(), known
}

func isName(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z'
}

func lookUp(expr string, values map[string]string) (string, bool) {
	name := expr
	for i := range len(expr) {
		if !isName(expr[i]) {
			name = expr[:i]
			break
		}
	}
	value, set := values[name]
	switch op := strings.TrimPrefix(expr[len(name):], ":"); {
	case op == "":
		return value, set && value != ""
	case op[0] == '-':
		if value == "" {
			return op[1:], true
		}
		return value, true
	case op[0] == '+':
		if value == "" {
			return "", true
		}
		return op[1:], true
	}
	return "", false
}

// portOf is the number of an EXPOSE argument: 22, 22/tcp.
func portOf(arg string) int {
	number, _, _ := strings.Cut(arg, "/")
	n, err := strconv.Atoi(number)
	if err != nil {
		return 0
	}
	return n
}
