package sandbox

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/wardhq/ward/internal/cap/sandbox/internal/spec"
)

// cgroup is the control groups of one sandbox; nil where the host permits none.
type cgroup struct {
	dirs []string
	cpu  bool // carries the CPU limit
}

// setting is one limit in one controller's file.
type setting struct{ file, value string }

// joinCgroup moves pid into control groups that carry the limits, as far as the host
// permits. A limit that a group carries is taken out of l; what
// stays there is for rlimits.
func joinCgroup(name string, pid int, l *spec.Limits, cpu float64) *cgroup {
	g := &cgroup{}
	if g.joinUnified(name, pid, l, cpu) {
		return g
	}
	if l.MemoryBytes > 0 && g.joinV1("memory", name, pid, setting{"memory.limit_in_bytes", strconv.FormatInt(l.MemoryBytes, 10)}) {
		l.MemoryBytes = 0
	}
	if l.PIDs > 0 && g.joinV1("pids", name, pid, setting{"pids.max", strconv.Itoa(l.PIDs)}) {
		l.PIDs = 0
	}
	if cpu > 0 {
		g.cpu = g.joinV1("cpu", name, pid, setting{"cpu.cfs_quota_us", strconv.Itoa(int(cpu * 100000))})
	}
	return g
}

// joinUnified uses the unified hierarchy (cgroup v2) below our own group, where it is
// delegated to us with its controllers.
func (g *cgroup) joinUnified(name string, pid int, l *spec.Limits, cpu float64) bool {
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(own)) {
		path, ok := strings.CutPrefix(strings.TrimSpace(line), "0::")
		if !ok {
			continue
		}
		// A group with processes can't hand on controllers; a sibling can be limited.
		parent := filepath.Dir(filepath.Join("/sys/fs/cgroup", path))
		controllers, err := os.ReadFile(filepath.Join(parent, "cgroup.subtree_control"))
		if err != nil || !strings.Contains(string(controllers), "memory") {
			return false
		}
		settings := []setting{{"memory.max", max64(l.MemoryBytes)}, {"pids.max", max64(int64(l.PIDs))}}
		if cpu > 0 && strings.Contains(string(controllers), "cpu") {
			settings = append(settings, setting{"cpu.max", fmt.Sprintf("%d 100000", int(cpu*100000))})
		}
		if !g.join(filepath.Join(parent, groupName(name)), pid, settings...) {
			return false
		}
		l.MemoryBytes, l.PIDs = 0, 0
		g.cpu = len(settings) > 2
		return true
	}
	return false
}

func max64(v int64) string {
	if v <= 0 {
		return "max"
	}
	return strconv.FormatInt(v, 10)
}

// joinV1 uses one controller of the older hierarchy.
func (g *cgroup) joinV1(controller, name string, pid int, s setting) bool {
	root := filepath.Join("/sys/fs/cgroup", controller)
	if _, err := os.Stat(filepath.Join(root, "tasks")); err != nil {
		return false
	}
	return g.join(filepath.Join(root, groupName(name)), pid, s)
}

func (g *cgroup) join(dir string, pid int, settings ...setting) bool {
	if err := os.Mkdir(dir, 0o755); err != nil && !os.IsExist(err) {
		return false
	}
	for _, s := range settings {
		if err := os.WriteFile(filepath.Join(dir, s.file), []byte(s.value), 0o644); err != nil {
			_ = os.Remove(dir) // rlimits carry the limit instead
			return false
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0o644); err != nil {
		_ = os.Remove(dir)
		return false
	}
	g.dirs = append(g.dirs, dir)
	return true
}

func groupName(name string) string { return fmt.Sprintf("ward-%d-%s", os.Getpid(), name) }

// remove deletes the groups once their processes have ended.
func (g *cgroup) remove() {
	if g == nil {
		return
	}
	for _, d := range g.dirs {
		_ = os.Remove(d) // busy groups stay empty and harmless
	}
}
