package inventory

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/wardhq/ward/internal/finding"
)

// indented calls each with every line that says something, without its indentation of n spaces. It's how the lock files of yarn and pnpm are
// read: their writers use little of YAML, and a line for each value.
func indented(data []byte, each func(line, spaces int, text string) error) error {
	n := 0
	for raw := range strings.Lines(string(data)) {
		n++
		text := strings.TrimLeft(strings.TrimRight(raw, " \r\n"), " ")
		if text == "" || text[0] == '#' || text == "---" {
			continue
		}
		spaces := strings.Index(raw, text)
		if text[0] == '\t' || strings.ContainsRune(text, 0) {
			return fmt.Errorf("line %d: a tab or NUL where none belongs", n)
		}
		if err := each(n, spaces, text); err != nil {
			return err
		}
	}
	return nil
}

// pair parts "key: value", and yarn 1's "key value", and takes off quotes.
func pair(text string) (key, value string) {
	if quote := text[0]; quote == '"' || quote == '\'' {
		if end := strings.IndexByte(text[1:], quote); end >= 0 {
			key, value = text[1:end+1], text[end+2:]
			return key, unquote(strings.TrimSpace(strings.TrimPrefix(value, ":")))
		}
	}
	if key, ok := strings.CutSuffix(text, ":"); ok {
		return key, ""
	}
	if key, value, ok := strings.Cut(text, ": "); ok && !strings.Contains(key, " ") {
		return key, unquote(strings.TrimSpace(value))
	}
	key, value, _ = strings.Cut(text, " ")
	return key, unquote(strings.TrimSpace(value))
}

func unquote(s string) string {
	if len(s) >= 2 && (s[0] == '"' || s[0] == '\'') && s[len(s)-1] == s[0] {
		return s[1 : len(s)-1]
	}
	return s
}

// yarnEntry is one entry of a yarn.lock: the ranges that were asked for, and what they led to.
type yarnEntry struct {
	line                int
	asked               []string
	version, resolution string
	requires            []string
}

// yarnLock reads yarn.lock, of yarn 1 and of yarn 2 and later ("berry").
func yarnLock(f *file) error {
	direct := map[string]bool{}
	asks := packageJSON(f)
	for name, want := range asks {
		direct[name+"@"+want] = true
		direct[name+"@npm:"+want] = true
	}
	var all []*yarnEntry
	var e *yarnEntry
	section := ""
	err := indented(f.data, func(line, spaces int, text string) error {
		switch {
		case spaces == 0:
			head, ok := strings.CutSuffix(text, ":")
			if !ok {
				return fmt.Errorf("line %d: not the head of an entry", line)
			}
			e, section = &yarnEntry{line: line}, ""
			for one := range strings.SplitSeq(strings.ReplaceAll(head, `"`, ""), ",") {
				e.asked = append(e.asked, strings.TrimSpace(one))
			}
			if head != "__metadata" {
				all = append(all, e)
			}
		case e == nil:
			return fmt.Errorf("line %d: a value outside of any entry", line)
		case spaces == 2:
			key, value := pair(text)
			section = key
			switch key {
			case "version":
				e.version = value
			case "resolution":
				e.resolution = value
			}
		case spaces == 4 && (section == "dependencies" || section == "optionalDependencies"):
			name, want := pair(text)
			e.requires = append(e.requires, name)
			if strings.Contains(e.resolution, "@workspace:") {
				direct[name+"@"+want] = true
				direct[name+"@npm:"+want] = true
			}
		}
		return nil
	})
	parts := newMerged()
	for _, e := range all {
		e.take(f, parts, direct)
	}
	parts.addTo(f)
	if err != nil {
		return fmt.Errorf("read yarn.lock: %w", err)
	}
	return nil
}

func (e *yarnEntry) take(f *file, parts *merged, direct map[string]bool) {
	p := finding.Package{Ecosystem: "npm", Version: e.version, Requires: e.requires}
	name, want := npmDescriptor(e.asked[0])
	for _, scheme := range []string{"workspace:", "link:", "portal:"} {
		if strings.HasPrefix(want, scheme) {
			return // a folder of the project itself
		}
	}
	p.Name = name
	if rest, ok := strings.CutPrefix(want, "npm:"); ok {
		if real, _ := npmDescriptor(rest); strings.LastIndexByte(rest, '@') > 0 {
			p.Name = real // an alias
		}
	}
	if real, _ := npmDescriptor(e.resolution); real != "" {
		p.Name = real
	}
	if p.Name == "" || p.Version == "" {
		f.bad(e.line, "an entry without a name or version: "+clip(e.asked[0]))
	}
	if p.Name == "" {
		return
	}
	for _, a := range e.asked {
		p.Direct = p.Direct || direct[a]
	}
	parts.take(e.line, p)
}

