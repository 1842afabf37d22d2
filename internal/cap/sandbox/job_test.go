package sandbox

import (
	"bytes"
	"context"
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
