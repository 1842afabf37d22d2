package sandbox

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/wardtest/need"
)

func TestServiceLeavesNoSetUserIDFileBehind(t *testing.T) {
	l := NewLauncher()
	defer l.Close()
	dir := workdir(t)
	if err := os.Mkdir(filepath.Join(dir, "data"), 0o755); err != nil {
		t.Fatal(err)
	}
	svc := service("setter", python(`
import os, ctypes
def attempt(name, f):
    try: f(); print(name, "DONE")
    except OSError as e: print(name, e.strerror)
open("data/plain", "w").close()
attempt("chmod", lambda: os.chmod("data/plain", 0o4755))
fd = os.open("data/plain", os.O_RDONLY)
attempt("fchmod", lambda: os.fchmod(fd, 0o2755))
attempt("open", lambda: os.open("data/made", os.O_CREAT | os.O_WRONLY, 0o6755))
attempt("nameless", lambda: os.open("data", os.O_TMPFILE | os.O_WRONLY, 0o4755))
os.chmod("data/plain", 0o750)
print("end")
`))
	svc.Files.Write = []model.Path{{Path: "data"}}
	s := startService(t, l, svc, testHost(t, dir, 1))
	text := s.text(t)
	if strings.Contains(text, "DONE") || !strings.Contains(text, "end") {
		t.Error(text)
	}
	for _, name := range []string{"plain", "made"} {
		if st, err := os.Stat(filepath.Join(dir, "data", name)); err == nil && st.Mode()&(os.ModeSetuid|os.ModeSetgid) != 0 {
			t.Errorf("%s has mode %v", name, st.Mode())
		}
	}
}

// TestRefusedCallsAreTold, with the same errors as where nobody is told.
func TestRefusedCallsAreTold(t *testing.T) {
	l := NewLauncher()
	defer l.Close()
	script := python(`
import ctypes, errno, os, socket
libc = ctypes.CDLL(None, use_errno=True)
def attempt(name, *args):
    print(name, "DONE" if libc.syscall(*args) == 0 else errno.errorcode[ctypes.get_errno()])
for _ in range(50): attempt("mount", 165 if os.uname().machine == "x86_64" else 40, b"none", b"/tmp", b"tmpfs", 0, 0)
attempt("ptrace", 101 if os.uname().machine == "x86_64" else 117, 16, 1, 0, 0)
libc.unshare.argtypes = [ctypes.c_int]
for flags in 0x400, 0x10000000: print("unshare", libc.unshare(flags), errno.errorcode[ctypes.get_errno()])
def sock(*a):
    try: socket.socket(*a); print(a[0].name, "DONE")
    except OSError as e: print(a[0].name, errno.errorcode[e.errno])
sock(socket.AF_PACKET, socket.SOCK_RAW); sock(socket.AF_VSOCK, socket.SOCK_STREAM); sock(socket.AF_INET, socket.SOCK_RAW, 6)
sock(socket.AF_INET, socket.SOCK_STREAM, 262); sock(socket.AF_NETLINK, socket.SOCK_RAW, 15)
`)
	said := map[bool]string{}
	for _, network := range []bool{false, true} { // services have none, Ward's agent has the host's
		h := testHost(t, workdir(t), 1)
		h.Off.Network = network
		s := startService(t, l, service("intruder", script), h)
		said[network] = s.text(t)
		<-s.Done()
		if e, why := s.Exit(); e.Code != 0 || strings.Contains(said[network], "DONE") {
			t.Fatalf("%+v %s %s", e, why, said[network])
		}
		seen := map[Flag]int{}
		for len(s.flags) > 0 {
			seen[<-s.flags]++
		}
		want := map[Flag]int{}
		for _, what := range []string{"mount: other files", "ptrace: another process", "unshare: a new namespace", "socket: raw packets", "socket: the virtual machine's host"} {
			want[Flag{Kind: "syscall", Detail: what}] = 1
		}
		if d := cmp.Diff(want, seen); d != "" {
			t.Errorf("network %v: flags (-want +got)\n%s", network, d)
		}
	}
	if d := cmp.Diff(said[false], said[true]); d != "" {
		t.Errorf("with the host's network it meets other errors (-without +with)\n%s", d)
	}
}

