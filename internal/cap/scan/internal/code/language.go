package code

import (
	"bytes"
	"path"
	"strings"
)

// language is what of a language's form the rules need.
type language struct {
	name   string
	line   []string // what begins a comment to the end of the line
	block  bool     // /* … */
	quotes string   // what begins and ends a string on one line
	long   []string // what begins and ends a string over lines
	hole   string   // what begins code inside a string, up to }, "" for none
	prefix string   // what must stand before the quote for that, "" for nothing
}

// languageOf knows a file's language by its name; nil is none.
func languageOf(name string) *language {
	c := language{line: []string{"//"}, block: true, quotes: `"'`}
	hash := language{line: []string{"#"}, quotes: `"'`}
	base := strings.ToLower(path.Base(name))
	switch path.Ext(base) {
	case ".go":
		c.name, c.long = "go", []string{"`"}
	case ".js", ".mjs", ".cjs", ".jsx", ".ts", ".mts", ".cts", ".tsx", ".vue", ".svelte":
		c.name, c.long, c.hole = "javascript", []string{"`"}, "${"
	case ".java":
		c.name, c.long = "java", []string{`"""`}
	case ".kt", ".kts", ".scala", ".groovy":
		c.name, c.long, c.hole = "java", []string{`"""`}, "$"
	case ".cs":
		c.name, c.hole, c.prefix = "csharp", "{", "$"
	case ".rs":
		c.name, c.quotes, c.hole = "rust", `"`, "{"
	case ".php":
		c.name, c.line, c.hole = "php", []string{"//", "#"}, "$"
	case ".c", ".cc", ".cpp", ".cxx", ".h", ".hpp", ".m", ".mm", ".swift":
		c.name = "c"
	case ".py":
		hash.name, hash.long, hash.hole, hash.prefix = "python", []string{`"""`, `'''`}, "{", "f"
		return &hash
	case ".rb", ".rake", ".ru":
		hash.name, hash.hole = "ruby", "#{"
		return &hash
	case ".sh", ".bash", ".zsh", ".ksh":
		hash.name, hash.hole = "shell", "$"
		return &hash
	case ".yaml", ".yml", ".env", ".properties", ".toml", ".ini", ".conf":
		hash.name = "settings"
		return &hash
	default:
		switch {
		case strings.HasPrefix(base, "dockerfile"), base == "makefile", strings.HasPrefix(base, ".env"):
			hash.name = "settings"
			return &hash
		}
		return nil
	}
	return &c
}

// split returns the text twice, line for line and byte for byte: without comments, and without what is in strings either. Code in the
// holes of strings stays. A string of one line ends with it, so that what isn't understood can't swallow the rest of a file.
func (l *language) split(src []byte) (code, bare []byte) {
	code, bare = bytes.Clone(src), bytes.Clone(src)
	for i := 0; i < len(src); {
		switch n := l.comment(src, i); {
		case n > 0:
			blank(code[i : i+n])
			blank(bare[i : i+n])
			i += n
		default:
			n, quote := l.text(src, i)
			if n == 0 {
				i++
				continue
			}
			l.hollow(src, bare, i, n, quote)
			i += n
		}
	}
	return code, bare
}

func blank(b []byte) {
	for i := range b {
		if b[i] != '\n' {
			b[i] = ' '
		}
	}
}

// comment is the length of the comment that begins at i, or 0.
func (l *language) comment(src []byte, i int) int {
	rest := src[i:]
	if l.block && bytes.HasPrefix(rest, []byte("/*")) {
		if end := bytes.Index(rest[2:], []byte("*/")); end >= 0 {
			return end + 4
		}
		return len(rest)
	}
	for _, mark := range l.line {
		// "#" begins a comment only where a word could: "$#" and "a#b" don't. "//" after a colon is an address.
		if !bytes.HasPrefix(rest, []byte(mark)) || i > 0 && (mark == "#" && !strings.ContainsRune(" \t\n;(){", rune(src[i-1])) || mark == "//" && src[i-1] == ':') {
			continue
		}
		if end := bytes.IndexByte(rest, '\n'); end >= 0 {
			return end
		}
		return len(rest)
	}
	return 0
}

// text is the length of the string that begins at i with its quotes, or 0.
func (l *language) text(src []byte, i int) (n int, quote string) {
	rest := src[i:]
	for _, q := range l.long {
		if bytes.HasPrefix(rest, []byte(q)) {
			if end := bytes.Index(rest[len(q):], []byte(q)); end >= 0 {
				return end + 2*len(q), q
			}
			return len(rest), q
		}
	}
	if strings.IndexByte(l.quotes, rest[0]) < 0 {
		return 0, ""
	}
	for j := 1; j < len(rest); j++ {
		switch rest[j] {
		case '\\':
			j++
		case '\n':
			return j, string(rest[:1])
		case rest[0]:
			return j + 1, string(rest[:1])
		}
	}
	return len(rest), string(rest[:1])
}

// hollow blanks the string of n bytes at i, but for its quotes and the code in it.
func (l *language) hollow(src, bare []byte, i, n int, quote string) {
	from, to := i+len(quote), i+n
	if to-from >= len(quote) && string(src[to-len(quote):to]) == quote {
		to -= len(quote)
	}
	inside, out := src[from:to], bare[from:to]
	keep := l.hole != "" && (l.prefix == "" || i > 0 && strings.EqualFold(string(src[i-1]), l.prefix)) && (l.hole != "${" || quote == "`") && (l.name != "shell" && l.name != "php" || quote == `"`)
	for j := 0; j < len(inside); {
		if !keep || !bytes.HasPrefix(inside[j:], []byte(l.hole)) {
			if inside[j] != '\n' {
				out[j] = ' '
			}
			j++
			continue
		}
		end := j + len(l.hole)
		for end < len(inside) && inside[end] != '}' && inside[end] != '\n' && (l.hole != "$" || inside[end] != ' ') {
			end++
		}
		if end < len(inside) && inside[end] == '}' {
			end++
		}
		j = end
	}
}
