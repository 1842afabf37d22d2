package sandbox

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wardhq/ward/internal/cap/sandbox/internal/spec"
	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/plan"
)

func TestMain(m *testing.M) {
	Stage(os.Args, func(args []string) int {
		fmt.Println("probe", strings.Join(args, " "), os.Getuid())
		return 7
	})
	os.Exit(m.Run())
}

// testHost is this machine as the sandbox of the i-th service sees it.
func testHost(t testing.TB, base string, i int) Host {
	h := Host{Base: base, Path: os.Getenv("PATH"), UID: os.Getuid(), GID: os.Getgid()}
	if os.Getuid() == 0 {
		h.Root, h.UID, h.GID = true, FirstUID+i, FirstUID+i
	}
	return h
}

// started is a sandbox under test with what it printed.
type started struct {
	*Sandbox
	out   *os.File
	flags chan Flag
}

func (s *started) text(t testing.TB) string {
	t.Helper()
	b, err := io.ReadAll(s.out)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func startService(t testing.TB, l *Launcher, svc plan.Service, h Host) *started {
	t.Helper()
	sp, err := Prepare(&svc, h)
	if err != nil {
		t.Fatal(err)
	}
	return startSpec(t, l, sp)
}

func startSpec(t testing.TB, l *Launcher, sp spec.Spec) *started {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	s := &started{out: r, flags: make(chan Flag, 100)}
	box, err := l.Start(t.Context(), Config{Spec: sp, Stdout: w, Stderr: w, Flag: func(f Flag) { s.flags <- f }, CgroupName: sp.Name})
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	s.Sandbox = box
	t.Cleanup(func() { box.Kill(); <-box.Done(); r.Close() })
	if err := box.Run(); err != nil {
		t.Fatal(err)
	}
	return s
}

func python(script string) []string { return []string{"python3", "-c", script} }

// workdir makes a folder that a sandbox may show, outside the test's private one if that is closed to others.
func workdir(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	for d := dir; strings.HasPrefix(d, os.TempDir()+"/"); d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func service(name string, run []string) plan.Service {
	return plan.Service{Service: model.Service{Name: model.ServiceName(name), Run: run, Workdir: ".", Runtime: model.RuntimePython}}
}

func TestServiceSeesOnlyItsOwnWorld(t *testing.T) {
	l := NewLauncher()
	defer l.Close()
	dir := workdir(t)
	s := startService(t, l, service("alone", python(`
import os, socket
print("root", sorted(os.listdir("/")))
print("pid", os.getpid(), "procs", [p for p in os.listdir("/proc") if p.isdigit()])
print("if", [n for _, n in socket.if_nameindex()])
print("host", socket.gethostname())
print("hosts", open("/etc/hosts").read())
print([l for l in open("/proc/self/status") if l.startswith(("Cap", "NoNewPrivs", "Seccomp", "Uid"))])
print(os.environ)
`)), testHost(t, dir, 1))
	text := s.text(t)
	t.Log(text)
	<-s.Done()
	if e, why := s.Exit(); e.Code != 0 {
		t.Fatalf("exit %+v %s", e, why)
	}
	for _, want := range []string{"if ['lo']", "host alone", "'1'", "CapEff:\\t0000000000000000", "CapBnd:\\t0000000000000000", "NoNewPrivs:\\t1", "Seccomp:\\t2"} {
		if !strings.Contains(text, want) {
			t.Errorf("output lacks %q", want)
		}
	}
}

// TestSamePortAsUpstream is the commonest layout: every service listens on 8080 on all addresses.
func TestServiceBindsThePortThatItsUpstreamHasToo(t *testing.T) {
	l := NewLauncher()
	defer l.Close()
	dir := workdir(t)
	svc := service("web", python(`
import socket, threading, sys
for fam, addr in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
    s = socket.socket(fam)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if fam == socket.AF_INET6:
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    s.bind((addr, 8080)); s.listen()
    if fam == socket.AF_INET: first = s
c = socket.create_connection(("catalog", 8080)); c.sendall(b"to catalog"); print("upstream says", c.recv(100)); sys.stdout.flush()
c, _ = first.accept(); c.sendall(b"from web"); c.close()
`))
	svc.Listen = []model.Listen{{Protocol: model.HTTP, Port: 8080}}
	svc.Upstreams = []plan.Upstream{{Target: "catalog", Hosts: []string{"catalog"}, IP: "127.64.0.1", Port: 8080}}
	s := startService(t, l, svc, testHost(t, dir, 2))
	ln, err := net.FileListener(s.Listeners[0])
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	ln.(*net.TCPListener).SetDeadline(time.Now().Add(20 * time.Second))
	c, err := ln.Accept()
	if err != nil {
		t.Fatal(err, s.text(t))
	}
	buf := make([]byte, 100)
	n, _ := c.Read(buf)
	if string(buf[:n]) != "to catalog" {
		t.Fatalf("upstream got %q", buf[:n])
	}
	io.WriteString(c, "hello")
	if got := dialIn(t, s.Sandbox, 8080); got != "from web" {
		t.Errorf("inbound got %q", got)
	}
	if text := s.text(t); !strings.Contains(text, "b'hello'") {
		t.Errorf("service printed %q", text)
	}
}

// dialIn connects to the service's port from outside, and reads what it says.
func dialIn(t *testing.T, s *Sandbox, port int) string {
	t.Helper()
	ch, err := s.AttachAgent()
	if err != nil {
		t.Fatal(err)
	}
	in := OpenInbound(ch)
	defer in.Close()
	c, err := in.Dial(t.Context(), port)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	b, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestUnknownNamesAndPortsAreFlagged(t *testing.T) {
	l := NewLauncher()
	defer l.Close()
	s := startService(t, l, service("nosy", python(`
import socket
try: socket.getaddrinfo("evil.example", 80)
except OSError as e: print("refused", e)
s = socket.socket(); s.bind(("0.0.0.0", 4444)); print("bound", s.getsockname())
`)), testHost(t, workdir(t), 3))
	text := s.text(t)
	<-s.Done()
	if !strings.Contains(text, "refused") || !strings.Contains(text, "127.0.0.1") {
		t.Errorf("printed %q", text)
	}
	seen := map[string]bool{}
	for len(s.flags) > 0 {
		f := <-s.flags
		seen[f.Kind+" "+strings.Fields(f.Detail)[0]] = true
	}
	if !seen["dns evil.example"] || !seen["bind port"] {
		t.Errorf("flags %v", seen)
	}
}

// TestProgramsOfAnIntruderAreFlagged: those that aren't the service's. They fail as they did before, and its own run.
func TestProgramsOfAnIntruderAreFlagged(t *testing.T) {
	l := NewLauncher()
	defer l.Close()
	s := startService(t, l, service("broken-into", python(`
import os, subprocess, sys, threading
open("/tmp/dropped", "w").write("#!/bin/sh\n"); os.chmod("/tmp/dropped", 0o755)
os.symlink("/tmp/dropped", "/tmp/link")
for path in ["/bin/sh", "/tmp/dropped", "./link", "/nowhere/at/all", "/proc/self/fd/0"]:
    try: subprocess.run([path, "-c", "id"], cwd="/tmp")
    except OSError as e: print("exec", path, e.errno)
def again(): print("again", subprocess.run([sys.executable, "-c", "print('child')"]).returncode)
threads = [threading.Thread(target=again) for _ in range(4)]
for t in threads: t.start()
for t in threads: t.join()
`)), testHost(t, workdir(t), 3))
	text := s.text(t)
	<-s.Done()
	for _, want := range []string{"exec /bin/sh 2", "exec /tmp/dropped 13", "exec ./link 13", "exec /nowhere/at/all 2", "exec /proc/self/fd/0 "} {
		if !strings.Contains(text, want) {
			t.Errorf("%q isn't in what it printed: %q", want, text)
		}
	}
	if n := strings.Count(text, "again 0"); n != 4 {
		t.Errorf("its own program ran %d times of 4: %q", n, text)
	}
	seen := map[string]bool{}
	for len(s.flags) > 0 {
		f := <-s.flags
		seen[f.Kind+" "+f.Detail] = true
	}
	want := map[string]bool{"exec /bin/sh": true, "exec /tmp/dropped": true, "exec /tmp/link": true, "exec /proc/self/fd/0": true}
	if d := cmp.Diff(want, seen); d != "" {
		t.Error(d)
	}
}

// TestConnectionsAndWritesThatLeadNowhereAreFlagged, by whatever name; those that lead somewhere aren't. All of them end as they did before.
func TestConnectionsAndWritesThatLeadNowhereAreFlagged(t *testing.T) {
	l := NewLauncher()
	defer l.Close()
	dir := workdir(t)
	for name, text := range map[string]string{"page.html": "old", "__pycache__/x": "", "data/.keep": "", "static/.keep": ""} {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	svc := service("broken-into", python(`
import os, socket, threading
def tried(name, f):
    try: f(); print(name, "done")
    except OSError as e: print(name, "refused")
def write(path, flags=os.O_WRONLY, **k): os.close(os.open(path, flags, **k))
def connect(family, to, kind=socket.SOCK_STREAM):
    s = socket.socket(family, kind); s.settimeout(1); s.connect(to); s.close()
server = socket.socket(); server.bind(("127.0.0.1", 8080)); server.listen()
here = os.open(".", os.O_RDONLY | os.O_DIRECTORY)
os.symlink(os.getcwd(), "/tmp/link")
unix = socket.socket(socket.AF_UNIX); unix.bind("/tmp/socket"); unix.listen()
tried("own port", lambda: connect(socket.AF_INET, ("127.0.0.1", 8080)))
tried("own port, any", lambda: connect(socket.AF_INET, ("0.0.0.0", 8080)))
tried("unix", lambda: connect(socket.AF_UNIX, "/tmp/socket"))
tried("datagram", lambda: connect(socket.AF_INET, ("127.0.0.1", 8125), socket.SOCK_DGRAM))
tried("scratch", lambda: write("/tmp/mine", os.O_WRONLY | os.O_CREAT))
tried("null", lambda: write("/dev/null"))
tried("self", lambda: write("/proc/self/comm"))
tried("declared", lambda: write("data/new", os.O_RDWR | os.O_CREAT))
tried("declared folder", lambda: (os.mkdir("data/d"), os.rename("data/d", "data/e"), os.rmdir("data/e"), os.unlink("data/new")))
tried("read", lambda: write("page.html", os.O_RDONLY))
tried("nothing there", lambda: write("none/at/all", os.O_WRONLY | os.O_CREAT))
tried("cache", lambda: write("__pycache__/y", os.O_WRONLY | os.O_CREAT))
tried("folder that is there", lambda: os.makedirs("static", exist_ok=True))
tried("make or read", lambda: write("page.html", os.O_RDONLY | os.O_CREAT))
tried("own output", lambda: write("/dev/stdout"))
tried("PAGE", lambda: write("page.html"))
tried("NEW", lambda: write("new.html", os.O_WRONLY | os.O_CREAT))
tried("LINK", lambda: write("/tmp/link/other.html", os.O_WRONLY | os.O_CREAT))
tried("FOLDER", lambda: os.mkdir("folder", dir_fd=here))
tried("REMOVE", lambda: os.unlink("page.html", dir_fd=here))
tried("RENAME", lambda: os.rename("static", "gone"))
tried("PUT", lambda: os.rename("/tmp/mine", "put.html"))
tried("SYMLINK", lambda: os.symlink("/tmp/mine", "symlink.html"))
tried("CWD", lambda: write("/proc/self/cwd/cwd.html", os.O_WRONLY | os.O_CREAT))
tried("ROOT", lambda: write("/proc/self/root" + os.getcwd() + "/root.html", os.O_WRONLY | os.O_CREAT))
os.symlink(os.getcwd() + "/static", "/tmp/deep")
tried("UP", lambda: write("/tmp/deep/../up.html", os.O_WRONLY | os.O_CREAT))
os.dup2(here, 50)
tried("DESCRIPTOR", lambda: write("/dev/fd/50/fd.html", os.O_WRONLY | os.O_CREAT))
tried("KERNEL", lambda: write("/proc/sys/kernel/core_pattern"))
thread = threading.Thread(target=lambda: tried("THREAD", lambda: os.truncate("/etc/hosts", 0))); thread.start(); thread.join()
tried("ADDRESS", lambda: connect(socket.AF_INET, ("192.0.2.1", 443)))
tried("ADDRESS6", lambda: connect(socket.AF_INET6, ("2001:db8::1", 8080)))
tried("MAPPED", lambda: connect(socket.AF_INET6, ("::ffff:192.0.2.2", 443)))
tried("PORT", lambda: connect(socket.AF_INET, ("127.0.0.1", 6379)))
`))
	svc.Listen = []model.Listen{{Protocol: model.HTTP, Port: 8080}}
	svc.Files.Write = []model.Path{{Path: "data"}}
	s := startService(t, l, svc, testHost(t, dir, 3))
	text := s.text(t)
	<-s.Done()
	for line := range strings.Lines(text) {
		name, how, _ := strings.Cut(strings.TrimSpace(line), " ")
		refused := name == strings.ToUpper(name)
		switch {
		case strings.HasPrefix(line, "nothing"), strings.HasPrefix(line, "cache"), strings.HasPrefix(line, "self"), strings.HasPrefix(line, "own output"): // refused, and no sign
		case refused != strings.HasSuffix(how, "refused"):
			t.Error(line)
		}
	}
	if n := strings.Count(text, "\n"); n != 33 {
		t.Errorf("%d of 33 were tried: %s", n, text)
	}
	seen := map[string]bool{}
	for len(s.flags) > 0 {
		f := <-s.flags
		seen[f.Kind+" "+strings.ReplaceAll(f.Detail, dir, "DIR")] = true
	}
	want := map[string]bool{
		"write DIR/page.html": true, "write DIR/new.html": true, "write DIR/other.html": true, "write DIR/put.html": true, "write DIR/symlink.html": true, "write DIR/cwd.html": true, "write DIR/root.html": true, "write DIR/up.html": true, "write DIR/fd.html": true, "write DIR/folder": true, "write DIR/static": true,
		"write /proc/sys/kernel/core_pattern": true, "write /etc/hosts": true,
		"connect 192.0.2.1:443": true, "connect [2001:db8::1]:8080": true, "connect 192.0.2.2:443": true, "connect 127.0.0.1:6379": true,
	}
	if d := cmp.Diff(want, seen); d != "" {
		t.Error(d)
	}
}

func TestProbeRunsUnderTheServicesRestrictions(t *testing.T) {
	l := NewLauncher()
	defer l.Close()
	s := startService(t, l, service("victim", python("import time; time.sleep(30)")), testHost(t, workdir(t), 4))
	r, w, _ := os.Pipe()
	null, _ := os.Open("/dev/null")
	defer null.Close()
	e, err := s.Probe(context.Background(), []string{"a", "b"}, null, w, w)
	w.Close()
	b, _ := io.ReadAll(r)
	if err != nil || e.Code != 7 {
		t.Fatalf("probe: %+v %v %s", e, err, b)
	}
	if want := fmt.Sprintf("probe a b %d\n", testHost(t, "", 4).UID); string(b) != want {
		t.Errorf("probe printed %q, want %q", b, want)
	}
}

// TestModelStaysHiddenWhenItIsSavedAnew: the workdir is the folder of ward.yaml, as in most first models, and editors save by
// renaming a new file over the old one.
func TestModelStaysHiddenWhenItIsSavedAnew(t *testing.T) {
	const look = `
import os, time
def look():
    try: model = open("ward.yaml").read()
    except OSError as e: model = type(e).__name__
    try: state = os.listdir(".ward")
    except OSError as e: state = type(e).__name__
    print("model", model, "state", state, "code", open("code.py").read(), flush=True)
look()
while not os.path.exists("sub/saved"): time.sleep(0.01)
look()
`
	write := func(dir, name, text string) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name   string
		hidden bool
		want   string
	}{
		{"hidden", true, "model FileNotFoundError state FileNotFoundError code x\nmodel FileNotFoundError state FileNotFoundError code x"},
		{"not hidden, so the test can fail", false, "model old state ['key'] code x\nmodel new state ['key'] code x"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := NewLauncher()
			defer l.Close()
			dir := workdir(t)
			for name, text := range map[string]string{"ward.yaml": "old", ".ward/key": "k", "code.py": "x", "sub/a": ""} {
				write(dir, name, text)
			}
			h := testHost(t, dir, 5)
			if c.hidden {
				h.Hide = []string{filepath.Join(dir, ".ward"), filepath.Join(dir, "ward.yaml")}
			}
			s := startService(t, l, service("reader", python(look)), h)
			lines := bufio.NewScanner(s.out)
			lines.Scan()
			got := lines.Text()
			write(dir, "ward.yaml.new", "new")
			if err := os.Rename(filepath.Join(dir, "ward.yaml.new"), filepath.Join(dir, "ward.yaml")); err != nil {
				t.Fatal(err)
			}
			write(dir, "sub/saved", "")
			lines.Scan()
			if got += "\n" + lines.Text(); got != c.want {
				t.Errorf("saw %q, want %q", got, c.want)
			}
		})
	}
	svc := service("writer", python(""))
	svc.Files.Write = []model.Path{{Path: "."}}
	h := testHost(t, workdir(t), 6)
	h.Hide = []string{filepath.Join(h.Base, "ward.yaml")}
	if _, err := Prepare(&svc, h); err == nil || !strings.Contains(err.Error(), "folder of its own") {
		t.Errorf("a service may write the folder of ward.yaml: %v", err)
	}
}