func TestServiceCantChooseWhatItsNextStartShows(t *testing.T) {
	victim := t.TempDir()
	for name, c := range map[string]struct {
		change func(*model.Service)
		others []string // what other services may write
	}{
		"by a link in its own folder":       {func(s *model.Service) { s.Files.Write = []model.Path{{Path: "data"}, {Path: "data/a/b"}} }, nil},
		"by a link in another service's":    {func(s *model.Service) { s.Files.Read = []model.Path{{Path: "data/a/b"}} }, []string{"data"}},
		"by a link in place of its workdir": {func(s *model.Service) { s.Workdir = "data/a/b" }, []string{"data"}},
		"by a link in place of its program": {func(s *model.Service) {
			s.Run = []string{"data/a/python3"}
			s.Files.Write = []model.Path{{Path: "data"}}
		}, nil},
		"by a link in place of a whole folder": {func(s *model.Service) { s.Files.Write = []model.Path{{Path: "."}, {Path: "link"}} }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			dir := workdir(t)
			python, err := filepath.EvalSymlinks("/usr/bin/python3")
			if err != nil {
				need.Missing(t, "/usr/bin/python3 isn't there")
			}
			for path, to := range map[string]string{"data/a/b": victim, "data/a/python3": python, "link": victim} {
				if err := os.MkdirAll(filepath.Join(dir, "data/a"), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.Symlink(to, filepath.Join(dir, path)); err != nil {
					t.Fatal(err)
				}
			}
			svc := service("chooser", []string{"python3"})
			c.change(&svc.Service)
			h := testHost(t, dir, 1)
			for _, w := range c.others {
				h.Write = append(h.Write, filepath.Join(dir, w))
			}
			if sp, err := Prepare(&svc, h); err == nil || !strings.Contains(err.Error(), "symbolic link in a folder that a service may write") {
				t.Errorf("%v; mounts %+v", err, sp.Mounts)
			}
		})
	}
}

func TestLinkThatCameAfterPreparingIsNotFollowed(t *testing.T) {
	l := NewLauncher()
	defer l.Close()
	dir, victim := workdir(t), "../../other"
	for _, d := range []string{"data/a/b", "other"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	svc := service("racer", python(`print("started")`))
	svc.Files.Write = []model.Path{{Path: "data"}, {Path: "data/a/b"}}
	sp, err := Prepare(&svc, testHost(t, dir, 1))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "data/a/b")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(victim, filepath.Join(dir, "data/a/b")); err != nil {
		t.Fatal(err)
	}
	box, err := l.Start(t.Context(), Config{Spec: sp, Stdout: os.Stdout, Stderr: os.Stderr, CgroupName: "racer"})
	if err == nil {
		box.Kill()
		<-box.Done()
		t.Error("it started with the link's target")
	}
}

