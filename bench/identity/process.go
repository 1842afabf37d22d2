package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"
)

var ctx = context.Background()

// roles are the processes of control and gateway; the sandbox's init is their parent.
func (w *world) roles() map[string]int {
	out := map[string]int{}
	b, err := w.say("status", "--json")
	if err != nil {
		return out
	}
	var s struct {
		Roles []struct {
			Name string
			PID  int
		}
	}
	_ = json.Unmarshal(b, &s)
	for _, r := range s.Roles {
		children, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", r.PID, r.PID))
		child := 0
		if _, err := fmt.Sscan(string(children), &child); err == nil {
			out[r.Name] = child
		}
	}
	return out
}

// cpu is the time that control and gateway have used (proc_pid_stat(5), fields 14 and 15).
func (w *world) cpu() time.Duration {
	var sum int64
	for name, pid := range w.roles() {
		if name != "control" && name != "gateway" {
			continue
		}
		b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		_, rest, _ := strings.Cut(string(b), ") ")
		if f := strings.Fields(rest); len(f) > 12 {
			var user, system int64
			_, _ = fmt.Sscan(f[11]+" "+f[12], &user, &system)
			sum += user + system
		}
	}
	return time.Duration(sum) * 10 * time.Millisecond
}

// memory prints what control and gateway take: RSS, of it anonymous, and the share of PSS.
func (w *world) memory(when string) {
	for _, name := range []string{"control", "gateway"} {
		pid := w.roles()[name]
		read := func(file, key string) float64 {
			b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
			for line := range strings.Lines(string(b)) {
				if rest, ok := strings.CutPrefix(line, key+":"); ok {
					var kib float64
					_, _ = fmt.Sscan(rest, &kib)
					return kib / 1024
				}
			}
			return 0
		}
		fmt.Printf("%s, %s: RSS %.1f MiB, anonymous %.1f, of files %.1f, PSS %.1f, peak %.1f\n", when, name,
			read("status", "VmRSS"), read("status", "RssAnon"), read("status", "RssFile"), read("smaps_rollup", "Pss"), read("status", "VmHWM"))
	}
}
