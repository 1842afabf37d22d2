package credential

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/wardhq/ward/internal/base/git"
	"github.com/wardhq/ward/internal/finding"
)

// The bounds of a history.
const (
	maxHistory  = 16 << 30 // bytes that are read of it
	maxPlaces   = 10_000   // credentials that are listed
	lostObjects = ".git"   // the path of what no commit has any more
)

// History searches every version of every file in the store of the repository that dir is the root of, each once, also those that no
// branch has any more. A credential is told once, at the oldest commit that has it. A folder that isn't the root of a repository has no
// history. It needs the program git, runs nothing that the repository's configuration names, and fetches nothing: what a shallow or
// partial clone lacks is a Problem. It fails when ctx ends or git does.
func History(ctx context.Context, dir string, o Options) (Result, error) {
	if _, err := os.Lstat(filepath.Join(dir, ".git")); errors.Is(err, fs.ErrNotExist) {
		return Result{}, nil
	}
	h := &history{versions: map[string][]version{}, known: map[string]bool{}, placed: map[identity]bool{}, options: o}
	var err error
	if h.program, err = exec.LookPath("git"); err != nil {
		h.result.problem(lostObjects, "the history wasn't searched: git isn't installed")
		return h.result, nil
	}
	h.dir = dir
	if h.matcher, err = newMatcher(); err != nil {
		return Result{}, err
	}
	if err := h.search(ctx); err != nil {
		return Result{}, fmt.Errorf("find credentials in the history of %s: %w", dir, err)
	}
	return h.result, nil
}

// history is one search.
type history struct {
	program, dir string
	matcher      *matcher
	options      Options
	versions     map[string][]version // by blob: the credentials in it
	known        map[string]bool      // blobs that a commit has
	placed       map[identity]bool
	result       Result
}

// version is a credential in a version of a file.
type version struct {
	hit  hit
	line finding.Location
}

// identity is one credential, wherever it is.
type identity struct {
	rule  *rule
	value digest
}

func (v *version) identity() identity { return identity{v.hit.rule, v.hit.value} }

func (h *history) search(ctx context.Context) error {
	if err := h.incomplete(ctx); err != nil {
		return err
	}
	ids, err := h.blobs(ctx)
	if err != nil {
		return err
	}
	if len(ids) > 0 {
		err = h.git(ctx, strings.NewReader(strings.Join(ids, "\n")+"\n"), func(r *bufio.Reader) error { return h.read(r, len(ids)) }, "cat-file", "--batch", "--buffer")
	}
	if err != nil || len(h.versions) == 0 {
		return err
	}
	if err := h.git(ctx, nil, h.commits, "log", "--all", "--reflog", "--reverse", "--topo-order", "-c", "--raw", "--no-abbrev", "--no-renames", "--no-ext-diff", "--no-textconv", "--no-show-signature", "--no-mailmap", "-z", "--format=commit %H"); err != nil {
		return err
	}
	for _, id := range slices.Sorted(maps.Keys(h.versions)) {
		if !h.known[id] {
			h.place(id, lostObjects, "")
		}
	}
	return nil
}

// incomplete says what this clone doesn't have.
func (h *history) incomplete(ctx context.Context) error {
	return h.git(ctx, nil, func(r *bufio.Reader) error {
		said, err := io.ReadAll(io.LimitReader(r, 100))
		if err == nil && strings.TrimSpace(string(said)) != "false" {
			h.result.problem(lostObjects, "this is a shallow clone: the history before it wasn't searched")
		}
		return err
	}, "rev-parse", "--is-shallow-repository")
}

// blobs lists the store's files.
func (h *history) blobs(ctx context.Context) (ids []string, err error) {
	large, unread, broken, total := 0, 0, 0, int64(0)
	err = h.git(ctx, nil, func(r *bufio.Reader) error {
		lines := bufio.NewScanner(r)
		for lines.Scan() {
			id, rest, _ := strings.Cut(lines.Text(), " ")
			kind, size, _ := strings.Cut(rest, " ")
			n, err := strconv.ParseInt(size, 10, 64)
			switch {
			case kind == "commit" || kind == "tree" || kind == "tag":
			case kind != "blob":
				broken++
			case err != nil:
				return fmt.Errorf("git says %.100q of an object", rest)
			case n > maxFile:
				large++
			case total+n > maxHistory:
				unread++
			default:
				total += n
				ids = append(ids, id)
			}
		}
		return lines.Err()
	}, "cat-file", "--batch-check=%(objectname) %(objecttype) %(objectsize)", "--batch-all-objects", "--unordered")
	if large > 0 {
		h.result.problem(lostObjects, fmt.Sprintf("%d versions of files are larger than %d MiB, and weren't searched", large, maxFile>>20))
	}
	if broken > 0 {
		h.result.problem(lostObjects, fmt.Sprintf("%d objects can't be read", broken))
	}
	if unread > 0 {
		h.result.problem(lostObjects, fmt.Sprintf("the history has more than %d GiB; %d versions of files weren't searched", maxHistory>>30, unread))
	}
	return ids, err
}