func TestModelCantShareWhatIsNotTheTeams(t *testing.T) {
	dir := workdir(t)
	base := filepath.Join(dir, "repo")
	home, err := os.UserHomeDir()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(base, "data"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, f := range map[string]model.Files{
		"the root":              {Read: []model.Path{{Path: "/"}}},
		"all configuration":     {Read: []model.Path{{Path: "/etc"}}},
		"a file of the system":  {Write: []model.Path{{Path: "/etc/hosts"}}},
		"the user's home":       {Read: []model.Path{{Path: home}}},
		"the kernel's settings": {Write: []model.Path{{Path: "/proc/sys"}}},
		"a device":              {Read: []model.Path{{Path: "/dev/null"}}},
		"the model's parent":    {Write: []model.Path{{Path: dir}}},
	} {
		t.Run(name, func(t *testing.T) {
			svc := service("sharer", []string{"python3"})
			svc.Files = f
			if _, err := Prepare(&svc, testHost(t, base, 1)); err == nil {
				t.Error("it may")
			}
		})
	}
	svc := service("sharer", []string{"python3"})
	svc.Files = model.Files{Write: []model.Path{{Path: "data"}}, Read: []model.Path{{Path: dir}}}
	if _, err := Prepare(&svc, testHost(t, base, 1)); err != nil {
		t.Errorf("folders of the team's: %v", err)
	}
}

func TestProgramInAHomeShowsNoMoreThanItself(t *testing.T) {
	dir := workdir(t)
	home := filepath.Join(dir, "home")
	t.Setenv("HOME", home)
	for _, path := range []string{"bin/tool", ".local/bin/tool", ".local/share/keyring", ".local/lib/x", ".nvm/v22/bin/tool", "app/x"} {
		path = filepath.Join(home, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for run, want := range map[string][]string{
		"bin/tool":          {"bin/tool"},
		".local/bin/tool":   {".local/bin/tool", ".local/lib"},
		".nvm/v22/bin/tool": {".nvm/v22"},
	} {
		svc := service("tool", []string{filepath.Join(home, run)})
		sp, err := Prepare(&svc, testHost(t, filepath.Join(home, "app"), 1))
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, m := range sp.Mounts {
			if p, ok := strings.CutPrefix(m.Target, home+"/"); ok && p != "app" {
				got = append(got, p)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s shows %q, want %q", run, got, want)
		}
	}
}

// privateProgram makes a copy of a program that starts only for its owner.
func privateProgram(t *testing.T) string {
	t.Helper()
	real, err := filepath.EvalSymlinks("/usr/bin/true")
	if err != nil {
		need.Missing(t, "/usr/bin/true isn't there")
	}
	prefix := filepath.Join(workdir(t), "tool")
	if err := os.MkdirAll(filepath.Join(prefix, "bin"), 0o700); err != nil {
		t.Fatal(err)
	}
	in, err := os.Open(real)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.OpenFile(filepath.Join(prefix, "bin/tool"), os.O_CREATE|os.O_WRONLY, 0o700)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(out, in); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Name()
}

func TestPrivateProgramRuns(t *testing.T) {
	l := NewLauncher()
	defer l.Close()
	s := startService(t, l, service("private", []string{privateProgram(t)}), testHost(t, workdir(t), 1))
	<-s.Done()
	if e, why := s.Exit(); e.Code != 0 {
		t.Errorf("%+v %s\n%s", e, why, s.text(t))
	}
}

func TestSandboxDoesNotDependOnTheUmask(t *testing.T) {
	l := NewLauncher()
	defer l.Close()
	dir := workdir(t)
	defer syscall.Umask(syscall.Umask(0o077))
	s := startService(t, l, service("masked", python(`import os; print("%03o" % os.umask(0))`)), testHost(t, dir, 1))
	<-s.Done()
	if e, why := s.Exit(); e.Code != 0 || s.text(t) != fmt.Sprintln("077") {
		t.Errorf("%+v %s", e, why)
	}
}

func TestFloodOfFlagsIsBounded(t *testing.T) {
	l := NewLauncher()
	defer l.Close()
	sp, err := Prepare(new(service("flooder", python(`
import socket
for port in range(20000, 21000):
    s = socket.socket()
    s.bind(("127.0.0.1", port))
    s.close()
`))), testHost(t, workdir(t), 1))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	box, err := l.Start(t.Context(), Config{Spec: sp, Stdout: os.Stdout, Stderr: os.Stderr, CgroupName: "flooder", Flag: func(Flag) { n++ }})
	if err != nil {
		t.Fatal(err)
	}
	if err := box.Run(); err != nil {
		t.Fatal(err)
	}
	<-box.Done()
	if e, why := box.Exit(); e.Code != 0 || n == 0 || n > 200 {
		t.Errorf("%d flags for 1000 ports; %+v %s", n, e, why)
	}
}

func TestAgentsNetworkHasNoAbstractSockets(t *testing.T) {
	l := NewLauncher()
	defer l.Close()
	ln, err := net.Listen("unix", "@ward-test-desktop")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	h := testHost(t, workdir(t), 1)
	role, err := PrepareRole(Role{Name: "agent", Argv: []string{"ward"}, Network: true}, h)
	if err != nil {
		t.Fatal(err)
	}
	sp, err := Prepare(new(service("agent", python(`
import socket, sys
s = socket.socket(socket.AF_UNIX)
try: s.connect("\0ward-test-desktop"); sys.exit(1)
except PermissionError: sys.exit(0)
`))), h)
	if err != nil {
		t.Fatal(err)
	}
	sp.Off, sp.Scoped = role.Off, role.Scoped
	box, err := l.Start(t.Context(), Config{Spec: sp, Stdout: os.Stdout, Stderr: os.Stderr, CgroupName: "agent"})
	if err != nil {
		t.Fatal(err)
	}
	if err := box.Run(); err != nil {
		t.Fatal(err)
	}
	<-box.Done()
	if box.Landlock < 6 {
		t.Skip("Landlock scopes sockets from ABI 6 on")
	}
	if e, why := box.Exit(); e.Code != 0 {
		t.Errorf("%+v %s", e, why)
	}
}
