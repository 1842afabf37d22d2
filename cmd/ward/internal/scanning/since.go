package scanning

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"

	"github.com/wardhq/ward/internal/base/fault"
	untrusted "github.com/wardhq/ward/internal/base/git"
	"github.com/wardhq/ward/internal/cap/scan"
)

// maxTree bounds what is taken out of a commit, in bytes.
const maxTree = 4 << 30

// baseline notes what was found before: in a report, or by scanning a commit. A name that means both is refused: whoever proposes a change could put a
// report of their own in the place of the commit.
func baseline(ctx context.Context, r *scan.Request, since string) error {
	r.Since = since
	var hash bytes.Buffer
	commit := git(ctx, r.Dir, nil, &hash, "rev-parse", "--verify", "--quiet", "--end-of-options", since+"^{commit}") == nil
	f, err := os.Open(since)
	if err == nil {
		defer f.Close()
	}
	switch {
	case err == nil && commit:
		return fault.New(fault.Usage, fmt.Sprintf("--since: %q is a commit, and a file, too; say ./%s if you mean the file, or remove it", since, since))
	case err == nil:
		if r.Baseline, err = scan.ReadBaseline(f); err != nil {
			return fault.Wrap(fault.Invalid, since, err)
		}
		return nil
	case !commit:
		return fault.New(fault.Usage, fmt.Sprintf("--since: %q is neither a file nor a commit of this repository", since))
	}
	id := strings.TrimSpace(hash.String())
	var past bytes.Buffer
	if err := git(ctx, r.Dir, nil, &past, "rev-list", id); err != nil {
		return fmt.Errorf("list the commits before %s: %w", since, err)
	}
	r.Past = map[string]bool{}
	for line := range strings.Lines(past.String()) {
		r.Past[strings.TrimSpace(line)] = true
	}
	dir, err := os.MkdirTemp("", "ward-scan-")
	if err != nil {
		return fmt.Errorf("make a folder for %s: %w", since, err)
	}
	defer os.RemoveAll(dir)
	if err := checkout(ctx, r.Dir, id, dir); err != nil {
		return err
	}
	before := *r
	before.Dir, before.Progress, before.Analyser = dir, nil, nil
	before.SARIF, before.SBOM, before.Images = nil, nil, nil // they aren't the commit's: what is in them counts
	old, err := scan.Run(ctx, before)
	if err != nil {
		return err
	}
	r.Baseline = scan.Baseline(old)
	return nil
}

// git runs git in a repository that we don't trust: it starts nothing that the repository's configuration names, and fetches nothing.
func git(ctx context.Context, dir string, in io.Reader, out io.Writer, args ...string) error {
	c := untrusted.Command(ctx, "git", dir, args...)
	c.Stdin, c.Stdout = in, out
	if err := c.Run(); err != nil {
		return fmt.Errorf("git %s: %w", args[0], err)
	}
	return nil
}

// checkout puts the plain files that a commit holds below from's folder into dir, as they are stored: the filters that attributes name are programs.
// Links aren't followed by a scan anyway. The work tree isn't touched.
func checkout(ctx context.Context, from, commit, dir string) error {
	var list bytes.Buffer
	if err := git(ctx, from, nil, &list, "ls-tree", "-r", "-z", commit); err != nil {
		return fmt.Errorf("list the files of %s: %w", commit, err)
	}
	var paths []string
	var ask strings.Builder
	for entry := range strings.SplitSeq(strings.TrimSuffix(list.String(), "\x00"), "\x00") {
		about, name, _ := strings.Cut(entry, "\t")
		if f := strings.Fields(about); len(f) == 3 && strings.HasPrefix(f[0], "100") {
			paths = append(paths, name)
			ask.WriteString(f[2] + "\n")
		}
	}
	read, write := io.Pipe()
	done := make(chan error, 1)
	go func() {
		err := unpack(bufio.NewReaderSize(read, 64<<10), paths, dir)
		read.CloseWithError(err) // so that git ends
		done <- err
	}()
	err := git(ctx, from, strings.NewReader(ask.String()), write, "cat-file", "--batch", "--buffer")
	write.Close()
	if unpackErr := <-done; unpackErr != nil {
		return fmt.Errorf("take files out of %s: %w", commit, unpackErr)
	}
	return err
}

// unpack writes what git cat-file --batch says of each path: "<id> blob <size>", a newline, the content, a newline.
func unpack(r *bufio.Reader, paths []string, dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	left := int64(maxTree)
	for _, p := range paths {
		head, err := r.ReadString('\n')
		if err != nil {
			return err
		}
		_, size, _ := strings.Cut(strings.TrimSpace(head), " blob ")
		n, err := strconv.ParseInt(size, 10, 64)
		if err != nil {
			return fmt.Errorf("git says %.100q of an object", head)
		}
		if left -= n; left < 0 {
			return fault.New(fault.Invalid, "--since: that commit is larger than 4 GiB")
		}
		if err := root.MkdirAll(filepath.Dir(p), 0o700); err != nil {
			return err
		}
		f, err := root.OpenFile(p, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		_, err = io.CopyN(f, r, n)
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
		if _, err := r.Discard(1); err != nil {
			return err
		}
	}
	return nil
}

// release is Ward's own version, as Go stamped it.
func release() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		return info.Main.Version
	}
	return ""
}
