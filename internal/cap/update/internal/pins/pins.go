// Package pins finds the references to images and actions that a repository builds with, and pins them to a digest.
//
// Guarantee: a change replaces the bytes of one reference alone (line ends, quotes, comments and indentation stay), and never its name or tag; a
// reference that can't be read, or can't be written without a guess, is a Problem. It reads FROM in Dockerfiles, image in Compose files, jobs and steps
// of GitHub's workflows and actions, and image and services in .gitlab-ci.yml. Not guaranteed: references elsewhere (COPY --from, includes of
// GitLab, Kubernetes, scripts), and what vendor and node_modules hold.
package pins

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/wardhq/ward/internal/base/fault"
)

// Kind says what a reference leads to.
type Kind string

// The kinds.
const (
	Image  Kind = "image"
	Action Kind = "action"
)

// Pin is one reference, pinned or not.
type Pin struct {
	Path   string // slash-separated, from the root of the tree
	Line   int    // from 1
	Kind   Kind
	Name   string // of an image as it is written, or "owner/name[/folder]" of an action
	Tag    string // or branch; "" if it is pinned and nothing says to what tag
	Digest string // "sha256:…" of an image, the commit of an action; "" if it isn't pinned

	at         int    // of text in the file
	text       string // as it is written
	head, tail string // what goes around the new digest instead of text
}

// Problem is a reference that can't be pinned, or a file that can't be read.
type Problem struct {
	Path   string
	Line   int // 0 for the whole file
	Reason string
}

// Change says what a pin is to stand at.
type Change struct {
	Pin    Pin
	Digest string
}

// Bounds of a tree: files that are looked at, bytes of each, references of each.
const (
	maxFiles = 20_000
	maxBytes = 1 << 20
	maxPins  = 2_000
)

// finder reads one file.
type finder struct {
	path     string
	text     string
	pins     []Pin
	problems []Problem
}

// Find reads the tree. skip, which may be nil, tells which files and folders are left out. Pins are in the order of paths and lines.
func Find(ctx context.Context, fsys fs.FS, skip func(string) bool) ([]Pin, []Problem, error) {
	var pins []Pin
	var problems []Problem
	files := 0
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if name != "." && skip != nil && skip(name) {
			if d != nil && d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if err != nil {
			problems = append(problems, Problem{Path: name, Reason: "can't be looked at: " + err.Error()})
			return nil
		}
		if d.IsDir() && slices.Contains([]string{".git", "node_modules", "vendor"}, d.Name()) {
			return fs.SkipDir
		}
		read := readerOf(name)
		if read == nil || !d.Type().IsRegular() {
			return nil
		}
		if files++; files > maxFiles {
			return fault.New(fault.Exhausted, fmt.Sprintf("more than %d files that may hold pins", maxFiles))
		}
		f := &finder{path: name}
		f.read(fsys, read)
		pins, problems = append(pins, f.pins...), append(problems, f.problems...)
		return nil
	})
	if err != nil {
		return nil, nil, fmt.Errorf("look for pins: %w", err)
	}
	return pins, problems, nil
}

// readerOf tells by a file's name what it is; nil for what holds no pins.
func readerOf(name string) func(*finder) {
	base := strings.ToLower(path.Base(name))
	is := func(patterns ...string) bool {
		return slices.ContainsFunc(patterns, func(p string) bool { ok, _ := path.Match(p, base); return ok }) // the patterns are constant
	}
	yaml := is("*.yml", "*.yaml")
	switch {
	case is("dockerfile", "containerfile", "dockerfile.*", "containerfile.*", "*.dockerfile", "*.containerfile") && !is("*.dockerignore"):
		return (*finder).dockerfile
	case yaml && path.Dir(name) == ".github/workflows":
		return (*finder).workflow
	case is("action.yml", "action.yaml"):
		return (*finder).action
	case yaml && is("compose*", "docker-compose*"):
		return (*finder).compose
	case is(".gitlab-ci.yml", ".gitlab-ci.yaml"):
		return (*finder).gitlab
	}
	return nil
}

