package inventory

import (
	"path"
	"strings"

	"github.com/wardhq/ward/internal/cap/scan/internal/purl"
	"github.com/wardhq/ward/internal/finding"
)

// requirements reads pip's requirements files and follows their -r and -c. Only "==" and "===" pin a version.
func requirements(f *file) error {
	text, n := "", 0
	start := 0
	for line := range strings.Lines(string(f.data)) {
		n++
		line = strings.TrimRight(line, "\r\n")
		if text == "" {
			start = n
		}
		if i := strings.Index(line, "#"); i == 0 || i > 0 && (line[i-1] == ' ' || line[i-1] == '\t') {
			line = line[:i]
		}
		if part, more := strings.CutSuffix(line, `\`); more {
			text += part + " "
			continue
		}
		requirement(f, start, strings.TrimSpace(text+line))
		text = ""
	}
	requirement(f, start, strings.TrimSpace(text))
	return nil
}

// requirement reads one logical line.
func requirement(f *file, line int, text string) {
	if text == "" {
		return
	}
	for _, flag := range []string{"--requirement", "--constraint", "-r", "-c"} {
		if rest, ok := strings.CutPrefix(text, flag); ok && (rest == "" || strings.ContainsAny(rest[:1], " =\t") || len(flag) == 2) {
			include(f, line, strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(rest), "=")))
			return
		}
	}
	if rest, ok := strings.CutPrefix(text, "-e "); ok {
		text = strings.TrimSpace(rest)
	} else if rest, ok := strings.CutPrefix(text, "--editable"); ok {
		text = strings.Trim(rest, " =")
	}
	if strings.HasPrefix(text, "-") {
		return // other options choose indexes and formats
	}
	text, _, _ = strings.Cut(text, " --")
	if _, egg, ok := strings.Cut(text, "#egg="); ok && strings.Contains(text, "://") {
		name, _, _ := strings.Cut(egg, "&")
		text = name
	}
	text, _, _ = strings.Cut(text, ";")
	name, rest := pythonName(text)
	if name == "" || strings.HasPrefix(rest, "://") || strings.HasPrefix(rest, "/") || strings.HasPrefix(rest, "+") || name == text && strings.HasSuffix(name, ".whl") {
		if !strings.HasPrefix(text, ".") && !strings.HasPrefix(text, "/") {
			f.bad(line, "a requirement that names no package: "+clip(text))
		}
		return
	}
	f.add(line, finding.Package{Ecosystem: "PyPI", Name: purl.PythonName(name), Version: pinned(rest), Direct: true})
}

// include reads another requirements file, once.
func include(f *file, line int, name string) {
	name = path.Join(path.Dir(f.path), name)
	if strings.HasPrefix(name, "../") || name == ".." || strings.Contains(name, "://") || f.seen[name] || f.skip(name) {
		if !f.seen[name] && !f.skip(name) {
			f.bad(line, "names a requirements file outside of the tree")
		}
		return
	}
	f.extract(name, requirements)
}

// pythonName cuts a project's name (PEP 508) and its extras from the front of a requirement.
func pythonName(text string) (name, rest string) {
	end := 0
	for end < len(text) && (isAlnum(text[end]) || strings.IndexByte("-_.", text[end]) >= 0) {
		end++
	}
	name, rest = text[:end], strings.TrimSpace(text[end:])
	if strings.HasPrefix(rest, "[") {
		if _, after, ok := strings.Cut(rest, "]"); ok {
			rest = strings.TrimSpace(after)
		}
	}
	return name, strings.Trim(rest, "() ")
}

func isAlnum(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

// pinned is the one version that a specifier (PEP 440) admits, or "".
func pinned(specifier string) string {
	version, ok := strings.CutPrefix(specifier, "==")
	version = strings.TrimSpace(strings.TrimPrefix(version, "="))
	if !ok || strings.ContainsAny(version, "*, <>!~=@") {
		return ""
	}
	return version
}

func clip(s string) string {
	if len(s) > 80 {
		s = s[:80] + "…"
	}
	return strings.ToValidUTF8(s, "?")
}
