// Package root builds the private root of a sandbox: a fresh tmpfs with only the
// paths of the spec, and makes it the root of the calling process.
//
// Guarantee: after Enter returns nil nothing of the host's file system can be
// named but the spec's mounts, every mount is nosuid and nodev, and what is not marked for
// writing is read-only. The caller must own a mount namespace, and runs on one
// OS thread.
package root

import (
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/wardhq/ward/internal/cap/sandbox/internal/spec"
)

// base is where the new root is built; a folder that every Linux has.
const base = "/tmp"

// device files that every program may use.
var devices = [...]string{"null", "zero", "full", "random", "urandom"}

// masked files of /proc tell about the host, or steer it.
var masked = [...]string{"kcore", "kmsg", "keys", "key-users", "timer_list", "sched_debug", "sysrq-trigger", "kallsyms", "modules", "config.gz", "latency_stats", "interrupts", "kpagecount", "kpageflags", "kpagecgroup", "vmallocinfo", "slabinfo", "diskstats", "partitions", "iomem", "ioports", "crypto", "buddyinfo", "pagetypeinfo", "zoneinfo", "acpi", "scsi", "driver", "fs", "irq", "bus", "tty"}

type tree struct {
	fd    int
	mount spec.Mount
	dir   bool
}

// Enter builds the root and pivots into it. idMaps are the user namespaces that Mount.IDMap names; secrets is the writable
// folder of secrets, nil where the spec has none.
func Enter(s *spec.Spec, idMaps []*os.File) (secrets *os.File, err error) {
	// Who started Ward may keep new files private; what is made here is for the service, which has another user.
	defer unix.Umask(unix.Umask(0o022))
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return nil, fmt.Errorf("make mounts private: %w", err)
	}
	trees, err := cloneTrees(s, idMaps)
	if err != nil {
		return nil, err
	}
	if err := mountTmpfs(base, "mode=0755,size=1m,nr_inodes=4096"); err != nil {
		return nil, fmt.Errorf("mount new root: %w", err)
	}
	if err := makeScratch(s); err != nil {
		return nil, err
	}
	// Before the trees: no file of the host's can stand where these are written.
	if err := writeFiles(s); err != nil {
		return nil, err
	}
	if err := makeDirs(s.Dirs); err != nil {
		return nil, err
	}
	if err := attachAll(trees); err != nil {
		return nil, err
	}
	if err := makeLinks(s); err != nil {
		return nil, err
	}
	if err := closeDirs(s.Dirs); err != nil {
		return nil, err
	}
	if err := mountProc(); err != nil {
		return nil, err
	}
	if secrets, err = mountSecrets(s); err != nil {
		return nil, err
	}
	for _, p := range s.Hide {
		if err := mask(filepath.Join(base, p)); err != nil {
			return nil, fmt.Errorf("hide %s: %w", p, err)
		}
	}
	if err := pivot(); err != nil {
		return nil, err
	}
	return secrets, nil
}

// KeepHost leaves the host's file system in place (Off.Root), under the PID namespace's own /proc, without
// which this process couldn't find itself.
func KeepHost() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	return nil
}

// cloneTrees opens every source before the new root hides any of them.
func cloneTrees(s *spec.Spec, idMaps []*os.File) ([]tree, error) {
	mounts := append([]spec.Mount(nil), s.Mounts...)
	for _, d := range devices {
		mounts = append(mounts, spec.Mount{Source: "/dev/" + d, Target: "/dev/" + d, Write: true, OwnerUID: -1, OwnerGID: -1})
	}
	// A parent must be mounted before what lies inside it.
	sort.SliceStable(mounts, func(i, j int) bool {
		return strings.Count(mounts[i].Target, "/") < strings.Count(mounts[j].Target, "/")
	})
	var trees []tree
	for _, m := range mounts {
		t, err := cloneTree(m, idMaps)
		if err == unix.ENOENT && m.Optional {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("open %s for the sandbox: %w", m.Source, err)
		}
		trees = append(trees, t)
	}
	return trees, nil
}

