package export

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wardhq/ward/internal/wardtest/need"
)

// TestRsyslogReadsWhatIsSent: a receiver that others wrote finds each event once, with its structured data.
func TestRsyslogReadsWhatIsSent(t *testing.T) {
	program := need.Program(t, "rsyslogd")
	dir := t.TempDir()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	free.Close()
	_, port, _ := net.SplitHostPort(address)
	out := filepath.Join(dir, "out")
	conf := fmt.Sprintf(`
global(workDirectory=%q net.enableDNS="off")
module(load="imtcp")
template(name="t" type="string" string="%%APP-NAME%%\t%%MSGID%%\t%%SYSLOGSEVERITY%%\t%%STRUCTURED-DATA%%\n")
input(type="imtcp" address="127.0.0.1" port=%q)
action(type="omfile" file=%q template="t")
`, dir, port, out)
	if err := os.WriteFile(filepath.Join(dir, "conf"), []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	c := exec.Command(program, "-n", "-f", filepath.Join(dir, "conf"), "-i", filepath.Join(dir, "pid"))
	c.Stderr = os.Stderr
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = c.Process.Kill()
		_ = c.Wait()
	}()
	target, err := ParseTarget("tcp://"+address, nil)
	if err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(10 * time.Second)
	var s *Sender
	for s == nil {
		x, err := Dial(t.Context(), target, Syslog)
		if err == nil {
			s = x
		} else if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	const events = 20
	for i := range events {
		r := nasty()
		r.Index = int64(i)
		if err := s.Send(&r); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	var lines []string
	for len(lines) < events+1 {
		b, _ := os.ReadFile(out)
		if lines = strings.Split(string(b), "\n"); time.Now().After(deadline) {
			t.Fatalf("%d events: %q", len(lines)-1, b)
		}
	}
	for i, line := range lines[:events] {
		f := strings.SplitN(line, "\t", 4)
		if len(f) != 4 || f[0] != "ward" || f[1] != "request.denied" || f[2] != "4" || !strings.HasPrefix(f[3], fmt.Sprintf(`[event@32473 index="%d" kind="request.denied"`, i)) ||
			!strings.Contains(f[3], `path="/a=b\\n<13>1 - forged |CEF:0|x"`) {
			t.Errorf("event %d: %q", i, line)
		}
	}
	if len(lines) != events+1 {
		t.Errorf("%d lines for %d events", len(lines)-1, events)
	}
}
