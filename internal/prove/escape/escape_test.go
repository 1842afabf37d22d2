package escape

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wardhq/ward/internal/cap/sandbox"
	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/plan"
)

// job is what the test's probe reads.
type job struct {
	Ground Ground
	Only   []string
}

// idleArg makes the test binary a service that does nothing.
const idleArg = "idle-service"

func TestMain(m *testing.M) {
	sandbox.Stage(os.Args, func([]string) int {
		var j job
		if err := json.NewDecoder(os.Stdin).Decode(&j); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		if err := json.NewEncoder(os.Stdout).Encode(Run(&j.Ground, j.Only...)); err != nil {
			return 1
		}
		return 0
	})
	if len(os.Args) > 1 && os.Args[1] == idleArg {
		time.Sleep(time.Minute)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// openDir makes a folder that another user may enter.
func openDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for d := dir; strings.HasPrefix(d, os.TempDir()+"/"); d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func copySelf(t *testing.T, to string) {
	t.Helper()
	b, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, b, 0o755); err != nil {
		t.Fatal(err)
	}
}

// host opens, on the host, what the attempts must not reach.
func host(t *testing.T) Ground {
	t.Helper()
	dir := openDir(t)
	g := Ground{PIDs: 64}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	secret := filepath.Join(dir, "secret")
	must(os.WriteFile(secret, []byte("the host's secret"), 0o644))
	g.Files = []string{secret, dir}
	serve := func(network, address string) net.Listener {
		ln, err := net.Listen(network, address)
		must(err)
		t.Cleanup(func() { ln.Close() })
		return ln
	}
	g.TCP = []string{serve("tcp4", "127.0.0.1:0").Addr().String()}
	socket := filepath.Join(dir, "s")
	serve("unix", socket)
	must(os.Chmod(socket, 0o777))
	g.Sockets = []string{socket}
	g.Abstract = []string{fmt.Sprintf("ward-test-%d", os.Getpid())}
	serve("unix", "@"+g.Abstract[0])
	udp, err := net.ListenPacket("udp4", "127.0.0.1:0")
	must(err)
	t.Cleanup(func() { udp.Close() })
	go func() {
		b := make([]byte, 64)
		for {
			n, from, err := udp.ReadFrom(b)
			if err != nil {
				return
			}
			_, _ = udp.WriteTo(b[:n], from)
		}
	}()
	g.UDP = []string{udp.LocalAddr().String()}
	p, err := ProcessOf(os.Getpid())
	must(err)
	g.Processes = []Process{p}
	g.ShmKey = 0x3a2d0000 + os.Getpid()
	id, err := unix.SysvShmGet(g.ShmKey, 4096, unix.IPC_CREAT|0o666)
	must(err)
	t.Cleanup(func() { _, _ = unix.SysvShmCtl(id, unix.IPC_RMID, nil) })
	return g
}

// attack runs attempts inside a sandbox with some guards off.
func attack(t *testing.T, off sandbox.Off, only ...string) map[string]Report {
	t.Helper()
	g := host(t)
	work := openDir(t)
	g.ReadOnly = []string{work}
	g.Program = filepath.Join(work, "tool")
	if err := os.WriteFile(g.Program, tinyProgram(), 0o755); err != nil {
		t.Fatal(err)
	}
	// A copy, where the service's user can find it also on the host's own file system.
	exe := filepath.Join(work, "service")
	copySelf(t, exe)
	svc := plan.Service{Service: model.Service{Name: "victim", Run: []string{exe, idleArg}, Workdir: work, Limits: model.Limits{PIDs: g.PIDs}}}
	svc.Upstreams = []plan.Upstream{{Target: "catalog", Hosts: []string{"catalog"}, IP: "127.64.0.1", Port: 8080}}
	if !off.Network {
		g.Upstreams = []string{"127.64.0.1:8080"}
	} else {
		svc.Upstreams = nil
	}
	h := sandbox.Host{Base: work, Path: os.Getenv("PATH"), UID: os.Getuid(), GID: os.Getgid(), Off: off}
	if os.Getuid() == 0 {
		h.Root, h.UID, h.GID = true, sandbox.FirstUID+40, sandbox.FirstUID+40
	}
	sp, err := sandbox.Prepare(&svc, h)
	if err != nil {
		t.Fatal(err)
	}
	l := sandbox.NewLauncher()
	t.Cleanup(l.Close)
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	box, err := l.Start(t.Context(), sandbox.Config{Spec: sp, Stdout: null, Stderr: os.Stderr, CgroupName: fmt.Sprintf("victim-%d", os.Getpid())})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { box.Kill(); <-box.Done() })
	if err := box.Run(); err != nil {
		t.Fatal(err)
	}
	out := probe(t, box, job{g, only})
	reports := map[string]Report{}
	for _, r := range out {
		reports[r.Name] = r
	}
	return reports
}