func cloneTree(m spec.Mount, idMaps []*os.File) (tree, error) {
	// The launcher resolved the path; a link that is in it now was put there since, by a service that may write there.
	source, err := unix.Openat2(unix.AT_FDCWD, m.Source, &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_NO_SYMLINKS})
	if err != nil {
		return tree{}, err
	}
	defer unix.Close(source)
	var st unix.Stat_t
	if err := unix.Fstat(source, &st); err != nil {
		return tree{}, err
	}
	fd, err := unix.OpenTree(source, "", unix.AT_EMPTY_PATH|unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE)
	if err != nil {
		return tree{}, err
	}
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_NOSUID}
	if !strings.HasPrefix(m.Target, "/dev/") {
		attr.Attr_set |= unix.MOUNT_ATTR_NODEV
	}
	switch {
	case !m.Write:
		attr.Attr_set |= unix.MOUNT_ATTR_RDONLY
	case !m.Exec:
		attr.Attr_set |= unix.MOUNT_ATTR_NOEXEC
	}
	if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, &attr); err != nil {
		unix.Close(fd)
		return tree{}, fmt.Errorf("set mount attributes: %w", err)
	}
	if m.IDMap > 0 && m.IDMap <= len(idMaps) {
		attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_IDMAP, Userns_fd: uint64(idMaps[m.IDMap-1].Fd())}
		if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, &attr); err != nil {
			unix.Close(fd)
			return tree{}, fmt.Errorf("map its owner to the service's user: %w", err)
		}
	}
	return tree{fd: fd, mount: m, dir: st.Mode&unix.S_IFMT == unix.S_IFDIR}, nil
}

func attachAll(trees []tree) error {
	root, err := unix.Open(base, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open new root: %w", err)
	}
	defer unix.Close(root)
	for _, t := range trees {
		if err := attach(root, t); err != nil {
			return err
		}
	}
	return nil
}

func attach(root int, t tree) error {
	defer unix.Close(t.fd)
	at, err := place(root, t.mount.Target, t.dir)
	if err != nil {
		return fmt.Errorf("make %s in the sandbox: %w", t.mount.Target, err)
	}
	defer unix.Close(at)
	err = unix.MoveMount(t.fd, "", at, "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH)
	if err != nil {
		return fmt.Errorf("mount %s in the sandbox: %w", t.mount.Target, err)
	}
	return nil
}

// place opens what to mount on below root, and makes what is missing of it. It follows no symbolic link: the
// way may lead through a folder in which a service is writing at this moment.
func place(root int, target string, dir bool) (int, error) {
	at, err := unix.FcntlInt(uintptr(root), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	names := strings.Split(strings.Trim(filepath.Clean(target), "/"), "/")
	for i, name := range names {
		next, err := step(at, name, dir || i < len(names)-1)
		unix.Close(at)
		if err != nil {
			return -1, err
		}
		at = next
	}
	return at, nil
}

func step(at int, name string, dir bool) (int, error) {
	flags := unix.O_PATH | unix.O_NOFOLLOW | unix.O_CLOEXEC
	if dir {
		flags |= unix.O_DIRECTORY
	}
	fd, err := unix.Openat(at, name, flags, 0)
	if err == unix.ENOENT {
		if err := makeEmpty(at, name, dir); err != nil {
			return -1, err
		}
		fd, err = unix.Openat(at, name, flags, 0)
	}
	if err != nil {
		return -1, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Mode&unix.S_IFMT == unix.S_IFLNK {
		unix.Close(fd)
		return -1, unix.ELOOP
	}
	return fd, nil
}

func makeEmpty(at int, name string, dir bool) error {
	if dir {
		return unix.Mkdirat(at, name, 0o755)
	}
	fd, err := unix.Openat(at, name, unix.O_CREAT|unix.O_EXCL|unix.O_RDONLY|unix.O_CLOEXEC, 0o644)
	if err != nil {
		return err
	}
	return unix.Close(fd)
}

// scratch folders are writable, private and gone with the sandbox.
var scratch = [...]struct{ path, options string }{
	{"/tmp", "mode=1777,size=256m,nr_inodes=65536"},
	{"/dev/shm", "mode=1777,size=256m,nr_inodes=4096"},
	{"/var/tmp", "mode=1777,size=64m,nr_inodes=4096"},
	{"/run", "mode=1777,size=16m,nr_inodes=4096"},
}

func makeScratch(s *spec.Spec) error {
	for _, d := range scratch {
		p := filepath.Join(base, d.path)
		if err := os.MkdirAll(p, 0o755); err != nil {
			return fmt.Errorf("make %s: %w", d.path, err)
		}
		flags := uintptr(unix.MS_NOSUID | unix.MS_NODEV)
		if d.path != "/tmp" || !s.ExecTmp {
			flags |= unix.MS_NOEXEC
		}
		if err := unix.Mount("tmpfs", p, "tmpfs", flags, d.options); err != nil {
			return fmt.Errorf("mount %s: %w", d.path, err)
		}
	}
	return nil
}

func writeFiles(s *spec.Spec) error {
	for _, f := range s.Files {
		p := filepath.Join(base, f.Path)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			return fmt.Errorf("make %s: %w", f.Path, err)
		}
		if err := os.WriteFile(p, []byte(f.Text), 0o644); err != nil {
			return fmt.Errorf("write %s: %w", f.Path, err)
		}
	}
	return nil
}

func makeLinks(s *spec.Spec) error {
	links := append([]spec.Link{
		{Path: "/dev/fd", To: "/proc/self/fd"},
		{Path: "/dev/stdin", To: "/proc/self/fd/0"},
		{Path: "/dev/stdout", To: "/proc/self/fd/1"},
		{Path: "/dev/stderr", To: "/proc/self/fd/2"},
	}, s.Links...)
	for _, l := range links {
		p := filepath.Join(base, l.Path)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			return fmt.Errorf("make %s: %w", l.Path, err)
		}
		if err := os.Symlink(l.To, p); err != nil && !os.IsExist(err) {
			return fmt.Errorf("link %s: %w", l.Path, err)
		}
	}
	return nil
}

// makeDirs makes folders to mount in, each a file system of its own: it may lie in a scratch folder, and must
// become read-only all the same.
func makeDirs(dirs []string) error {
	for _, d := range dirs {
		p := filepath.Join(base, d)
		if err := os.MkdirAll(p, 0o755); err != nil {
			return fmt.Errorf("make %s: %w", d, err)
		}
		if err := mountTmpfs(p, "mode=0755,size=256k,nr_inodes=1024"); err != nil {
			return fmt.Errorf("make %s: %w", d, err)
		}
	}
	return nil
}

// closeDirs makes them read-only, once everything is mounted in them.
func closeDirs(dirs []string) error {
	ro := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV}
	for _, d := range dirs {
		if err := unix.MountSetattr(unix.AT_FDCWD, filepath.Join(base, d), 0, &ro); err != nil {
			return fmt.Errorf("make %s read-only: %w", d, err)
		}
	}
	return nil
}

