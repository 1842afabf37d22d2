package escape

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

func files() []attempt {
	return []attempt{
		{"host-files", "read files of the host, of Ward and of other services", byRoot, func(g *Ground) Result {
			return each(g.Files, "no file of the host is known", func(p string) Result { return readable(p, false) })
		}},
		{"shadow", "read password hashes", byRoot, readOne("/etc/shadow", "/etc/gshadow", "/etc/sudoers")},
		{"passwd", "learn the host's users", byRoot, hostPasswd},
		{"homes", "look into home folders", byRoot, homes},
		{"ssh-keys", "read SSH and cloud keys", byRoot, readOne("/root/.ssh/id_ed25519", "/root/.ssh/id_rsa", "/root/.aws/credentials", "/root/.docker/config.json", "/etc/ssh/ssh_host_ed25519_key", "/var/run/secrets/kubernetes.io/serviceaccount/token")},
		{"init-root", "walk out through /proc/1/root", byInit, listOne("/proc/1/root", "/proc/1/cwd")},
		{"init-environ", "read init's environment", byInit, readOne("/proc/1/environ")},
		{"init-memory", "read init's memory", byInit, openFor(os.O_RDONLY, "/proc/1/mem")},
		{"init-memory-write", "write init's memory", byInit, openFor(os.O_RDWR, "/proc/1/mem")},
		{"init-descriptors", "take init's descriptors from /proc/1/fd", byInit, listOne("/proc/1/fd", "/proc/1/fdinfo", "/proc/1/map_files")},
		{"kernel-memory", "read the kernel's memory", byRoot, secretive("/proc/kcore", "/dev/mem", "/dev/kmem", "/dev/port")},
		{"kernel-log", "read the kernel's log", byRoot, secretive("/proc/kmsg", "/dev/kmsg")},
		{"kernel-symbols", "read kernel addresses", byRoot, secretive("/proc/kallsyms", "/proc/modules", "/proc/iomem", "/proc/timer_list", "/proc/keys")},
		{"sysrq", "reboot the host by /proc/sysrq-trigger", byRoot, writable("/proc/sysrq-trigger")},
		{"proc-sys", "change kernel settings (core_pattern runs a program as root)", byRoot, writable("/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe", "/proc/sys/net/ipv4/ip_forward", "/proc/sys/vm/overcommit_memory", "/proc/sys/kernel/hostname", "/proc/sys/fs/binfmt_misc/register")},
		{"sysfs", "read or steer devices through /sys", byRoot, listOne("/sys", "/sys/kernel", "/sys/class", "/sys/kernel/debug", "/sys/firmware")},
		{"cgroup", "leave the control group, or set its release_agent", byRoot, cgroups},
		{"disk", "read the host's disk", byRoot, openDevice("/dev/sda", "/dev/vda", "/dev/nvme0n1", "/dev/dm-0", "/dev/loop0", "/dev/loop-control", "/dev/fuse", "/dev/kvm")},
		{"make-device", "make a device file for the host's disk", byRights, makeDevice},
		{"write-system", "change what other programs load", byRoot, writeFolders("/", "/etc", "/usr/lib", "/lib", "/proc", "/dev")},
		{"write-own", "change the service's own program or folder", byRoot, writeOwn},
		{"symlink-out", "leave through a symbolic link in a writable folder", byRoot, symlinkOut},
		{"dot-dot", "leave through .. and the root's parent", byRoot, dotDot},
		{"file-handle", "open a file of the host by its handle", byFilter, fileHandle},
		{"terminal", "type into the terminal that Ward runs in", "a session of its own", terminal},
		{"oom-immunity", "escape the out-of-memory killer", byRights, oomScore},
		{"uid-map", "write a user mapping", byRights, writable("/proc/self/uid_map", "/proc/self/setgroups")},
	}
}

