// Package config finds weak settings in what describes how programs are built and run: Dockerfiles, Compose files, Kubernetes manifests,
// GitHub Actions and GitLab pipelines. Rules are data (rules/*.yaml): a CEL condition with a reason, a reference, a fix and examples
// that run as tests.
//
// Guarantee: each file that is one of these by name or content was judged by every rule of its kind, or a Problem says which wasn't and
// why; a finding points at the offending line. Size, depth, aliases, commands and the cost of a rule are bounded. Not guaranteed:
// what templates (Helm, Kustomize patches, Jinja) become, and what a script does that hides its commands.
// Nothing is run or fetched.
package config

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/wardhq/ward/internal/finding"
)

// The bounds of a tree and of one file.
const (
	maxFile     = 4 << 20
	maxEntries  = 2_000_000
	maxFindings = 5_000 // of one file
)

// Options say where not to look.
type Options struct {
	// Skip leaves a folder out, besides .git and node_modules, where others' files lie. nil skips none.
	Skip func(dir string) bool
}

// Result is what was found, in the order of paths and lines.
type Result struct {
	Findings []finding.Finding
	Files    []string // those that were judged, even in part
	Problems []Problem
}

// Problem is something that couldn't be checked, so that no finding there means nothing.
type Problem struct {
	Path    string
	Line    int // 0 for the whole file
	Message string
}

func (p Problem) String() string {
	if p.Line == 0 {
		return p.Path + ": " + p.Message
	}
	return fmt.Sprintf("%s:%d: %s", p.Path, p.Line, p.Message)
}

// Find checks every file of the tree that it knows. It fails only when ctx ends or the root can't be read; all else is a Problem.
// Concurrent calls don't share anything.
func Find(ctx context.Context, fsys fs.FS, o Options) (Result, error) {
	c := &checker{fsys: fsys, sets: map[kind]*ruleSet{}, seen: map[string]bool{}}
	return c.find(ctx, o)
}

func (c *checker) find(ctx context.Context, o Options) (Result, error) {
	entries := 0
	err := fs.WalkDir(c.fsys, ".", func(p string, d fs.DirEntry, err error) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			if p == "." {
				return err
			}
			c.problem(p, 0, "read: "+reason(err))
			return nil
		}
		if entries++; entries > maxEntries {
			c.problem(p, 0, fmt.Sprintf("the tree has more than %d entries; what follows wasn't looked at", maxEntries))
			return fs.SkipAll
		}
		if d.IsDir() {
			if name := d.Name(); name == ".git" || name == "node_modules" || p != "." && o.Skip != nil && o.Skip(p) {
				return fs.SkipDir
			}
			return nil
		}
		return c.file(ctx, p, d)
	})
	if err != nil {
		return Result{}, fmt.Errorf("find configuration: %w", err)
	}
	slices.SortStableFunc(c.result.Findings, func(a, b finding.Finding) int {
		if n := strings.Compare(a.Location.Path, b.Location.Path); n != 0 {
			return n
		}
		return a.Location.Line - b.Location.Line
	})
	slices.Sort(c.result.Files)
	return c.result, nil
}

func reason(err error) string {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err.Error()
	}
	return err.Error()
}

// checker is one run over a tree.
type checker struct {
	fsys   fs.FS
	sets   map[kind]*ruleSet // made when a kind first occurs
	seen   map[string]bool   // files that were judged
	result Result
}

func (c *checker) problem(p string, line int, message string) {
	c.result.Problems = append(c.result.Problems, Problem{p, line, message})
}

// file looks at one entry; an error is only ctx's.
func (c *checker) file(ctx context.Context, p string, d fs.DirEntry) error {
	k := kindByName(p)
	if k == "" && !mayBeManifest(p) {
		return nil
	}
	if !d.Type().IsRegular() {
		info, err := fs.Stat(c.fsys, p) // a link counts as what it leads to, inside the tree
		if err != nil {
			c.problem(p, 0, "read: "+reason(err))
			return nil
		}
		if !info.Mode().IsRegular() {
			return nil
		}
	}
	src, err := c.read(p)
	switch {
	case err != nil && k == "" && errors.Is(err, errTooLarge) && !isManifest(src):
		return nil
	case err != nil:
		c.problem(p, 0, err.Error())
		return nil
	case k == "" && isManifest(src):
		k = kubernetes
	case k == "":
		return nil
	}
	return c.judge(ctx, p, k, src)
}

var errTooLarge = errors.New("larger than 4 MiB")

