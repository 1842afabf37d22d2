// Package branch puts changed files on a branch of a git repository, without touching its work tree, its index or the branch that is
// checked out.
//
// Guarantee: a branch that somebody else committed to isn't overwritten; git runs none of the repository's hooks, filters or other programs. Not guaranteed:
// that a push is allowed.
package branch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/wardhq/ward/internal/base/fault"
)

// Prefix begins the name of every branch that Ward makes.
const Prefix = "ward/update/"

// author is who commits; nobody else may have committed to a branch that is replaced.
const author = "Ward <ward@localhost>"

// Repo is a repository on this machine.
type Repo struct{ Dir string }

// Commit is what goes on a branch.
type Commit struct {
	Branch  string            // below Prefix
	Base    string            // the commit that it is on
	Message string            // with a first line
	Files   map[string][]byte // by path from the root of the repository: those that exist in Base
	Now     time.Time
}

// Head is the commit that is checked out, and the branch's name ("" if it is none).
func (r Repo) Head(ctx context.Context) (commit, branch string, err error) {
	if commit, err = r.git(ctx, nil, nil, "rev-parse", "--verify", "HEAD^{commit}"); err != nil {
		return "", "", fault.Wrap(fault.Invalid, r.Dir+" is no git repository with a commit", err)
	}
	branch, _ = r.git(ctx, nil, nil, "symbolic-ref", "--quiet", "--short", "HEAD") // a detached head has none
	return commit, branch, nil
}

// Root is the repository's top folder.
func (r Repo) Root(ctx context.Context) (string, error) {
	return r.git(ctx, nil, nil, "rev-parse", "--show-toplevel")
}

// Changed tells whether a file of the work tree is another than in a commit; a file that git doesn't track is.
func (r Repo) Changed(ctx context.Context, commit, path string) (bool, error) {
	root, err := r.Root(ctx)
	if err != nil {
		return false, err
	}
	now, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(path)))
	if err != nil {
		return false, fmt.Errorf("compare %s: %w", path, err)
	}
	then, err := r.File(ctx, commit, path)
	return err != nil || then == nil || !bytes.Equal(now, then), err
}

// File is a file of a commit, as it is stored; nil if there is none.
func (r Repo) File(ctx context.Context, commit, path string) ([]byte, error) {
	said, err := r.git(ctx, nil, nil, "ls-tree", "-z", "--full-tree", commit, "--", path)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	fields := strings.Fields(strings.SplitN(said, "\t", 2)[0])
	if len(fields) != 3 || fields[1] != "blob" {
		return nil, nil
	}
	text, err := r.git(ctx, nil, nil, "cat-file", "blob", fields[2])
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	size, err := r.git(ctx, nil, nil, "cat-file", "-s", fields[2])
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	if size != fmt.Sprint(len(text)) { // git's last newline was cut off
		text += "\n"
	}
	return []byte(text), nil
}

// Put makes the commit, and points the branch at it. It returns the commit's ID; the same one again if the branch holds the same files already.
func (r Repo) Put(ctx context.Context, c Commit) (string, error) {
	if !strings.HasPrefix(c.Branch, Prefix) || strings.Contains(c.Branch, "..") || len(c.Files) == 0 {
		return "", fault.New(fault.Internal, "no branch of Ward's, or nothing to put on it")
	}
	ref := "refs/heads/" + c.Branch
	if _, err := r.git(ctx, nil, nil, "check-ref-format", ref); err != nil {
		return "", fmt.Errorf("make branch: %w", err)
	}
	old, err := r.own(ctx, ref)
	if err != nil {
		return "", err
	}
	tree, err := r.tree(ctx, c)
	if err != nil {
		return "", fmt.Errorf("make branch: %w", err)
	}
	if old != "" {
		same, err := r.git(ctx, nil, nil, "rev-parse", old+"^{tree}", old+"^")
		if err == nil && same == tree+"\n"+c.Base {
			return old, nil
		}
	}
	when := fmt.Sprintf("@%d +0000", c.Now.Unix())
	name, mail, _ := strings.Cut(strings.TrimSuffix(author, ">"), " <")
	env := []string{"GIT_AUTHOR_NAME=" + name, "GIT_AUTHOR_EMAIL=" + mail, "GIT_AUTHOR_DATE=" + when, "GIT_COMMITTER_NAME=" + name, "GIT_COMMITTER_EMAIL=" + mail, "GIT_COMMITTER_DATE=" + when}
	commit, err := r.git(ctx, env, []byte(c.Message), "commit-tree", tree, "-p", c.Base, "-F", "-")
	if err != nil {
		return "", fmt.Errorf("make branch: %w", err)
	}
	if old == "" {
		old = strings.Repeat("0", len(commit)) // only if there still is none
	}
	if _, err := r.git(ctx, nil, nil, "update-ref", "-m", "ward update", ref, commit, old); err != nil {
		return "", fault.Wrap(fault.Conflict, "the branch "+c.Branch+" changed meanwhile", err)
	}
	return commit, nil
}

// own is the commit at a branch, "" if there is none; a branch with another author's commit isn't Ward's to replace.
func (r Repo) own(ctx context.Context, ref string) (string, error) {
	said, err := r.git(ctx, nil, nil, "for-each-ref", "--format=%(objectname)%09%(committername) %(committeremail)", ref)
	if err != nil {
		return "", fmt.Errorf("look at branch: %w", err)
	}
	if said == "" {
		return "", nil
	}
	commit, who, _ := strings.Cut(said, "\t")
	if err := mine(ref, who); err != nil {
		return "", err
	}
	return commit, nil
}

