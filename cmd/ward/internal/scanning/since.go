package scanning

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/cap/scan"
)

// maxTree bounds what is unpacked of a commit, in bytes.
const maxTree = 4 << 30

// baseline is what was found before: in a report, or by scanning a commit.
func baseline(ctx context.Context, r scan.Request, since string) (map[string]bool, error) {
	if f, err := os.Open(since); err == nil {
		defer f.Close()
		found, err := scan.ReadBaseline(f)
		if err != nil {
			return nil, fault.Wrap(fault.Invalid, since, err)
		}
		return found, nil
	}
	dir, err := os.MkdirTemp("", "ward-scan-")
	if err != nil {
		return nil, fmt.Errorf("make a folder for %s: %w", since, err)
	}
	defer os.RemoveAll(dir)
	if err := checkout(ctx, r.Dir, since, dir); err != nil {
		return nil, err
	}
	r.Dir, r.SARIF, r.With, r.Progress, r.Analyser = dir, nil, nil, nil, nil
	old, err := scan.Run(ctx, r)
	if err != nil {
		return nil, err
	}
	return scan.Baseline(old), nil
}

// checkout puts what a commit holds below from's folder into dir, without touching the work tree.
func checkout(ctx context.Context, from, commit, dir string) error {
	c := exec.CommandContext(ctx, "git", "-C", from, "archive", "--format=tar", "--end-of-options", commit)
	out, err := c.StdoutPipe()
	if err != nil {
		return fmt.Errorf("read commit: %w", err)
	}
	if err := c.Start(); err != nil {
		return fault.Wrap(fault.Invalid, "--since: there is no file "+commit+", and git can't be asked for a commit", err)
	}
	err = unpack(out, dir)
	_, _ = io.Copy(io.Discard, out) // so that git ends
	if waitErr := c.Wait(); waitErr != nil {
		return fault.New(fault.Usage, fmt.Sprintf("--since: %q is neither a file nor a commit of this repository", commit))
	}
	return err
}

// unpack writes folders and plain files; links of a tree aren't followed by a scan anyway.
func unpack(r io.Reader, dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("unpack commit: %w", err)
	}
	defer root.Close()
	left := int64(maxTree)
	for t := tar.NewReader(r); ; {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("unpack commit: %w", err)
		}
		if h.Typeflag != tar.TypeReg {
			continue
		}
		if left -= h.Size; left < 0 {
			return fault.New(fault.Invalid, "--since: that commit is larger than 4 GiB")
		}
		if err := root.MkdirAll(filepath.Dir(h.Name), 0o700); err != nil {
			return fmt.Errorf("unpack commit: %w", err)
		}
		f, err := root.OpenFile(h.Name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if err != nil {
			return fmt.Errorf("unpack commit: %w", err)
		}
		_, err = io.Copy(f, t)
		if err := errors.Join(err, f.Close()); err != nil {
			return fmt.Errorf("unpack commit: %w", err)
		}
	}
}

// release is Ward's own version, as Go stamped it.
func release() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		return info.Main.Version
	}
	return ""
}
