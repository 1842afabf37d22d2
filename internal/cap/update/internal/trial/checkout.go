package trial

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/wardhq/ward/internal/base/fault"
)

// Limits of a tree.
const (
	maxFiles = 500_000
	maxBytes = 4 << 30
)

// entry is one file of a commit.
type entry struct{ mode, object, path string }

// checkout writes the files of a commit into an empty folder: as they are stored, without filters, hooks, attributes or a .git. A
// submodule is an empty folder.
func checkout(ctx context.Context, repo, commit, dir string) error {
	if ok, _ := regexp.MatchString(`^[0-9a-f]{40}([0-9a-f]{24})?$`, commit); !ok { // the pattern is constant
		return fault.New(fault.Invalid, "a commit is named by its full hash")
	}
	out, err := git(ctx, repo, nil, "ls-tree", "-r", "-z", "--full-tree", commit)
	if err != nil {
		return fmt.Errorf("list the files of %s: %w", commit, err)
	}
	entries, err := entriesOf(out)
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("check out: %w", err)
	}
	defer root.Close()
	return writeAll(ctx, repo, root, entries)
}

// git runs with nothing of the user's configuration that could start a program or reach a network.
func gitCommand(ctx context.Context, repo string, argv ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "git", append([]string{"-C", repo, "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null"}, argv...)...)
	cmd.Env = append(os.Environ(), "GIT_NO_LAZY_FETCH=1", "GIT_NO_REPLACE_OBJECTS=1", "GIT_OPTIONAL_LOCKS=0", "GIT_TERMINAL_PROMPT=0")
	return cmd
}

func git(ctx context.Context, repo string, stdin io.Reader, argv ...string) ([]byte, error) {
	cmd := gitCommand(ctx, repo, argv...)
	cmd.Stdin = stdin
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	b, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("git %s: %w: %.300s", argv[0], err, complaint.String())
	}
	return b, nil
}

func entriesOf(list []byte) ([]entry, error) {
	var out []entry
	for line := range strings.SplitSeq(strings.TrimSuffix(string(list), "\x00"), "\x00") {
		if line == "" {
			continue
		}
		meta, name, ok := strings.Cut(line, "\t")
		f := strings.Fields(meta)
		if !ok || len(f) != 3 || !filepath.IsLocal(name) {
			return nil, fault.New(fault.Invalid, fmt.Sprintf("the commit holds a file with the name %.80q", name))
		}
		for part := range strings.SplitSeq(name, "/") {
			if strings.EqualFold(part, ".git") {
				return nil, fault.New(fault.Refused, fmt.Sprintf("the commit holds a file with the name %.80q", name))
			}
		}
		if out = append(out, entry{f[0], f[2], name}); len(out) > maxFiles {
			return nil, fault.New(fault.Exhausted, fmt.Sprintf("the commit has more than %d files", maxFiles))
		}
	}
	return out, nil
}

