package sandbox

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/wardhq/ward/internal/wardtest/need"
)

func shell(script string) Job {
	return Job{Name: "t", Argv: []string{"sh", "-c", script}, Dir: "/", Env: []string{"PATH=/usr/bin:/bin"}, MemoryBytes: 1 << 30}
}

func TestJobReachesNoLinkLocalAddress(t *testing.T) {
	for address, ok := range map[string]bool{
		"169.254.169.254:80": false, "[fe80::1]:80": false, "[::ffff:169.254.169.254]:80": false, "nonsense": false, "10.0.0.1:443": true, "127.0.0.1:4873": true,
	} {
		if err := refuseLinkLocal("tcp", address, nil); (err == nil) != ok {
			t.Errorf("%s: %v", address, err)
		}
	}
	if c, err := dialer().DialContext(t.Context(), "tcp", "169.254.169.254:80"); err == nil || !strings.Contains(err.Error(), "may not be reached from a job") {
		t.Errorf("dialed: %v %v", c, err)
	}
	for _, place := range []string{"169.254.169.254:80", "10.0.0.1:443", "host", "host:99999", "[::1]:80"} {
		j := shell("true")
		j.Reach = []string{place}
		if _, err := PrepareJob(j, testHost(t, t.TempDir(), 1)); err == nil {
			t.Errorf("%s can be reached", place)
		}
	}
}

func TestJobWithoutReachAsksItsOwnServers(t *testing.T) {
	need.Program(t, "python3")
	outside, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer outside.Close()
	l := NewLauncher()
	defer l.Close()
	run := func(script string, reach ...string) int {
		var out bytes.Buffer
		j := shell("")
		j.Argv, j.Reach, j.Output = []string{"python3", "-c", script}, reach, &out
		e, err := l.RunJob(t.Context(), j, testHost(t, t.TempDir(), 1))
		if err != nil {
			t.Fatal(err)
		}
		t.Log(out.String())
		return e.Code
	}
	const itself = "import socket; s = socket.create_server(('127.0.0.1', 0)); socket.create_connection(s.getsockname())"
	if code := run(itself); code != 0 {
		t.Errorf("a server of its own isn't reached: %d", code)
	}
	if code := run(itself, outside.Addr().String()); code == 0 {
		t.Error("a job that reaches something connects to any port")
	}
	if code := run(fmt.Sprintf("import socket; socket.create_connection(('127.0.0.1', %d), 5)", outside.Addr().(*net.TCPAddr).Port)); code == 0 {
		t.Error("a server of the host is reached")
	}
}

// TestJobMovesFilesBetweenItsFolders: compilers do. Each set of Landlock's rules that doesn't speak of it forbids it.
func TestJobMovesFilesBetweenItsFolders(t *testing.T) {
	need.Program(t, "python3")
	l := NewLauncher()
	defer l.Close()
	for _, reach := range [][]string{nil, {"127.0.0.1:9"}} {
		var out bytes.Buffer
		j := shell("")
		j.Argv = []string{"python3", "-c", "import os; os.makedirs('/tmp/a'); os.makedirs('/tmp/b'); open('/tmp/a/f', 'w').close(); os.rename('/tmp/a/f', '/tmp/b/f')"}
		j.Reach, j.Output = reach, &out
		if e, err := l.RunJob(t.Context(), j, testHost(t, t.TempDir(), 1)); err != nil || e.Code != 0 {
			t.Errorf("%v: %+v %v %s", reach, e, err, out.String())
		}
	}
}

func TestJobTellsHowItEnded(t *testing.T) {
	l := NewLauncher()
	defer l.Close()
	h := testHost(t, t.TempDir(), 1)
	var out bytes.Buffer
	j := shell("echo said; ls /root /home /usr/local/etc 2>&1 | head -5; exit 3")
	j.Output = &out
	if e, err := l.RunJob(t.Context(), j, h); err != nil || e.Code != 3 || !strings.HasPrefix(out.String(), "said\n") {
		t.Errorf("%+v %v %q", e, err, out.String())
	}
	j.Argv[0] = "no-such-program"
	if _, err := l.RunJob(t.Context(), j, h); err == nil {
		t.Error("what isn't there was run")
	}
	home, err := os.UserHomeDir()
	if err != nil {
		t.Fatal(err)
	}
	j = shell("true")
	j.Programs = []string{home}
	if _, err := PrepareJob(j, h); err == nil {
		t.Error("the home folder was shown as a toolchain")
	}
}

func TestJobEndsWithItsContext(t *testing.T) {
	need.Program(t, "sleep")
	l := NewLauncher()
	defer l.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	j := shell("sleep 100 & sleep 100")
	j.Output = &bytes.Buffer{}
	began := time.Now()
	if _, err := l.RunJob(ctx, j, testHost(t, t.TempDir(), 1)); err == nil || time.Since(began) > 20*time.Second {
		t.Errorf("%v after %s", err, time.Since(began))
	}
}
