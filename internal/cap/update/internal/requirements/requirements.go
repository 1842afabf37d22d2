// Package requirements reads pip's requirements files, and writes other versions and hashes into them.
//
// Guarantee: what isn't surely understood is an error, so that pip and Ward never read a line in two ways; a change touches the version and the hashes of
// one part and no other byte; files outside of the folder are never read. Files, bytes and depth are bounded. Not guaranteed: that a file's pins fit together.
//
// https://pip.pypa.io/en/stable/reference/requirements-file-format/
package requirements

import (
	"bytes"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/wardhq/ward/internal/base/fault"
)

// Limits.
const (
	maxFile  = 4 << 20
	maxFiles = 64
	maxPins  = 20_000
)

const (
	hashOption = "--hash=sha256:"
	hashWord   = len(hashOption) + 64
)

// Pin is a requirement of one exact version.
type Pin struct {
	Name    string // normalized (PEP 503)
	Version string
	Hashes  []string // SHA-256, in hexadecimal
	head    string   // name and extras, as written
	marker  string   // with its semicolon, "" for none
	version [2]int   // where it stands in the file
	hashes  [2]int
	second  int // where the second hash begins; 0 for none
}

// Include is another file that is named in one.
type Include struct {
	Path       string // as written
	Constraint bool   // it only says which versions, not what is wanted
}

// File is one requirements file.
type File struct {
	Pins     []Pin
	Loose    []string // requirements without an exact version, one line each
	Includes []Include
	Indexes  []string // where else parts come from: URLs or folders, as written
	data     []byte
}

// Name is a project's name in the one form that all spellings share (PEP 503).
func Name(s string) string {
	return strings.ToLower(strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r == '-' || r == '_' || r == '.' }), "-"))
}

// reader are the forms that lines can have.
type reader struct{ pin, loose, option *regexp.Regexp }

func newReader() reader {
	const one = `(?:[<>]=?|[=!~]=|===)\s*[A-Za-z0-9][A-Za-z0-9.!+_*-]*`
	const name, marker = `^\s*([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)\s*(\[[A-Za-z0-9._,\s-]*\])?\s*`, `(;[A-Za-z0-9_.'"()<>=!~,\s]+?)?`
	return reader{
		pin:    regexp.MustCompile(name + `===?\s*([A-Za-z0-9][A-Za-z0-9.!+_-]*)\s*` + marker + `((?:\s+--hash[= ]sha256:[0-9a-f]{64})*)\s*$`),
		loose:  regexp.MustCompile(name + `(` + one + `(?:\s*,\s*` + one + `)*)?\s*` + marker + `\s*$`),
		option: regexp.MustCompile(`^\s*(--?[a-z-]+?)(?:(?:\s*=\s*|\s+)(\S+))?\s*$`),
	}
}

// Parse reads one file. Its error names the line.
func Parse(b []byte) (*File, error) {
	if len(b) > maxFile || !utf8.Valid(b) {
		return nil, fault.New(fault.Invalid, "it isn't text of bearable size")
	}
	f, r := &File{data: b}, newReader()
	masked := bytes.Clone(b)
	line, begin, first := 0, 0, 1
	for at := 0; at < len(b); {
		end := at + bytes.IndexByte(b[at:], '\n')
		next := end + 1
		if end < at {
			end, next = len(b), len(b)
		}
		if line++; at == begin {
			first = line
		}
		more, err := mask(masked[at:end], at > begin)
		if err == nil && !more {
			err = f.line(r, string(masked[begin:end]), begin)
			begin = next
		} else if err == nil && next < len(b) {
			masked[end] = ' '
		} else if err == nil {
			err = fmt.Errorf("it ends in the middle of a line")
		}
		if err == nil && len(f.Pins)+len(f.Loose)+len(f.Includes)+len(f.Indexes) > maxPins {
			err = fmt.Errorf("there are more than %d requirements", maxPins)
		}
		if err != nil {
			return nil, fault.New(fault.Unsupported, fmt.Sprintf("line %d: %v", first, err))
		}
		at = next
	}
	return f, nil
}