// read is the file's content; with errTooLarge, its beginning.
func (c *checker) read(p string) ([]byte, error) {
	f, err := c.fsys.Open(p)
	if err != nil {
		return nil, fmt.Errorf("read: %s", reason(err))
	}
	defer f.Close()
	src, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read: %s", reason(err))
	}
	if len(src) > maxFile {
		return src, errTooLarge
	}
	return src, nil
}

// judge checks one file of a known kind.
func (c *checker) judge(ctx context.Context, p string, k kind, src []byte) error {
	if c.seen[p] {
		return nil
	}
	c.seen[p] = true
	set, ok := c.sets[k]
	if !ok {
		var err error
		if set, err = loadRules(k); err != nil {
			return err
		}
		c.sets[k] = set
	}
	v := &view{path: p}
	v.read(k, src)
	for _, pr := range v.problems {
		c.problem(p, pr.Line, pr.Message)
	}
	if v.judged {
		c.result.Files = append(c.result.Files, p)
	}
	found, err := set.judge(ctx, v)
	if err != nil {
		return err
	}
	for _, pr := range found.problems {
		c.problem(p, pr.Line, pr.Message)
	}
	c.result.Findings = append(c.result.Findings, found.findings...)
	for _, inc := range v.includes {
		c.include(ctx, p, inc)
	}
	return ctx.Err()
}

// include checks a file that a pipeline names, whatever it's called.
func (c *checker) include(ctx context.Context, from, name string) {
	p := path.Clean(strings.TrimPrefix(name, "/"))
	if strings.ContainsAny(name, "*$") || !fs.ValidPath(p) {
		if !strings.Contains(name, "*") {
			c.problem(from, 0, fmt.Sprintf("the included file %s wasn't looked at: its name isn't a plain path", excerpt(name)))
			return
		}
		matches, _ := fs.Glob(c.fsys, p)
		for _, m := range matches {
			c.include(ctx, from, m)
		}
		return
	}
	src, err := c.read(p)
	if err != nil {
		c.problem(from, 0, fmt.Sprintf("the included file %s: %v", excerpt(name), err))
		return
	}
	_ = c.judge(ctx, p, gitlab, src) // its error is ctx's, which the caller asks too
}

// kind is a language that has rules.
type kind string

const (
	docker     kind = "dockerfile"
	compose    kind = "compose"
	kubernetes kind = "kubernetes"
	actions    kind = "actions"
	gitlab     kind = "gitlab"
)

// kindByName is the kind that a file's name tells; "" if it tells none.
func kindByName(p string) kind {
	name := strings.ToLower(path.Base(p))
	switch ext := path.Ext(name); {
	case name == "dockerfile" || name == "containerfile" || ext == ".dockerfile" || ext == ".containerfile",
		(strings.HasPrefix(name, "dockerfile.") || strings.HasPrefix(name, "containerfile.")) && !isOtherLanguage(ext):
		return docker
	case ext != ".yml" && ext != ".yaml":
		return ""
	case name == ".gitlab-ci.yml" || strings.HasSuffix(name, ".gitlab-ci.yml"):
		return gitlab
	case strings.HasSuffix(path.Dir(p), ".github/workflows"), name == "action.yml", name == "action.yaml":
		return actions
	case isComposeName(strings.TrimSuffix(name, ext)):
		return compose
	}
	return ""
}

// isOtherLanguage says whether an ending means something that is about Dockerfiles, and isn't one: dockerfile.go.
func isOtherLanguage(ext string) bool {
	return slices.Contains([]string{".cs", ".dockerignore", ".go", ".html", ".java", ".js", ".json", ".kt", ".md", ".php", ".py", ".rb", ".rs", ".rst", ".toml", ".ts", ".yaml", ".yml"}, ext)
}

func isComposeName(stem string) bool {
	stem = strings.TrimPrefix(stem, "docker-")
	rest, ok := strings.CutPrefix(stem, "compose")
	return ok && (rest == "" || strings.ContainsAny(rest[:1], ".-_"))
}

func mayBeManifest(p string) bool {
	switch strings.ToLower(path.Ext(p)) {
	case ".yml", ".yaml", ".json":
		return true
	}
	return false
}

// isManifest says whether a text has what every Kubernetes object has.
func isManifest(src []byte) bool {
	return bytes.Contains(src, []byte("apiVersion")) && bytes.Contains(src, []byte("kind"))
}

// excerpt is the beginning of a text on one line, fit for a message.
func excerpt(s string) string {
	s = strings.Join(strings.Fields(strings.ToValidUTF8(s, "�")), " ")
	if r := []rune(s); len(r) > 60 {
		return string(r[:57]) + "…"
	}
	return s
}
