package up

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/base/secret"
	"github.com/wardhq/ward/internal/seal"
	"github.com/wardhq/ward/internal/wire"
)

func TestCommandsTrustNobodyElsesSockets(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	p, err := FindPaths(filepath.Join(t.TempDir(), "ward.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(p.Run, 0o700); err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("unix", p.upSocket())
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/status", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"app":"forged"}`)) })
	go func() { _ = wire.Serve(t.Context(), ln, mux) }()
	ask := func() error { return p.Up().Call(t.Context(), http.MethodGet, "/v1/status", nil, new(Status)) }
	if err := ask(); err != nil {
		t.Errorf("in a folder of our own: %v", err)
	}
	if err := os.Chmod(p.Run, 0o777); err != nil {
		t.Fatal(err)
	}
	if ask() == nil {
		t.Error("in a folder that all may write: answered")
	}
	if err := os.Chmod(p.Run, 0o700); err != nil {
		t.Fatal(err)
	}
	if os.Getuid() != 0 {
		return // only root can make another user's folder
	}
	if err := os.Chown(filepath.Dir(p.Run), 12345, 12345); err != nil {
		t.Fatal(err)
	}
	if ask() == nil {
		t.Error("in another user's folder: answered")
	}
}

func TestStateThatCameWithARepositoryLeadsNowhere(t *testing.T) {
	dir := t.TempDir()
	victim := filepath.Join(t.TempDir(), ".bashrc")
	const before = "alias ll='ls -l'\n"
	if err := os.WriteFile(victim, []byte(before), 0o600); err != nil {
		t.Fatal(err)
	}
	p := Paths{File: filepath.Join(dir, "ward.yaml"), State: dir}
	for _, name := range []string{"up.lock", "web.log"} {
		if err := os.Symlink(victim, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if unlock, err := p.lock(); err == nil {
		unlock()
		t.Error("the lock follows a link")
	}
	if l, err := openLog(dir, "web"); err == nil {
		l.write("; run this")
		l.Close()
		t.Error("the log follows a link")
	}
	if b, err := os.ReadFile(victim); err != nil || string(b) != before {
		t.Errorf("%q, %v", b, err)
	}
}

// TestWhoAsksKeepsNoSupervisorFromStarting, nor does a process that is being started when one ends.
func TestWhoAsksKeepsNoSupervisorFromStarting(t *testing.T) {
	dir := t.TempDir()
	p := Paths{File: filepath.Join(dir, "ward.yaml"), State: dir}
	ctx, stop := context.WithCancel(t.Context())
	var others sync.WaitGroup
	for _, do := range []func(){func() { _ = p.Runs() }, func() { _ = exec.Command("/bin/true").Run() }} {
		others.Go(func() {
			for ctx.Err() == nil {
				do()
			}
		})
	}
	for range 300 {
		unlock, err := p.lock()
		if err != nil {
			t.Fatal(err)
		}
		second, err := p.lock()
		if err == nil {
			second()
		}
		if fault.KindOf(err) != fault.Conflict || fault.KindOf(p.Runs()) != fault.Conflict {
			t.Errorf("two at once: %v", err)
		}
		unlock()
		if err := errors.Join(p.Runs(), p.AwaitEnd(ctx)); err != nil {
			t.Errorf("none runs: %v", err)
		}
	}
	stop()
	others.Wait()
}

// TestFolderOfTheRepositoryHandsOverNoCredential: what lies beside ward.yaml may be anybody's.
func TestFolderOfTheRepositoryHandsOverNoCredential(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	if err := os.WriteFile(seal.CredentialName, make([]byte, 32), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, from := range []string{"", ".", "./"} {
		t.Setenv("CREDENTIALS_DIRECTORY", from)
		if s, err := SealOf(seal.Systemd, nil); fault.KindOf(err) != fault.NotFound {
			t.Errorf("a credential in %q: %v, %v", from, s, err)
		}
	}
	t.Setenv("CREDENTIALS_DIRECTORY", dir)
	if _, err := SealOf(seal.Systemd, nil); err != nil {
		t.Errorf("systemd's: %v", err)
	}
}

// TestRestoreFollowsNoLink: a cloned repository may bring a .ward that leads elsewhere.
func TestRestoreFollowsNoLink(t *testing.T) {
	dir, elsewhere := t.TempDir(), t.TempDir()
	p, err := FindPaths(filepath.Join(dir, "ward.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(elsewhere, p.State); err != nil {
		t.Fatal(err)
	}
	_, err = p.Restore(t.Context(), strings.NewReader(""), secret.Bytes{})
	if fault.KindOf(err) != fault.Refused || !strings.Contains(err.Error(), "is not a folder of this user") {
		t.Errorf("restore through a link: %v", err)
	}
}