// npmDescriptor parts "name@range", where a scope begins with an @ as well.
func npmDescriptor(s string) (name, want string) {
	if len(s) < 2 {
		return s, ""
	}
	at := strings.IndexByte(s[1:], '@') + 1
	if at == 0 {
		return s, ""
	}
	return s[:at], s[at+1:]
}

// packageJSON is what the package.json beside a lock file asks for; none is nothing.
func packageJSON(f *file) map[string]string {
	name := path.Join(path.Dir(f.path), "package.json")
	data, err := f.load(name, f.lim.text)
	if err != nil {
		return nil
	}
	var m struct{ Dependencies, DevDependencies, OptionalDependencies map[string]string }
	if err := json.Unmarshal(data, &m); err != nil {
		f.problem(name, 0, "read package.json: "+err.Error())
	}
	all := map[string]string{}
	for _, asks := range []map[string]string{m.Dependencies, m.DevDependencies, m.OptionalDependencies} {
		for k, v := range asks {
			all[k] = v
		}
	}
	return all
}

// bunLock reads bun.lock: JSON with commas before closing brackets.
func bunLock(f *file) error {
	r := readJSON(withoutExtras(f.data))
	parts, direct := newMerged(), map[string]bool{}
	err := r.object(func(key string) error {
		switch key {
		case "workspaces":
			return r.object(func(string) error {
				var m npmEntry
				err := r.Decode(&m)
				for _, names := range [][]string{m.Dependencies, m.DevDependencies, m.OptionalDependencies, m.PeerDependencies} {
					for _, n := range names {
						direct[n] = true
					}
				}
				return err
			})
		case "packages":
			return r.object(func(place string) error {
				line := r.Line()
				var tuple []json.RawMessage
				if err := r.Decode(&tuple); err != nil {
					return err
				}
				p, err := bunPackage(tuple)
				if err != nil {
					f.bad(line, err.Error())
				} else if p.Name != "" {
					p.Direct = direct[place]
					parts.take(line, p)
				}
				return nil
			})
		}
		return r.skip()
	})
	parts.addTo(f)
	if err != nil {
		return fmt.Errorf("read bun.lock: %w", err)
	}
	return nil
}

// bunPackage reads ["name@version", "registry", {"dependencies": {…}}, "hash"].
func bunPackage(tuple []json.RawMessage) (finding.Package, error) {
	p := finding.Package{Ecosystem: "npm"}
	var id string
	if len(tuple) == 0 || json.Unmarshal(tuple[0], &id) != nil {
		return p, errors.New("a package that doesn't begin with name@version")
	}
	name, version := npmDescriptor(id)
	if strings.HasPrefix(version, "workspace:") {
		return p, nil
	}
	if strings.ContainsAny(version, ":/#@") {
		version = "" // a URL, a file or a commit
	}
	p.Name, p.Version = name, version
	for _, raw := range tuple[1:] {
		var m npmEntry
		if raw[0] == '{' && json.Unmarshal(raw, &m) == nil {
			p.Requires = append(append(p.Requires, m.Dependencies...), m.OptionalDependencies...)
		}
	}
	return p, nil
}

// withoutExtras blanks the comments and trailing commas that JSON hasn't; every other byte stays where it is.
func withoutExtras(data []byte) []byte {
	out := append([]byte(nil), data...)
	comma := -1
	for i := 0; i < len(out); i++ {
		switch c := out[i]; {
		case c == '"':
			for i++; i < len(out) && out[i] != '"'; i++ {
				if out[i] == '\\' {
					i++
				}
			}
			comma = -1
		case c == '/' && i+1 < len(out) && out[i+1] == '/':
			for ; i < len(out) && out[i] != '\n'; i++ {
				out[i] = ' '
			}
		case c == '/' && i+1 < len(out) && out[i+1] == '*':
			end := len(out)
			if n := bytes.Index(out[i+2:], []byte("*/")); n >= 0 {
				end = i + 2 + n + 2
			}
			for ; i < end; i++ {
				if out[i] != '\n' {
					out[i] = ' '
				}
			}
			i--
		case c == ',':
			comma = i
		case c == ']' || c == '}':
			if comma >= 0 {
				out[comma] = ' '
			}
			comma = -1
		case c != ' ' && c != '\n' && c != '\r' && c != '\t':
			comma = -1
		}
	}
	return out
}
