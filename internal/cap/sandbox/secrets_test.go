package sandbox

import (
	"bufio"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/model/phrase"
	"github.com/wardhq/ward/internal/plan"
)

// withSecrets is a service that gets secrets.
func withSecrets(name, script string) plan.Service {
	s := service(name, python(script))
	s.Secrets = []model.SecretUse{{Secret: "token"}, {Secret: "key", Delivery: phrase.Delivery{Env: "API_KEY"}}}
	return s
}

// delivered starts a service with its secrets; talk is its standard input.
func delivered(t *testing.T, l *Launcher, svc plan.Service, v Secrets) (s *started, talk *os.File) {
	t.Helper()
	sp, err := Prepare(&svc, testHost(t, workdir(t), 1))
	if err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	in, talk, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	box, err := l.Start(t.Context(), Config{Spec: sp, Stdin: in, Stdout: w, Stderr: w, CgroupName: string(svc.Name)})
	w.Close()
	in.Close()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { talk.Close(); box.Kill(); <-box.Done(); r.Close() })
	if err := box.Deliver(v); err != nil {
		t.Fatal(err)
	}
	if err := box.Run(); err != nil {
		t.Fatal(err)
	}
	return &started{Sandbox: box, out: r}, talk
}

const probing = `
import os, json, stat, ctypes, sys
fd = int(os.environ["WARD_SECRETS_FD"])
print("fd", sorted(json.loads(os.pread(fd, 1 << 20, 0))["values"]))
print("env", os.environ.get("API_KEY"))
print("files", sorted(os.listdir("/run/secrets")))
st = os.stat("/run/secrets/token")
print("mode", oct(stat.S_IMODE(st.st_mode)), st.st_uid == os.getuid())
print("value", open("/run/secrets/token").read())
def attempt(name, f):
    try:
        f()
        print("BROKE", name)
    except OSError as e:
        print("refused", name, e.errno)
attempt("write", lambda: open("/run/secrets/token", "w"))
attempt("chmod", lambda: os.chmod("/run/secrets/token", 0o777))
attempt("link", lambda: os.symlink("/tmp/x", "/run/secrets/other"))
attempt("unlink", lambda: os.unlink("/run/secrets/token"))
attempt("rename", lambda: os.rename("/run/secrets/token", "/run/secrets/t"))
attempt("swap the folder", lambda: os.rename("/run/secrets", "/run/s"))
attempt("write the descriptor", lambda: os.pwrite(fd, b"x", 0))
attempt("cut the descriptor", lambda: os.ftruncate(fd, 0))
libc = ctypes.CDLL(None, use_errno=True)
def remount():
    if libc.mount(b"none", b"/run/secrets", None, 32 | 4096, None) != 0:
        raise OSError(ctypes.get_errno(), "mount")
attempt("remount", remount)
attempt("find the writable mount", lambda: os.listdir("/.secrets"))
attempt("read init's descriptors", lambda: os.listdir("/proc/1/fd"))
sys.stdout.flush()
os.set_blocking(0, True)
for line in sys.stdin:
    print("now", open("/run/secrets/token").read(), sorted(os.listdir("/run/secrets")))
    sys.stdout.flush()
`

func TestSecretsReachOnlyTheirService(t *testing.T) {
	l := NewLauncher()
	defer l.Close()
	s, talk := delivered(t, l, withSecrets("reader", probing), Secrets{
		Values: map[string][]byte{"token": []byte("tok-1"), "key": []byte("key-1")}, Env: map[string]string{"API_KEY": "key"},
	})
	lines := bufio.NewScanner(s.out)
	var seen []string
	for lines.Scan() {
		seen = append(seen, lines.Text())
		if strings.Contains(lines.Text(), "init's descriptors") {
			break
		}
	}
	text := strings.Join(seen, "\n")
	t.Log(text)
	for _, want := range []string{"fd ['key', 'token']", "env key-1", "files ['token']", "mode 0o400 True", "value tok-1"} {
		if !strings.Contains(text, want) {
			t.Errorf("lacks %q", want)
		}
	}
	if strings.Contains(text, "BROKE") || strings.Count(text, "refused") != 11 {
		t.Error("an attack on the secrets' folder succeeded, or wasn't tried")
	}

	// A new value takes the old one's place at once; what isn't given any more goes.
	if err := s.Deliver(Secrets{Values: map[string][]byte{"token": []byte("tok-2"), "more": []byte("m"), "key": []byte("key-1")}, Env: map[string]string{"API_KEY": "key"}}); err != nil {
		t.Fatal(err)
	}
	const want = "now tok-2 ['more', 'token']"
	for got := ""; got != want; {
		if _, err := io.WriteString(talk, "look\n"); err != nil || !lines.Scan() {
			<-s.Done()
			e, why := s.Exit()
			t.Fatalf("the service has ended: %v %+v %s", err, e, why)
		}
		if got = lines.Text(); got != want && !strings.HasPrefix(got, "now tok-1 ") && !strings.HasPrefix(got, "now tok-2 ") {
			t.Fatalf("half of a value was seen: %q", got)
		}
	}

	// Another service of the same launcher sees nothing of it, not even the folder.
	other := startService(t, l, service("other", python(`
import os
print("exists", os.path.exists("/run/secrets"), "fd", os.environ.get("WARD_SECRETS_FD"), "fds", sorted(os.listdir("/proc/self/fd")))
`)), testHost(t, workdir(t), 2))
	if got := other.text(t); !strings.Contains(got, "exists False fd None fds ['0', '1', '2', '3']") {
		t.Errorf("another service: %s", got)
	}
}

func TestServiceWithSecretsDoesNotStartWithout(t *testing.T) {
	l := NewLauncher()
	defer l.Close()
	svc := withSecrets("early", "print('ran')")
	sp, err := Prepare(&svc, testHost(t, workdir(t), 1))
	if err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	box, err := l.Start(t.Context(), Config{Spec: sp, Stdout: w, Stderr: w, CgroupName: "early"})
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { box.Kill(); <-box.Done() }()
	_ = box.Run() // it may have ended already
	<-box.Done()
	if b, err := io.ReadAll(r); err != nil || strings.Contains(string(b), "ran") {
		t.Errorf("it ran: %q, %v", b, err)
	}
}
