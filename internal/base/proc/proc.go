// Package proc tells what trees of processes use, from /proc (proc(5)).
//
// Guarantee: one pass over /proc for all trees; a process that ends while it is read is left out. Not guaranteed: memory that processes share
// counts once for each; what a process used that ended without being waited for is lost.
package proc

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"time"
)

// Use is what the processes below one use.
type Use struct {
	CPU       time.Duration // of all, and of those that have ended and were waited for
	Memory    int64         // resident, bytes
	Processes int
}

// ticks is the unit of /proc's times, USER_HZ: 100 a second on every architecture that Go knows.
const ticks = time.Second / 100

// process is a line of /proc/PID/stat.
type process struct {
	pid, parent int
	cpu, waited time.Duration // its own, and that of children that have ended and were waited for
	memory      int64
}

// Trees returns the use of the descendants of each process in roots. A root is Ward's own init of a sandbox, whose memory isn't the service's: of
// it counts only what children used that it waited for. One that isn't there has none.
func Trees(roots []int) (map[int]Use, error) { return trees("/proc", roots) }

func trees(dir string, roots []int) (map[int]Use, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("look at processes: %w", err)
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return nil, fmt.Errorf("look at processes: %w", err)
	}
	all := map[int]process{}
	for _, name := range names {
		if name[0] < '0' || name[0] > '9' {
			continue
		}
		b, err := os.ReadFile(dir + "/" + name + "/stat")
		if err != nil {
			continue // it has ended, or isn't ours to see
		}
		if p, ok := parse(b); ok {
			all[p.pid] = p
		}
	}
	wanted := map[int]bool{}
	for _, r := range roots {
		wanted[r] = true
	}
	out := map[int]Use{}
	for _, p := range all {
		root := p.pid
		for steps := 0; !wanted[root] && root > 0 && steps < len(all); steps++ {
			root = all[root].parent // 0 for one that isn't there
		}
		if !wanted[root] {
			continue
		}
		u := out[root]
		u.CPU += p.waited
		if p.pid != root {
			u.CPU, u.Memory, u.Processes = u.CPU+p.cpu, u.Memory+p.memory, u.Processes+1
		}
		out[root] = u
	}
	return out, nil
}

// Fields of stat behind the name, which is in parentheses and may hold anything.
const (
	fieldParent = 1
	fieldTimes  = 11 // utime, stime, cutime, cstime
	fieldPages  = 21 // rss
)

func parse(b []byte) (p process, ok bool) {
	open, end := bytes.IndexByte(b, '('), bytes.LastIndexByte(b, ')')
	if open < 2 || end < open {
		return p, false
	}
	f := bytes.Fields(b[end+1:])
	if len(f) <= fieldPages {
		return p, false
	}
	n := func(b []byte) int64 {
		n, err := strconv.ParseInt(string(b), 10, 64)
		ok = ok && err == nil && n >= 0
		return n
	}
	ok = true
	p.pid, p.parent = int(n(bytes.TrimSpace(b[:open]))), int(n(f[fieldParent]))
	for i, t := range f[fieldTimes : fieldTimes+4] {
		to := &p.cpu
		if i >= 2 {
			to = &p.waited
		}
		*to += time.Duration(n(t)) * ticks
	}
	p.memory = n(f[fieldPages]) * int64(os.Getpagesize())
	return p, ok
}