// mask takes the comment of a line away, and the backslash with which it goes on.
func mask(line []byte, within bool) (more bool, err error) {
	for i, c := range line {
		if c < ' ' && c != '\t' && (c != '\r' || i != len(line)-1) {
			return false, fmt.Errorf("it holds a control character")
		}
	}
	text := bytes.TrimSuffix(line, []byte("\r"))
	more = bytes.HasSuffix(text, []byte(`\`))
	for i, c := range text {
		if c != '#' || i > 0 && text[i-1] != ' ' && text[i-1] != '\t' {
			continue
		}
		if more || within && len(bytes.TrimSpace(text[:i])) == 0 {
			return false, fmt.Errorf("a comment stands in the middle of a requirement")
		}
		blank(line[i:])
		return false, nil
	}
	if more {
		blank(line[len(text)-1:])
	}
	return more, nil
}

func blank(b []byte) {
	for i := range b {
		b[i] = ' '
	}
}

// line reads a logical line, which begins at an offset of the file.
func (f *File) line(r reader, text string, at int) error {
	if strings.TrimSpace(text) == "" {
		return nil
	}
	if m := r.option.FindStringSubmatch(text); m != nil {
		return f.option(m[1], m[2])
	}
	if m := r.pin.FindStringSubmatchIndex(text); m != nil {
		group := func(i int) string {
			if m[2*i] < 0 {
				return ""
			}
			return text[m[2*i]:m[2*i+1]]
		}
		p := Pin{Name: Name(group(1)), head: group(1) + group(2), Version: group(3), marker: group(4), version: [2]int{at + m[6], at + m[7]}}
		hashes := group(5)
		for from := 0; ; {
			i := strings.Index(hashes[from:], "--hash")
			if i < 0 {
				break
			}
			from += i
			start := at + m[10] + from
			switch len(p.Hashes) {
			case 0:
				p.hashes[0] = start
			case 1:
				p.second = start
			}
			p.Hashes = append(p.Hashes, hashes[from+len(hashOption):from+hashWord])
			from += hashWord
			p.hashes[1] = at + m[10] + from
		}
		f.Pins = append(f.Pins, p)
		return nil
	}
	if m := r.loose.FindStringSubmatch(text); m != nil {
		f.Loose = append(f.Loose, strings.Join(strings.Fields(m[1]+m[2]+m[3]+m[4]), " "))
		return nil
	}
	return fmt.Errorf("%.60q isn't understood", strings.TrimSpace(text))
}

func (f *File) option(name, value string) error {
	switch name {
	case "-r", "--requirement", "-c", "--constraint":
		if value == "" {
			return fmt.Errorf("%s names no file", name)
		}
		f.Includes = append(f.Includes, Include{value, name == "-c" || name == "--constraint"})
	case "-i", "--index-url", "--extra-index-url", "-f", "--find-links", "--no-index":
		f.Indexes = append(f.Indexes, value)
	case "--prefer-binary", "--only-binary", "--require-hashes":
		// All of that is done anyway, or follows from the hashes.
	default:
		return fmt.Errorf("the option %.40q isn't understood", name)
	}
	return nil
}

// Set writes another version of a part wherever it is pinned to one, with new hashes where it has some.
func (f *File) Set(name, from, to string, hashes []string) ([]byte, error) {
	out, found := bytes.Clone(f.data), false
	for _, p := range slices.Backward(f.Pins) {
		if p.Name != Name(name) || p.Version != from {
			continue
		}
		found = true
		if len(p.Hashes) > 0 {
			if len(hashes) == 0 {
				return nil, fault.New(fault.Invalid, fmt.Sprintf("the index tells no hash of %s %s", name, to))
			}
			between := " "
			if p.second > 0 {
				between = string(f.data[p.hashes[0]+hashWord : p.second])
			} else if i := bytes.LastIndexByte(f.data[:p.hashes[0]], '\\'); i > p.version[1] {
				between = " " + string(f.data[i:p.hashes[0]])
			}
			out = slices.Replace(out, p.hashes[0], p.hashes[1], []byte(hashOption+strings.Join(hashes, between+hashOption))...)
		}
		out = slices.Replace(out, p.version[0], p.version[1], []byte(to)...)
	}
	if !found {
		return nil, fault.New(fault.NotFound, fmt.Sprintf("%s isn't pinned to %s", name, from))
	}
	return out, nil
}

// Project is a file with all that it includes.
type Project struct {
	Pins, Constraints []Pin
	Loose             []string
	Indexes           []string
}

// Load reads a file of a folder, slash-separated, and those that it includes.
func Load(root *os.Root, name string) (*Project, error) {
	p := &Project{}
	return p, p.load(root, name, false, map[string]bool{})
}

func (p *Project) load(root *os.Root, name string, constraint bool, met map[string]bool) error {
	if key := fmt.Sprint(name, constraint); met[key] {
		return nil
	} else if met[key] = true; len(met) > maxFiles {
		return fault.New(fault.Exhausted, fmt.Sprintf("more than %d requirements files include each other", maxFiles))
	}
	if !filepath.IsLocal(name) {
		return fault.New(fault.Refused, fmt.Sprintf("%.80q isn't in the repository", name))
	}
	st, err := root.Stat(name)
	if err == nil && (!st.Mode().IsRegular() || st.Size() > maxFile) {
		err = fault.New(fault.Invalid, "it isn't an ordinary file of bearable size")
	}
	var b []byte
	if err == nil {
		b, err = root.ReadFile(name)
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	f, err := Parse(b)
	if err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	p.Indexes = append(p.Indexes, f.Indexes...)
	switch {
	case !constraint:
		p.Pins, p.Loose = append(p.Pins, f.Pins...), append(p.Loose, f.Loose...)
	case len(f.Loose) > 0:
		return fault.New(fault.Unsupported, name+": constraints other than exact versions can't be tried yet")
	default:
		p.Constraints = append(p.Constraints, f.Pins...)
	}
	for _, i := range f.Includes {
		if err := p.load(root, path.Join(path.Dir(name), i.Path), constraint || i.Constraint, met); err != nil {
			return err
		}
	}
	return nil
}

// String is the requirement in one line.
func (p Pin) String() string {
	s := p.head + "==" + p.Version
	if p.marker != "" {
		s += " " + strings.Join(strings.Fields(p.marker), " ")
	}
	return s
}

// Hashed is the requirement with its hashes, in one line.
func (p Pin) Hashed() string {
	s := p.String()
	for _, h := range p.Hashes {
		s += " " + hashOption + h
	}
	return s
}
