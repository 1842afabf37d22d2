package leak

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"strconv"
	"strings"

	"github.com/wardhq/ward/internal/base/fault"
	untrusted "github.com/wardhq/ward/internal/base/git"
)

// Place is a Finding in a folder or in the history of its repository.
type Place struct {
	Finding
	Path   string // from the folder on, or from the repository's root in a commit; "" for what no commit has any more
	Commit string // the oldest that has it; "" for a file of the folder
}

// maxFile bounds what is read of one file or blob, in bytes.
const maxFile = 64 << 20

// Tree calls found for each secret in the files of a folder, those too that git ignores. Symbolic links aren't followed, and
// git's own store isn't read: History does that. It returns how many files were longer than what it reads of one, or couldn't
// be read.
func (f *Fingerprints) Tree(ctx context.Context, dir string, found func(Place)) (skipped int, err error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return 0, fmt.Errorf("look for secrets in %s: %w", dir, err)
	}
	defer root.Close()
	err = fs.WalkDir(root.FS(), ".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil && path == ".":
			return err
		case err != nil:
			skipped++
			return nil
		case d.IsDir() && path != "." && d.Name() == ".git":
			return fs.SkipDir
		case !d.Type().IsRegular():
			return nil
		}
		whole, err := f.file(root, path, found)
		if err != nil || !whole {
			skipped++
		}
		return nil
	})
	if err != nil {
		return skipped, fmt.Errorf("look for secrets in %s: %w", dir, err)
	}
	return skipped, nil
}

// file tells whether it read the whole file.
func (f *Fingerprints) file(root *os.Root, path string, found func(Place)) (bool, error) {
	file, err := root.Open(path)
	if err != nil {
		return false, err
	}
	defer file.Close()
	if st, err := file.Stat(); err != nil || !st.Mode().IsRegular() {
		return false, err // it was replaced meanwhile, by something that may block
	}
	n, err := f.read(io.LimitReader(file, maxFile+1), func(x Finding) { found(Place{Finding: x, Path: path}) })
	return n <= maxFile, err
}

func (f *Fingerprints) read(from io.Reader, found func(Finding)) (int64, error) {
	finder := f.Finder(false, found)
	n, err := io.CopyBuffer(struct{ io.Writer }{finder}, from, make([]byte, 64<<10))
	return n, errors.Join(err, finder.Close())
}

// History calls found for each secret in the history of the repository that a folder is the root of: every object in its
// store, those too that no branch has any more. It needs the program git, starts nothing that the repository's configuration
// names, and fetches nothing. It returns how many objects were too long to be read.
func (f *Fingerprints) History(ctx context.Context, dir string, found func(Place)) (skipped int, err error) {
	if _, err := os.Lstat(dir + "/.git"); errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	g := git{dir: dir}
	if g.path, err = exec.LookPath("git"); err != nil {
		return 0, fault.Wrap(fault.Unsupported, "the history isn't looked at: git isn't installed", err)
	}
	hits := map[string][]Finding{} // by blob
	skipped, err = g.blobs(ctx, func(id string, content io.Reader) error {
		_, err := f.read(content, func(x Finding) { hits[id] = append(hits[id], x) })
		return err
	})
	if err != nil {
		return skipped, fmt.Errorf("look for secrets in the history of %s: %w", dir, err)
	}
	if len(hits) == 0 {
		return skipped, nil
	}
	paths, err := g.paths(ctx, hits)
	if err != nil {
		return skipped, fmt.Errorf("look for secrets in the history of %s: %w", dir, err)
	}
	for id, some := range hits {
		commit, err := g.commit(ctx, id)
		if err != nil {
			return skipped, fmt.Errorf("look for secrets in the history of %s: %w", dir, err)
		}
		for _, x := range some {
			found(Place{Finding: x, Path: paths[id], Commit: commit})
		}
	}
	return skipped, nil
}

// git is the program, in a repository that we don't trust.
type git struct{ path, dir string }