// read searches n files of what git cat-file --batch says: "<id> blob <size>", a newline, the content, a newline.
func (h *history) read(r *bufio.Reader, n int) error {
	for range n {
		head, err := r.ReadString('\n')
		if err != nil {
			return err
		}
		id, rest, _ := strings.Cut(strings.TrimSpace(head), " ")
		size, err := strconv.ParseInt(strings.TrimPrefix(rest, "blob "), 10, 64)
		if err != nil || size > maxFile {
			return fmt.Errorf("git says %.100q of an object", rest)
		}
		content := &io.LimitedReader{R: r, N: size}
		src, text, err := read(content)
		if err != nil {
			return err
		}
		if _, err := io.Copy(io.Discard, content); err != nil {
			return err
		}
		switch {
		case text:
			h.result.Files++
			h.text(id, src)
		case isKeystore(src):
			h.result.Files++
			h.keep(id, h.matcher.keystore(src), finding.Location{})
		default:
			h.result.Binary++
		}
		if _, err := r.Discard(1); err != nil {
			return err
		}
	}
	return nil
}

func (h *history) text(id string, src []byte) {
	hits := h.matcher.find("", src)
	lines := lineCounter{src: src}
	for _, x := range hits[:min(len(hits), maxFindings)] {
		at := lines.at(x.start)
		if x.rule.guesses() && dull("", src) {
			continue
		}
		h.keep(id, x, at)
	}
}

// keep notes a credential of a blob, unless the tree has it.
func (h *history) keep(id string, x hit, at finding.Location) {
	if t := h.options.Tree; t == nil || !t.values[x.value] {
		h.versions[id] = append(h.versions[id], version{x, at})
	}
}

// commits reads what git log says, the oldest first: "commit <id>", then a record and a path for each file that changed (git-diff-tree(1),
// raw output format; a merge has one colon, mode and object for each parent).
func (h *history) commits(r *bufio.Reader) error {
	commit, wanted := "", ""
	fields := bufio.NewScanner(r)
	fields.Split(func(data []byte, end bool) (int, []byte, error) {
		if i := bytes.IndexByte(data, 0); i >= 0 {
			return i + 1, data[:i], nil
		}
		if end && len(data) > 0 {
			return len(data), data, nil
		}
		return 0, nil, nil
	})
	change := false // whether a path comes next
	for fields.Scan() {
		field := fields.Text()
		if change {
			change = false
			if h.versions[wanted] == nil {
				continue
			}
			h.known[wanted] = true
			if h.options.Skip == nil || !h.options.Skip(field) {
				h.place(wanted, field, commit)
			}
			continue
		}
		field = strings.TrimLeft(field, "\n")
		if field == "" {
			continue
		}
		if id, ok := strings.CutPrefix(field, "commit "); ok {
			commit = id
			continue
		}
		parents := len(field) - len(strings.TrimLeft(field, ":"))
		record := strings.Fields(field[parents:])
		if parents == 0 || len(record) != 2*parents+3 {
			return fmt.Errorf("git log says %.100q", field)
		}
		change, wanted = true, record[2*parents+1]
	}
	return fields.Err()
}

// place tells of the credentials of a blob that weren't told of yet.
func (h *history) place(blob, path, commit string) {
	for _, v := range h.versions[blob] {
		if h.placed[v.identity()] || !v.hit.rule.counts(path) || v.hit.rule.guesses() && dull(path, nil) {
			continue
		}
		h.placed[v.identity()] = true
		if len(h.result.Findings) == maxPlaces {
			h.result.problem(path, fmt.Sprintf("the history has more than %d credentials; the rest isn't listed", maxPlaces))
			h.versions = nil // nothing is wanted any more
			return
		}
		at := v.line
		at.Path, at.Commit = path, commit
		f := v.hit.finding(at)
		if commit == "" {
			f.Detail += " It is in object " + blob + ", which no branch has any more; git keeps such objects for weeks."
		}
		h.result.Findings = append(h.result.Findings, f)
	}
}

// git runs git in a repository that we don't trust, and lets f read what it says, to its end.
func (h *history) git(ctx context.Context, in io.Reader, f func(*bufio.Reader) error, args ...string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c := git.Command(ctx, h.program, h.dir, args...)
	c.Stdin = in
	var said bytes.Buffer
	c.Stderr = &said
	out, err := c.StdoutPipe()
	if err != nil {
		return err
	}
	if err := c.Start(); err != nil {
		return err
	}
	if err := f(bufio.NewReaderSize(out, 64<<10)); err != nil {
		err = errors.Join(ctx.Err(), err)
		cancel()
		_ = c.Wait() // the first error is the one to tell
		return fmt.Errorf("git %s: %w: %.200s", args[0], err, said.String())
	}
	if err := c.Wait(); err != nil {
		return fmt.Errorf("git %s: %w: %.200s", args[0], errors.Join(ctx.Err(), err), said.String())
	}
	return nil
}