func probe(t *testing.T, box *sandbox.Sandbox, j job) (out []Report) {
	t.Helper()
	in, inW, _ := os.Pipe()
	outR, outW, _ := os.Pipe()
	defer in.Close()
	defer outR.Close()
	go func() {
		_ = json.NewEncoder(inW).Encode(j)
		inW.Close()
	}()
	said := make(chan []byte)
	go func() {
		b, _ := io.ReadAll(outR)
		said <- b
	}()
	e, err := box.Probe(t.Context(), nil, in, outW, os.Stderr)
	outW.Close()
	b := <-said
	if err != nil || e.Code != 0 {
		t.Fatalf("probe: %+v %v\n%s", e, err, b)
	}
	if err := json.Unmarshal(b, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestNoAttemptSucceeds(t *testing.T) {
	began := time.Now()
	reports := attack(t, sandbox.Off{})
	made := 0
	for _, a := range reports {
		t.Logf("%-24s %-9s %s", a.Name, a.Verdict, a.How)
		switch a.Verdict {
		case Blocked:
			made++
		case NotApplicable:
		default:
			t.Errorf("%s (%s) %s: %s; %s should stop it", a.Name, a.Tries, a.Verdict, a.How, a.Guard)
		}
	}
	t.Logf("uid %d: %d attempts blocked of %d, in %v", os.Getuid(), made, len(reports), time.Since(began).Round(time.Millisecond))
	if made < 35 {
		t.Errorf("%d attempts were made, want at least 35", made)
	}
}

// TestEachGuardIsNeeded shows attempts that only one guard stops: they work without it, and
// TestNoAttemptSucceeds shows that they don't with it.
func TestEachGuardIsNeeded(t *testing.T) {
	for name, c := range map[string]struct {
		off  sandbox.Off
		only []string
	}{
		"system-call filter": {sandbox.Off{Seccomp: true}, []string{
			"mptcp-connect", "memory-program", "clone-user", "clone3-user", "unshare-user", "vsock-socket", "io-uring", "userfaultfd", "add-key", "keyctl", "execveat", "personality", "name-to-handle",
		}},
		"Landlock":          {sandbox.Off{Landlock: true}, []string{"tcp-connect", "workdir-program", "signal-init"}},
		"private root":      {sandbox.Off{Root: true}, []string{"host-files", "host-unix-socket", "passwd", "symlink-out", "sysfs"}},
		"network namespace": {sandbox.Off{Network: true}, []string{"host-tcp", "host-udp", "host-abstract-socket"}},
	} {
		t.Run(name, func(t *testing.T) {
			reports := attack(t, c.off, c.only...)
			for _, n := range c.only {
				if r := reports[n]; r.Verdict != Succeeded {
					t.Errorf("%s without its guard: %s, %s", n, r.Verdict, r.How)
				} else {
					t.Logf("%s: %s", n, r.How)
				}
			}
		})
	}
}

// TestAsOrdinaryUser runs the tests above as a user without rights.
func TestAsOrdinaryUser(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("this is an ordinary user already")
	}
	const nobody = 65534
	dir := openDir(t)
	if err := os.Chown(dir, nobody, nobody); err != nil {
		t.Skipf("no folder for another user: %v", err)
	}
	binary := filepath.Join(dir, "escape.test")
	copySelf(t, binary)
	c := exec.CommandContext(t.Context(), binary, "-test.v", "-test.run", "^TestNoAttemptSucceeds$|^TestEachGuardIsNeeded$")
	c.Dir = dir
	c.Env = []string{"TMPDIR=" + dir, "HOME=" + dir, "PATH=/usr/bin:/bin"}
	c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := c.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Errorf("as user %d: %v", nobody, err)
	}
}

func FuzzUnmarshalVerdict(f *testing.F) {
	f.Add([]byte(`"blocked"`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var v, back Verdict
		if v.UnmarshalJSON(b) != nil {
			return
		}
		text, err := v.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		if err := back.UnmarshalJSON(text); err != nil || back != v {
			t.Errorf("%v came back as %v (%v)", v, back, err)
		}
	})
}
