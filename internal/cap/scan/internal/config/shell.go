package config

import (
	"path"
	"slices"
	"strings"
)

// The bounds of reading one script.
const (
	maxCommands   = 2_000
	maxShellDepth = 4 // of $(…) and sh -c '…'
)

// command is one simple command of a script: what CEL sees as cmd.
type command struct {
	program string   // the last element of its path, without wrappers such as sudo or env
	words   []string // unquoted, from the program on
	text    string
	offset  int      // in the script, in bytes
	feeds   []string // the programs whose output it is given: those before it in its pipe, and those inside $(…) or <(…)
	before  []string // the wrappers in front of it
}

func (c *command) view() map[string]any {
	return map[string]any{"program": c.program, "words": c.words, "text": c.text, "feeds": c.feeds, "before": c.before}
}

// shell reads a script as far as rules need it: words, quotes, pipes, lists, substitutions. It isn't a shell: what it can't follow
// (case, functions) it reads as commands too, so nothing is left out.
type shell struct {
	src      string
	commands []command
	cut      bool                // at maxCommands: the rest wasn't read
	filled   map[string][]string // by variable: the programs whose output it holds
}

// commandsOf splits a script; cut says that it has more than maxCommands.
func commandsOf(script string) (commands []command, cut bool) {
	s := &shell{src: script}
	s.list(0, len(script), 0)
	return s.commands, s.cut
}

// list reads src[from:to] and returns the programs in it.
func (s *shell) list(from, to, depth int) []string {
	var programs, pipe []string
	w := &words{shell: s, depth: depth}
	end := func(at int) {
		if c, ok := w.command(s.src, at); ok {
			c.feeds = append(slices.Clone(pipe), c.feeds...)
			if len(s.commands) >= maxCommands {
				s.cut = true
			} else {
				s.commands = append(s.commands, c)
			}
			pipe = append(pipe, c.program)
			programs = append(programs, c.program)
		}
		w.reset()
	}
	for i := from; i < to && !s.cut; {
		n, op := operator(s.src[i:to])
		switch {
		case n > 0:
			end(i)
			if op != "|" {
				pipe = nil
			}
			i += n
		default:
			i = w.read(i, to)
		}
	}
	end(to)
	return programs
}

// operator is the operator at the start of text, and its length; "|" stands for those that hand output on.
func operator(text string) (int, string) {
	two := text[:min(2, len(text))]
	switch two {
	case "&&", "||", ";;":
		return 2, two
	case "|&":
		return 2, "|"
	case "&>", "<(", ">(":
		return 0, ""
	}
	switch text[0] {
	case '|', ';', '&', '\n', '(', ')':
		return 1, text[:1]
	}
	return 0, ""
}

// words collects the words of one command.
type words struct {
	shell *shell
	depth int
	list  []string
	word  strings.Builder
	open  bool // a word has begun, maybe an empty one
	start int  // offset of the first word
	feeds []string
}

func (w *words) reset() {
	w.list, w.feeds, w.open, w.start = nil, nil, false, 0
	w.word.Reset()
}

func (w *words) flush() {
	if w.open {
		w.list = append(w.list, w.word.String())
	}
	w.open = false
	w.word.Reset()
}

func (w *words) begin(i int) {
	if !w.open && len(w.list) == 0 {
		w.start = i
	}
	w.open = true
}

// read takes one character, quoted string or substitution at i, and returns where to go on.
func (w *words) read(i, to int) int {
	src := w.shell.src
	switch c := src[i]; {
	case c == ' ' || c == '\t' || c == '\r':
		w.flush()
		return i + 1
	case c == '#' && !w.open:
		if n := strings.IndexByte(src[i:to], '\n'); n >= 0 {
			return i + n
		}
		return to
	case c == '\\' && i+1 < to:
		if src[i+1] != '\n' {
			w.begin(i)
			w.word.WriteByte(src[i+1])
		}
		return i + 2
	case c == '\'':
		w.begin(i)
		n := strings.IndexByte(src[i+1:to], '\'')
		if n < 0 {
			n = to - i - 1
		}
		w.word.WriteString(src[i+1 : i+1+n])
		return min(i+n+2, to)
	case c == '"':
		w.begin(i)
		return w.quoted(i+1, to)
	default:
		w.begin(i)
		if n := w.substitution(i, to); n > 0 {
			return i + n
		}
		w.word.WriteByte(c)
		return i + 1
	}
}