// mountProc mounts the PID namespace's own /proc, steering files read-only or hidden.
func mountProc() error {
	p := filepath.Join(base, "proc")
	if err := os.MkdirAll(p, 0o555); err != nil {
		return fmt.Errorf("make /proc: %w", err)
	}
	const flags = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	if err := unix.Mount("proc", p, "proc", flags, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	ro := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}
	sys := filepath.Join(p, "sys")
	if err := unix.Mount(sys, sys, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("protect /proc/sys: %w", err)
	}
	if err := unix.MountSetattr(unix.AT_FDCWD, sys, unix.AT_RECURSIVE, &ro); err != nil {
		return fmt.Errorf("protect /proc/sys: %w", err)
	}
	for _, name := range masked {
		if err := mask(filepath.Join(p, name)); err != nil {
			return fmt.Errorf("hide /proc/%s: %w", name, err)
		}
	}
	return nil
}

func mask(path string) error {
	st, err := os.Stat(path)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if !st.IsDir() {
		return unix.Mount(filepath.Join(base, "dev/null"), path, "", unix.MS_BIND, "")
	}
	return unix.Mount("tmpfs", path, "tmpfs", unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "size=0k,nr_inodes=2")
}

func pivot() error {
	old := filepath.Join(base, ".old")
	if err := os.Mkdir(old, 0o700); err != nil {
		return fmt.Errorf("make room for the old root: %w", err)
	}
	if err := unix.PivotRoot(base, old); err != nil {
		return fmt.Errorf("change root: %w", err)
	}
	if err := unix.Chdir("/"); err != nil {
		return fmt.Errorf("change root: %w", err)
	}
	if err := unix.Unmount("/.old", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("leave the old root: %w", err)
	}
	if err := os.Remove("/.old"); err != nil {
		return fmt.Errorf("leave the old root: %w", err)
	}
	ro := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV}
	if err := unix.MountSetattr(unix.AT_FDCWD, "/", 0, &ro); err != nil {
		return fmt.Errorf("make the root read-only: %w", err)
	}
	return nil
}

func mountTmpfs(path, options string) error {
	return unix.Mount("tmpfs", path, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, options)
}