func writeAll(ctx context.Context, repo string, root *os.Root, entries []entry) error {
	var ask strings.Builder
	for _, e := range entries {
		if e.mode != "160000" {
			ask.WriteString(e.object + "\n")
		}
	}
	cmd := gitCommand(ctx, repo, "cat-file", "--batch")
	cmd.Stdin = strings.NewReader(ask.String())
	answers, err := cmd.StdoutPipe()
	if err != nil {
		return fmt.Errorf("check out: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("check out: %w", err)
	}
	in := bufio.NewReaderSize(answers, 1<<16)
	left := int64(maxBytes)
	for _, e := range entries {
		if err = writeEntry(root, e, in, &left); err != nil {
			break
		}
	}
	if err != nil {
		_ = cmd.Process.Kill() // it may have ended
	}
	return errors.Join(err, cmd.Wait())
}

func writeEntry(root *os.Root, e entry, in *bufio.Reader, left *int64) error {
	if e.mode == "160000" {
		return root.MkdirAll(e.path, 0o755)
	}
	if dir := path.Dir(e.path); dir != "." {
		if err := root.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("check out %s: %w", e.path, err)
		}
	}
	header, err := in.ReadString('\n')
	f := strings.Fields(header)
	if err != nil || len(f) != 3 || f[0] != e.object || f[1] != "blob" {
		return fmt.Errorf("check out %s: git answers %.80q", e.path, header)
	}
	size, err := strconv.ParseInt(f[2], 10, 64)
	if err != nil || size < 0 {
		return fmt.Errorf("check out %s: git answers %.80q", e.path, header)
	}
	if *left -= size; *left < 0 {
		return fault.New(fault.Exhausted, fmt.Sprintf("the commit is larger than %d GB", maxBytes>>30))
	}
	if e.mode == "120000" {
		to, err := io.ReadAll(io.LimitReader(in, min(size, 4096)))
		if err != nil || int64(len(to)) != size {
			return fmt.Errorf("check out %s: it is no link", e.path)
		}
		if err := root.Symlink(string(to), e.path); err != nil {
			return fmt.Errorf("check out %s: %w", e.path, err)
		}
	} else if err := writeFile(root, e, io.LimitReader(in, size), size); err != nil {
		return fmt.Errorf("check out %s: %w", e.path, err)
	}
	_, err = in.Discard(1)
	return err
}

func writeFile(root *os.Root, e entry, r io.Reader, size int64) error {
	mode := os.FileMode(0o644)
	if e.mode == "100755" {
		mode = 0o755
	}
	w, err := root.OpenFile(e.path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if err != nil {
		return err
	}
	n, err := io.Copy(w, r)
	if err == nil && n != size {
		err = io.ErrUnexpectedEOF
	}
	return errors.Join(err, w.Chmod(mode), w.Close())
}

// copyTree copies a folder's regular files and folders into another that is there; links and the like are left out.
func copyTree(to, from string) error {
	src, err := os.OpenRoot(from)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("copy cache: %w", err)
	}
	defer src.Close()
	dst, err := os.OpenRoot(to)
	if err != nil {
		return fmt.Errorf("copy cache: %w", err)
	}
	defer dst.Close()
	return copyFolder(dst, src, ".", 0)
}

func copyFolder(dst, src *os.Root, dir string, depth int) error {
	if depth > 8 {
		return errors.New("copy cache: folders nest too deep")
	}
	d, err := src.Open(dir)
	if err != nil {
		return fmt.Errorf("copy cache: %w", err)
	}
	entries, err := d.ReadDir(-1)
	d.Close()
	if err != nil {
		return fmt.Errorf("copy cache: %w", err)
	}
	for _, e := range entries {
		p := path.Join(dir, e.Name())
		switch {
		case e.IsDir():
			if err := dst.MkdirAll(p, 0o755); err != nil {
				return fmt.Errorf("copy cache: %w", err)
			}
			err = copyFolder(dst, src, p, depth+1)
		case e.Type().IsRegular():
			err = copyFile(dst, src, p)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func copyFile(dst, src *os.Root, p string) error {
	r, err := src.Open(p)
	if err != nil {
		return fmt.Errorf("copy cache: %w", err)
	}
	defer r.Close()
	w, err := dst.OpenFile(p, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("copy cache: %w", err)
	}
	_, err = io.Copy(w, r)
	return errors.Join(err, w.Close())
}

// replaceTree makes a folder a copy of another, as a whole.
func replaceTree(to, from string) error {
	next, err := os.MkdirTemp(filepath.Dir(to), filepath.Base(to)+"-")
	if err != nil {
		return fmt.Errorf("keep build cache: %w", err)
	}
	if err := errors.Join(os.Chmod(next, 0o755), copyTree(next, from)); err != nil {
		return errors.Join(err, os.RemoveAll(next))
	}
	if err := errors.Join(os.RemoveAll(to), os.Rename(next, to)); err != nil {
		return fmt.Errorf("keep build cache: %w", err)
	}
	return nil
}