func (g git) command(ctx context.Context, args ...string) *exec.Cmd {
	return untrusted.Command(ctx, g.path, g.dir, args...)
}

// lines runs git and calls f for each line that it says, until f returns false.
func (g git) lines(ctx context.Context, f func(string) bool, args ...string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c := g.command(ctx, args...)
	var said bytes.Buffer
	c.Stderr = &said
	out, err := c.StdoutPipe()
	if err != nil {
		return err
	}
	if err := c.Start(); err != nil {
		return err
	}
	lines, enough := bufio.NewScanner(out), false
	for !enough && lines.Scan() {
		enough = !f(lines.Text())
	}
	if enough {
		cancel()
		_ = c.Wait() // it was stopped
		return nil
	}
	if err := errors.Join(lines.Err(), c.Wait()); err != nil {
		return fmt.Errorf("git %s: %w: %.200s", args[0], err, said.String())
	}
	return nil
}

// blobs calls f for each blob of the store.
func (g git) blobs(ctx context.Context, f func(id string, content io.Reader) error) (skipped int, err error) {
	var ids []string
	err = g.lines(ctx, func(line string) bool {
		id, rest, _ := strings.Cut(line, " ")
		kind, size, _ := strings.Cut(rest, " ")
		n, err := strconv.ParseInt(size, 10, 64)
		switch {
		case kind != "blob":
		case err != nil || n > maxFile:
			skipped++
		default:
			ids = append(ids, id)
		}
		return true
	}, "cat-file", "--batch-check=%(objectname) %(objecttype) %(objectsize)", "--batch-all-objects", "--unordered")
	if err != nil || len(ids) == 0 {
		return skipped, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c := g.command(ctx, "cat-file", "--batch", "--buffer")
	c.Stdin = strings.NewReader(strings.Join(ids, "\n") + "\n")
	out, err := c.StdoutPipe()
	if err != nil {
		return skipped, err
	}
	if err := c.Start(); err != nil {
		return skipped, err
	}
	err = readBlobs(bufio.NewReaderSize(out, 64<<10), len(ids), f)
	if err != nil {
		cancel()
		_ = c.Wait() // the first error is the one to tell
		return skipped, err
	}
	return skipped, c.Wait()
}

// readBlobs reads what git cat-file --batch says: "<id> blob <size>", a newline, the content, a newline.
func readBlobs(r *bufio.Reader, n int, f func(id string, content io.Reader) error) error {
	for range n {
		head, err := r.ReadSlice('\n')
		if err != nil {
			return err
		}
		id, rest, _ := strings.Cut(strings.TrimSpace(string(head)), " ")
		size, err := strconv.ParseInt(strings.TrimPrefix(rest, "blob "), 10, 64)
		if err != nil {
			return fmt.Errorf("git says %.100q of an object", rest)
		}
		content := &io.LimitedReader{R: r, N: size}
		if err := f(id, content); err != nil {
			return err
		}
		if content.N > 0 {
			return io.ErrUnexpectedEOF
		}
		if _, err := r.Discard(1); err != nil {
			return err
		}
	}
	return nil
}

// paths returns a path of each blob that a ref leads to.
func (g git) paths(ctx context.Context, of map[string][]Finding) (map[string]string, error) {
	out := map[string]string{}
	err := g.lines(ctx, func(line string) bool {
		id, path, _ := strings.Cut(line, " ")
		if _, wanted := of[id]; wanted && out[id] == "" {
			out[id] = path
		}
		return true
	}, "rev-list", "--objects", "--all", "--reflog")
	return out, err
}

// commit returns the oldest commit that touches a blob, or "".
func (g git) commit(ctx context.Context, blob string) (string, error) {
	var oldest string
	err := g.lines(ctx, func(line string) bool {
		oldest = line
		return true
	}, "log", "--all", "--reflog", "--no-ext-diff", "--no-textconv", "--no-show-signature", "--no-mailmap", "--no-patch", "--format=%H", "--find-object="+blob)
	return oldest, err
}