// readable opens a file and reads a byte, or lists a folder. With mounted, what lies in something that the
// sandbox mounts is granted.
func readable(path string, mounted bool) Result {
	f, err := os.Open(path)
	if err != nil {
		return blocked("%v", err)
	}
	defer f.Close()
	if names, err := f.Readdirnames(-1); err == nil {
		// A folder that only leads to what is granted shows nothing of the host.
		names = slices.DeleteFunc(names, func(n string) bool { return leadsToMount(filepath.Join(path, n), mounted) })
		if len(names) == 0 {
			return blocked("%s: shows nothing of the host's", path)
		}
		return succeeded("%s holds %q", path, names[0])
	}
	n, err := f.Read(make([]byte, 64))
	if n == 0 {
		return blocked("%s: %v", path, err)
	}
	return succeeded("read %s", path)
}

// leadsToMount tells whether path is or holds something that the sandbox mounts; or, with within, lies in it.
func leadsToMount(path string, within bool) bool {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) < 5 || f[4] == "/" {
			continue
		}
		if f[4] == path || strings.HasPrefix(f[4], path+"/") || within && strings.HasPrefix(path, f[4]+"/") {
			return true
		}
	}
	if to, err := os.Readlink(path); err == nil && filepath.IsAbs(to) {
		return leadsToMount(to, within)
	}
	return false
}

// granted is readable for paths that a service may well have been given.
func granted(path string) Result { return readable(path, true) }

func readOne(paths ...string) func(*Ground) Result {
	return func(*Ground) Result { return each(paths, "", granted) }
}

func listOne(paths ...string) func(*Ground) Result {
	return func(*Ground) Result {
		return each(paths, "", func(p string) Result {
			names, err := os.ReadDir(p)
			if err != nil {
				return blocked("%v", err)
			}
			if len(names) == 0 {
				return blocked("%s is empty", p)
			}
			return succeeded("%s holds %q", p, names[0].Name())
		})
	}
}

// openFor opens without reading or writing.
func openFor(flag int, paths ...string) func(*Ground) Result {
	return func(*Ground) Result {
		return each(paths, "", func(p string) Result {
			f, err := os.OpenFile(p, flag, 0)
			if err != nil {
				return blocked("%v", err)
			}
			defer f.Close()
			if isNull(f) {
				return blocked("%s is /dev/null here", p)
			}
			return succeeded("opened %s", p)
		})
	}
}

func writable(paths ...string) func(*Ground) Result { return openFor(os.O_WRONLY, paths...) }