// mine tells whether a branch's last commit is Ward's.
func mine(ref, who string) error {
	if who == author {
		return nil
	}
	return fault.New(fault.Conflict, fmt.Sprintf("somebody (%s) has committed to %s: Ward leaves it alone; merge or remove it", who, strings.TrimPrefix(ref, "refs/heads/")))
}

// tree writes the tree of Base with the files exchanged, by an index of its own.
func (r Repo) tree(ctx context.Context, c Commit) (string, error) {
	dir, err := os.MkdirTemp("", "ward-index-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	env := []string{"GIT_INDEX_FILE=" + filepath.Join(dir, "index")}
	if _, err := r.git(ctx, env, nil, "read-tree", c.Base); err != nil {
		return "", err
	}
	var paths []string
	for p := range c.Files {
		paths = append(paths, p)
	}
	slices.Sort(paths)
	var info bytes.Buffer
	for _, p := range paths {
		if !filepath.IsLocal(p) || strings.ContainsAny(p, "\n\t") {
			return "", fmt.Errorf("%q is no path of the repository", p)
		}
		mode, err := r.mode(ctx, env, p)
		if err != nil {
			return "", err
		}
		// Without filters: a repository's attributes may name programs.
		blob, err := r.git(ctx, nil, c.Files[p], "hash-object", "-w", "--no-filters", "--stdin")
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&info, "%s %s\t%s\n", mode, blob, p)
	}
	if _, err := r.git(ctx, env, info.Bytes(), "update-index", "--add", "--index-info"); err != nil {
		return "", err
	}
	return r.git(ctx, env, nil, "write-tree")
}

// mode is that of a plain file in the index; a link isn't written through, and a new file is plain.
func (r Repo) mode(ctx context.Context, env []string, p string) (string, error) {
	said, err := r.git(ctx, env, nil, "ls-files", "--stage", "--", ":(literal)"+p)
	if err != nil || said == "" {
		return "100644", err
	}
	mode, _, _ := strings.Cut(said, " ")
	if mode != "100644" && mode != "100755" {
		return "", fmt.Errorf("%s is no plain file of the repository", p)
	}
	return mode, nil
}

// Remote is the URL of a remote, "" if there is none.
func (r Repo) Remote(ctx context.Context, name string) string {
	u, err := r.git(ctx, nil, nil, "remote", "get-url", "--", name)
	if err != nil {
		return ""
	}
	return u
}

// Push sends a branch of Ward's. It replaces there only a commit of Ward's, and only as long as that is what the remote has: what this repository
// fetched some time ago says nothing of it.
func (r Repo) Push(ctx context.Context, remote, branch string) error {
	if !strings.HasPrefix(branch, Prefix) {
		return fault.New(fault.Internal, "no branch of Ward's")
	}
	ref := "refs/heads/" + branch
	to, err := r.git(ctx, nil, nil, "remote", "get-url", "--push", "--", remote) // which may be another place than what is fetched from
	if err != nil {
		return fault.Wrap(fault.NotFound, "the repository has no remote "+remote, err)
	}
	said, err := r.git(ctx, nil, nil, "ls-remote", "--quiet", "--", to, ref)
	if err != nil {
		return fault.Wrap(fault.Refused, "git couldn't ask "+remote+" for "+branch, err)
	}
	there, _, _ := strings.Cut(said, "\t")
	if there != "" {
		if err := r.replaceable(ctx, to, ref, there); err != nil {
			return err
		}
	}
	if _, err := r.git(ctx, nil, nil, "push", "--quiet", "--no-verify", "--force-with-lease="+ref+":"+there, "--", to, ref+":"+ref); err != nil {
		return fault.Wrap(fault.Refused, "git couldn't push "+branch+" to "+remote, err)
	}
	return nil
}

// replaceable tells whether what a remote's branch holds is a commit of Ward's.
func (r Repo) replaceable(ctx context.Context, remote, ref, commit string) error {
	if _, err := r.git(ctx, nil, nil, "cat-file", "-e", commit+"^{commit}"); err != nil {
		if _, err := r.git(ctx, nil, nil, "fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules", "--no-auto-maintenance", "--", remote, ref); err != nil {
			return fault.Wrap(fault.Refused, "git couldn't look at "+strings.TrimPrefix(ref, "refs/heads/")+" at the remote", err)
		}
	}
	who, err := r.git(ctx, nil, nil, "show", "--no-patch", "--no-show-signature", "--no-mailmap", "--format=%cn <%ce>", commit)
	if err != nil {
		return fault.Wrap(fault.Refused, "git couldn't look at "+strings.TrimPrefix(ref, "refs/heads/")+" at the remote", err)
	}
	return mine(ref, who)
}

// git runs a command and returns what it prints, without the last newline.
func (r Repo) git(ctx context.Context, env []string, stdin []byte, args ...string) (string, error) {
	c := exec.CommandContext(ctx, "git", append([]string{"-C", r.Dir, "-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "-c", "commit.gpgSign=false"}, args...)...)
	c.Env = append(os.Environ(), "GIT_TERMINAL_PROMPT=0", "GIT_OPTIONAL_LOCKS=0", "LC_ALL=C")
	c.Env = append(c.Env, env...)
	c.Stdin = bytes.NewReader(stdin)
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	if err := c.Run(); err != nil {
		return "", errors.Join(fmt.Errorf("git %s: %w", args[0], err), errors.New(strings.TrimSpace(clip(errs.String()))))
	}
	return strings.TrimSuffix(out.String(), "\n"), nil
}

func clip(s string) string {
	if len(s) > 2000 {
		return s[:2000]
	}
	return s
}