func (f *finder) read(fsys fs.FS, reader func(*finder)) {
	file, err := fsys.Open(f.path)
	if err != nil {
		f.problem(0, "can't be read: "+err.Error())
		return
	}
	defer file.Close()
	b, err := io.ReadAll(io.LimitReader(file, maxBytes+1))
	switch {
	case err != nil:
		f.problem(0, "can't be read: "+err.Error())
	case len(b) > maxBytes:
		f.problem(0, fmt.Sprintf("larger than %d bytes", maxBytes))
	default:
		f.text = string(b)
		reader(f)
	}
	slices.SortStableFunc(f.pins, func(a, b Pin) int { return cmp.Compare(a.at, b.at) })
	f.pins = slices.CompactFunc(f.pins, func(a, b Pin) bool { return a.at == b.at }) // an anchor that is used twice
	if len(f.pins) > maxPins {
		f.pins = nil
		f.problem(0, fmt.Sprintf("more than %d references", maxPins))
	}
}

func (f *finder) problem(line int, reason string) {
	if len(f.problems) < maxPins {
		f.problems = append(f.problems, Problem{f.path, line, reason})
	}
}

// matches has constant patterns only.
func matches(pattern, s string) bool {
	ok, _ := regexp.MatchString("^(?:"+pattern+")$", s)
	return ok
}

const (
	imageDigest  = `sha256:[0-9a-f]{64}`
	actionDigest = `[0-9a-f]{40}`
)

// image takes a reference to an image, "name[:tag][@digest]", that ends with text, which is what the file has at an offset.
// Reference: https://pkg.go.dev/github.com/distribution/reference, the grammar.
func (f *finder) image(line, at int, ref, text string) {
	name, digest, pinned := strings.Cut(ref, "@")
	tag := ""
	if i := strings.LastIndexByte(name, ':'); i > strings.LastIndexByte(name, '/') {
		name, tag = name[:i], name[i+1:]
		if tag == "" {
			name = ""
		}
	}
	head := strings.TrimSuffix(text, digest)
	switch {
	case strings.Contains(ref, "$"):
		f.problem(line, fmt.Sprintf("which image %.120q is depends on a variable", ref))
		return
	case !matches(`[A-Za-z0-9][A-Za-z0-9._/:-]*`, name) || tag != "" && !matches(`[A-Za-z0-9_][A-Za-z0-9._-]{0,127}`, tag):
		f.problem(line, fmt.Sprintf("%.120q is no image", ref))
		return
	case pinned && (!matches(imageDigest, digest) || !strings.HasSuffix(text, "@"+digest)):
		f.problem(line, fmt.Sprintf("the digest of %.120q can't be replaced", ref))
		return
	case !pinned && tag == "":
		// That is what the reference means, and says so from now on: a digest alone could never be followed.
		tag, head = "latest", text+":latest@"
	case !pinned:
		head = text + "@"
	}
	f.pins = append(f.pins, Pin{Path: f.path, Line: line, Kind: Image, Name: name, Tag: tag, Digest: digest, at: at, text: text, head: head})
}

// Apply changes the pins of one file, whose content must be the one that they were found in.
func Apply(content []byte, changes []Change) ([]byte, error) {
	changes = slices.Clone(changes)
	slices.SortFunc(changes, func(a, b Change) int { return cmp.Compare(a.Pin.at, b.Pin.at) })
	var out bytes.Buffer
	done := 0
	for _, c := range changes {
		p := c.Pin
		pattern := imageDigest
		if p.Kind == Action {
			pattern = actionDigest
		}
		if !matches(pattern, c.Digest) {
			return nil, fault.New(fault.Invalid, fmt.Sprintf("%.120q is no digest of an %s", c.Digest, p.Kind))
		}
		if p.text == "" || p.at < done || p.at > len(content) || !bytes.HasPrefix(content[p.at:], []byte(p.text)) {
			return nil, fault.New(fault.Conflict, fmt.Sprintf("%s:%d is no longer what it was", p.Path, p.Line))
		}
		out.Write(content[done:p.at])
		out.WriteString(p.head + c.Digest + p.tail)
		done = p.at + len(p.text)
	}
	out.Write(content[done:])
	return out.Bytes(), nil
}