func isNull(f *os.File) bool {
	var st unix.Stat_t
	return unix.Fstat(int(f.Fd()), &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == unix.Mkdev(1, 3)
}

// secretive files hold what must not be read, if they hold anything.
func secretive(paths ...string) func(*Ground) Result {
	return func(*Ground) Result {
		return each(paths, "", func(p string) Result {
			fd, err := unix.Open(p, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
			if err != nil {
				return blocked("%s: %v", p, err)
			}
			defer unix.Close(fd)
			n, err := unix.Read(fd, make([]byte, 64))
			if n <= 0 {
				return blocked("%s: empty (%v)", p, err)
			}
			return succeeded("read %d bytes of %s", n, p)
		})
	}
}

func hostPasswd(*Ground) Result {
	b, err := os.ReadFile("/etc/passwd")
	if err != nil {
		return blocked("%v", err)
	}
	if !bytes.Contains(b, []byte("root:")) && bytes.Count(b, []byte("\n")) <= 1 {
		return blocked("/etc/passwd is the sandbox's own")
	}
	return succeeded("/etc/passwd names %d users", bytes.Count(b, []byte("\n")))
}

func homes(*Ground) Result {
	paths := []string{"/root", "/home", "/srv", "/opt", "/var/lib", "/var/log", "/mnt", "/boot"}
	if more, err := filepath.Glob("/home/*"); err == nil {
		paths = append(paths, more...)
	}
	return each(paths, "", granted)
}

func cgroups(*Ground) Result {
	paths := []string{"/sys/fs/cgroup/cgroup.procs", "/sys/fs/cgroup/release_agent", "/sys/fs/cgroup/memory/release_agent", "/sys/fs/cgroup/pids/tasks", "/sys/fs/cgroup/memory/tasks"}
	return each(paths, "", func(p string) Result { return openFor(os.O_WRONLY, p)(nil) })
}

func makeDevice(*Ground) Result {
	return each([]string{"/tmp", "/dev/shm", "/run"}, "", func(dir string) Result {
		p := filepath.Join(dir, ".ward-device")
		err := unix.Mknod(p, unix.S_IFBLK|0o600, int(unix.Mkdev(7, 0)))
		if err == nil {
			os.Remove(p)
		}
		return unlessError(err, "made "+p)
	})
}

// writeFolders makes an empty file and takes it away again.
func writeFolders(dirs ...string) func(*Ground) Result {
	return func(*Ground) Result {
		return each(dirs, "none is known", func(dir string) Result {
			f, err := os.CreateTemp(dir, ".ward-attack-*")
			if err != nil {
				return blocked("%v", err)
			}
			f.Close()
			os.Remove(f.Name())
			return succeeded("made a file in %s", dir)
		})
	}
}

func writeOwn(g *Ground) Result {
	if r := openFor(os.O_WRONLY, "/proc/self/exe")(g); r.Verdict == Succeeded {
		return r
	}
	if len(g.ReadOnly) == 0 {
		return blocked("the program can't be opened for writing")
	}
	return writeFolders(g.ReadOnly...)(g)
}

func symlinkOut(g *Ground) Result {
	targets := append([]string{"/proc/1/root/etc/hostname", "../../../../etc/shadow"}, g.Files...)
	return each(targets, "", func(to string) Result {
		link := filepath.Join("/tmp", ".ward-link-"+strconv.Itoa(os.Getpid()))
		os.Remove(link)
		if err := os.Symlink(to, link); err != nil {
			return blocked("%v", err)
		}
		defer os.Remove(link)
		return readable(link, false)
	})
}

func dotDot(g *Ground) Result {
	paths := []string{"/../../../../../../etc/shadow", "/tmp/../../../../root"}
	for _, f := range g.Files {
		paths = append(paths, "/proc/self/cwd/../../../../../.."+f, "/proc/self/root/.."+f)
	}
	return each(paths, "", granted)
}

// fileHandle tries handles of the first inodes of the root's file system, as the
// "shocker" exploit of container engines did.
func fileHandle(*Ground) Result {
	dir, err := unix.Open("/", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return blocked("%v", err)
	}
	defer unix.Close(dir)
	h := unix.NewFileHandle(1, []byte{2, 0, 0, 0, 0, 0, 0, 0})
	fd, err := unix.OpenByHandleAt(dir, h, unix.O_RDONLY)
	if err == nil {
		unix.Close(fd)
	}
	return reached(errnoOf(err))
}

// terminal pushes no byte: it asks for the controlling terminal, and TIOCSTI with a pointer to
// nothing.
func terminal(*Ground) Result {
	for _, p := range []string{"/dev/tty", "/dev/console", "/dev/tty0", "/dev/ptmx", "/dev/pts/0"} {
		if f, err := os.OpenFile(p, os.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK, 0); err == nil {
			f.Close()
			return succeeded("opened %s", p)
		}
	}
	last := "no terminal is open"
	for fd := range 3 {
		if _, err := unix.IoctlGetTermios(fd, unix.TCGETS); err != nil {
			continue
		}
		_, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.TIOCSTI, 0)
		if e == unix.EFAULT || e == 0 {
			return succeeded("descriptor %d takes input that is typed for it", fd)
		}
		last = fmt.Sprintf("descriptor %d: %s", fd, unix.ErrnoName(e))
	}
	return blocked("%s", last)
}

func oomScore(*Ground) Result {
	b, err := os.ReadFile("/proc/self/oom_score_adj")
	if err != nil {
		return blocked("%v", err)
	}
	have, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil || have <= -1000 {
		return notApplicable("it is the lowest already")
	}
	err = os.WriteFile("/proc/self/oom_score_adj", []byte("-1000"), 0)
	return unlessError(err, "the kernel spares this process")
}
