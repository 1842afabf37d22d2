package sandbox

import (
	"strings"
	"testing"

	"github.com/wardhq/ward/internal/model"
)

// TestLimitsHold shows each limit once in force and once absent.
func TestLimitsHold(t *testing.T) {
	const (
		allocate = `
try:
    b = bytearray(300 << 20); print("got it")
except MemoryError: print("refused")`
		fork = `
import os, time
n = 0
try:
    for i in range(60):
        if os.fork() == 0: time.sleep(5); os._exit(0)
        n += 1
    print("got it")
except OSError as e: print("refused after", n)`
		open = `
fs = []
try:
    for i in range(200): fs.append(open("/dev/null"))
    print("got it")
except OSError as e: print("refused")`
	)
	for _, c := range []struct {
		name, script string
		limits       model.Limits
	}{
		{"memory", allocate, model.Limits{MemoryBytes: 128 << 20}},
		{"processes", fork, model.Limits{PIDs: 30}},
		{"open files", open, model.Limits{OpenFiles: 64}},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := NewLauncher()
			defer l.Close()
			for i, limits := range []model.Limits{c.limits, {}} {
				svc := service("limited", python(c.script))
				svc.Limits = limits
				s := startService(t, l, svc, testHost(t, workdir(t), 6+i))
				text := s.text(t)
				<-s.Done()
				exit, _ := s.Exit()
				// A control group kills where an rlimit refuses.
				held := strings.Contains(text, "refused") || exit.Signal != 0
				if want := i == 0; held != want {
					t.Errorf("limits %+v: %q, %+v", limits, text, exit)
				}
			}
		})
	}
}