func (w *words) quoted(i, to int) int {
	src := w.shell.src
	for i < to && src[i] != '"' {
		if src[i] == '\\' && i+1 < to {
			w.word.WriteByte(src[i+1])
			i += 2
			continue
		}
		if n := w.substitution(i, to); n > 0 {
			i += n
			continue
		}
		w.word.WriteByte(src[i])
		i++
	}
	return min(i+1, to)
}

// substitution reads $(…), <(…) or `…` at i as commands of their own; 0 if there is none.
func (w *words) substitution(i, to int) int {
	src, open, end := w.shell.src, 2, -1
	switch {
	case src[i] == '`':
		open = 1
		if n := strings.IndexByte(src[i+1:to], '`'); n >= 0 {
			end = i + 1 + n
		}
	case i+1 < to && src[i+1] == '(' && (src[i] == '$' || src[i] == '<'):
		end = closing(src, i+2, to)
	default:
		return 0
	}
	if end < 0 {
		end = to
	}
	if w.depth < maxShellDepth {
		w.feeds = append(w.feeds, w.shell.list(min(i+open, end), end, w.depth+1)...)
	}
	n := min(end+1, to) - i
	w.word.WriteString("$()") // its commands were read: a nested shell shouldn't read them again
	return n
}

// closing is the offset of the bracket that closes one opened before i; -1 if there is none.
func closing(src string, i, to int) int {
	for depth := 1; i < to; i++ {
		switch src[i] {
		case '\\':
			i++
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				return i
			}
		}
	}
	return -1
}

// command is what the words make: assignments, keywords and wrappers in front are stripped.
func (w *words) command(src string, end int) (command, bool) {
	w.flush()
	c := command{words: w.list, offset: w.start, feeds: w.feeds}
	for len(c.words) > 0 {
		first := path.Base(c.words[0])
		switch {
		case isAssignment(c.words[0]):
			w.shell.fill(c.words[0], w.feeds)
		case slices.Contains([]string{"if", "then", "else", "elif", "do", "while", "until", "!", "{", "}", "fi", "done"}, first):
		case slices.Contains([]string{"sudo", "env", "exec", "time", "nice", "command", "nohup", "doas", "gosu", "xargs"}, first) && len(c.words) > 1:
			c.before = append(c.before, first)
			c.words = c.words[1:]
			for len(c.words) > 1 && strings.HasPrefix(c.words[0], "-") {
				c.words = c.words[1:]
			}
			continue
		default:
			c.program, c.text = first, strings.TrimSpace(src[min(w.start, end):end])
			if c.program == "eval" { // to others a variable is a word, not a program
				c.feeds = append(c.feeds, w.shell.held(c.words)...)
			}
			w.nested(&c)
			return c, true
		}
		c.words = c.words[1:]
	}
	return command{}, false
}

// nested reads the script that a shell is given by -c. Its commands get the place of the shell, since quotes have gone.
func (w *words) nested(c *command) {
	if !slices.Contains([]string{"sh", "bash", "ash", "dash", "zsh"}, c.program) || w.depth >= maxShellDepth {
		return
	}
	i := slices.IndexFunc(c.words, func(s string) bool { return len(s) > 1 && s[0] == '-' && s[1] != '-' && strings.HasSuffix(s, "c") })
	if i < 0 || i+1 >= len(c.words) {
		return
	}
	inner := &shell{src: c.words[i+1]}
	inner.list(0, len(inner.src), w.depth+1)
	for _, n := range inner.commands {
		n.offset = c.offset
		if len(w.shell.commands) >= maxCommands {
			w.shell.cut = true
			return
		}
		w.shell.commands = append(w.shell.commands, n)
	}
}

// fill notes what a variable is set to.
func (s *shell) fill(assignment string, programs []string) {
	name, _, _ := strings.Cut(assignment, "=")
	if len(programs) > 0 && s.filled == nil {
		s.filled = map[string][]string{}
	}
	if len(programs) > 0 {
		s.filled[name] = programs
	}
}

// held are the programs whose output the words name by variables; a variable counts once, however often it is named.
func (s *shell) held(words []string) []string {
	var out []string
	seen := map[string]bool{}
	for _, word := range words {
		name := strings.Trim(word, "${}")
		if strings.HasPrefix(word, "$") && !seen[name] {
			seen[name] = true
			out = append(out, s.filled[name]...)
		}
	}
	return out
}

func isAssignment(word string) bool {
	name, _, ok := strings.Cut(word, "=")
	return ok && name != "" && strings.IndexFunc(name, func(r rune) bool {
		return r != '_' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	}) < 0
}

// shellQuote is a word as a shell reads it back.
func shellQuote(word string) string { return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'" }
