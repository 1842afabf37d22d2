package sandbox

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/wardhq/ward/internal/cap/sandbox/internal/spec"
)

// maxLinks is how many symbolic links one path may lead through, as in the kernel (path_resolution(7)).
const maxLinks = 40

// resolve follows a path's symbolic links, but none that a service could have put there: it would choose what the
// next start shows it.
func (b *builder) resolve(path string) (string, error) {
	at, rest, links := "/", strings.Split(filepath.Clean(path), "/"), 0
	for len(rest) > 0 {
		name := rest[0]
		rest = rest[1:]
		switch name {
		case "", ".":
			continue
		case "..":
			at = filepath.Dir(at)
			continue
		}
		next := filepath.Join(at, name)
		st, err := os.Lstat(next)
		if err != nil {
			return "", err
		}
		if st.Mode()&fs.ModeSymlink == 0 {
			at = next
			continue
		}
		if b.writable(at) {
			return "", fmt.Errorf("%s is a symbolic link in a folder that a service may write: it could lead anywhere; name the place itself", next)
		}
		if links++; links > maxLinks {
			return "", fmt.Errorf("%s: too many symbolic links", path)
		}
		to, err := os.Readlink(next)
		if err != nil {
			return "", err
		}
		if filepath.IsAbs(to) {
			at = "/"
		}
		rest = append(strings.Split(to, "/"), rest...)
	}
	return at, nil
}

// writable tells whether a service may write in a folder.
func (b *builder) writable(dir string) bool {
	return slices.ContainsFunc(b.write, func(w string) bool { return within(dir, w) })
}

// within tells whether path is folder, or lies in it.
func within(path, folder string) bool {
	return path == folder || folder == "/" || strings.HasPrefix(path, folder+"/")
}

// own makes a path of the team's visible, under the service's user.
func (b *builder) own(path string, write bool) error {
	real, err := b.resolve(path)
	if err != nil {
		return err
	}
	if b.holdsHidden(real) {
		if write {
			return fmt.Errorf("%s holds ward.yaml or Ward's state, which no service may write; give the service a folder of its own for what it writes", real)
		}
		err = b.ownEntries(real)
	} else {
		err = b.mountOwn(real, real, write)
	}
	if err != nil {
		return err
	}
	if real != path {
		b.spec.Links = append(b.spec.Links, spec.Link{Path: path, To: real})
	}
	return nil
}

func (b *builder) mountOwn(source, target string, write bool) error {
	st, err := os.Stat(source)
	if err != nil {
		return err
	}
	m := spec.Mount{Source: source, Target: target, Write: write, OwnerUID: -1, OwnerGID: -1}
	if sys, ok := st.Sys().(*syscall.Stat_t); ok && b.host.Root {
		m.OwnerUID, m.OwnerGID = int(sys.Uid), int(sys.Gid)
	}
	b.mount(m)
	return nil
}

// wide are folders that hold much more than one service needs.
var wide = []string{
	"/", "/bin", "/boot", "/dev", "/etc", "/home", "/lib", "/lib64", "/media", "/mnt", "/opt", "/proc", "/root", "/run", "/sbin", "/srv",
	"/sys", "/tmp", "/usr", "/usr/local", "/var", "/var/lib", "/var/run",
}

// isHome tells whether a path is somebody's home folder.
func isHome(path string) bool {
	own, err := os.UserHomeDir()
	return path == "/root" || filepath.Dir(path) == "/home" || err == nil && path == filepath.Clean(own)
}

// tooWide refuses a folder that would show a service what isn't its own.
func tooWide(real string) error {
	if slices.Contains(wide, real) || isHome(real) {
		return fmt.Errorf("%s is too broad to show to a service; choose its own folder", real)
	}
	return nil
}

// mayShare refuses what no service may see or change, whatever the model says: the model may have come with a repository
// that somebody cloned, and Ward may be root.
func (b *builder) mayShare(path string, write bool) error {
	real, err := b.resolve(path)
	if err != nil {
		return err
	}
	if err := tooWide(real); err != nil {
		return err
	}
	for _, dir := range []string{"/proc", "/sys", "/dev"} {
		if within(real, dir) {
			return fmt.Errorf("%s is the kernel's; no service may have it", real)
		}
	}
	st, err := os.Stat(real)
	if err != nil {
		return err
	}
	if !st.IsDir() && !st.Mode().IsRegular() {
		return fmt.Errorf("%s is neither a folder nor a file", real)
	}
	if !write {
		return nil
	}
	for _, dir := range []string{"/etc", "/usr", "/bin", "/sbin", "/lib", "/lib64", "/boot"} {
		if within(real, dir) {
			return fmt.Errorf("%s belongs to the system; no service may write it", real)
		}
	}
	// It could move the model's folder away and put another in its place.
	if real != b.host.Base && within(b.host.Base, real) {
		return fmt.Errorf("%s holds the folder of the model; choose a narrower one", real)
	}
	return nil
}

// systemFolders belong to the system: their programs are readable to all.
var systemFolders = []string{"/usr", "/bin", "/sbin", "/lib", "/lib64", "/opt", "/nix", "/snap"}

// showFile shows a program of the system's as it is, and one of the team's under the service's user: its folder may be closed
// to others.
func (b *builder) showFile(source, target string) error {
	if slices.ContainsFunc(systemFolders, func(dir string) bool { return within(source, dir) }) {
		b.mount(spec.Mount{Source: source, Target: target, OwnerUID: -1, OwnerGID: -1})
		return nil
	}
	return b.mountOwn(source, target, false)
}

// showProgram shows the program's file and, for one that is installed in a prefix of its own
// (~/.nvm/versions/node/v22, /usr/lib/jvm/x), that prefix.
func (b *builder) showProgram(path, real string) error {
	if !b.covered(real) {
		for _, p := range b.installed(real) {
			if err := b.showFile(p, p); err != nil {
				return err
			}
		}
	}
	if path != real && !b.covered(path) {
		return b.showFile(real, path)
	}
	return nil
}

// installed are the paths that a program was installed as.
func (b *builder) installed(real string) []string {
	prefix := filepath.Dir(filepath.Dir(real))
	switch {
	case filepath.Base(filepath.Dir(real)) != "bin", slices.Contains(wide, prefix), isHome(prefix), within(b.host.Base, prefix):
		return []string{real}
	case isHome(filepath.Dir(prefix)) && filepath.Base(prefix)[0] == '.':
		// ~/.local and ~/.cargo hold keyrings and credentials beside the programs.
		out := []string{real}
		for _, name := range []string{"lib", "lib64", "libexec"} {
			if st, err := os.Stat(filepath.Join(prefix, name)); err == nil && st.IsDir() {
				out = append(out, filepath.Join(prefix, name))
			}
		}
		return out
	}
	return []string{prefix}
}
