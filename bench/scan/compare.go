package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/wardhq/ward/internal/cap/scan"
	"github.com/wardhq/ward/internal/finding"
)

// wardScan is what `ward scan` does for the dependencies of a tree, at a time (RFC 3339).
func wardScan(db, dir, at string) error {
	now, err := time.Parse(time.RFC3339, at)
	if err != nil {
		return err
	}
	report, err := scan.Run(context.Background(), scan.Request{Dir: dir, Name: dir, DB: db, Parts: []string{"dependencies"}, Now: now})
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(report.Findings)
}

func index(data string) string { return filepath.Join(data, "index") }

// wardBuild is what `ward scan db update` does with a folder of zips.
func wardBuild(data string) error {
	start := time.Now()
	info, err := scan.BuildData(context.Background(), index(data), []scan.DataSource{{Location: filepath.Join(data, "osv-scalibr")}}, scan.DataOptions{})
	if err != nil {
		return err
	}
	fi, err := os.Stat(index(data))
	if err != nil {
		return err
	}
	fmt.Printf("%d advisories, %d withdrawn, %d unreadable: index of %.1f MB built in %.1f s, ", info.Advisories, info.Withdrawn, info.Unreadable, float64(fi.Size())/1e6, time.Since(start).Seconds())
	return nil
}

// weakness is one finding of one part: the ids that it goes by.
type weakness struct {
	part   string // ecosystem, name, version
	ids    []string
	unsure bool
}

func compare(args []string) error {
	set := flag.NewFlagSet("compare", flag.ExitOnError)
	data := set.String("data", "", "what `data` made")
	osv := set.String("osv-scanner", "osv-scanner", "the program")
	rounds := set.Int("rounds", 5, "scans of each tree by each program; the fastest counts")
	set.Parse(args) //nolint:errcheck // it exits

	self, err := os.Executable()
	if err != nil {
		return err
	}
	// In a process of its own: what this one has used at most, its children begin with.
	out, c, err := run(nil, self, "build", *data)
	if err != nil {
		return err
	}
	fmt.Printf("%s%.1f s of CPU, %.0f MB\n\n", out, c.cpu.Seconds(), c.memory)
	db := index(*data)
	info, err := scan.Data(db)
	if err != nil {
		return err
	}
	now := info.Time().Format(time.RFC3339) // the data's age isn't what is measured: the clock stands where the newest advisories do
	fmt.Print("| tree | parts' findings: both | osv-scanner alone | Ward alone | Ward unsure | CPU osv-scanner | CPU Ward | ratio | memory osv-scanner | memory Ward | ratio |\n|---|---|---|---|---|---|---|---|---|---|---|\n")
	for _, dir := range set.Args() {
		if dir, err = filepath.Abs(dir); err != nil {
			return err
		}
		var theirs, ours []weakness
		var a, b cost
		for range *rounds {
			out, c, err := run([]string{"OSV_SCALIBR_LOCAL_DB_CACHE_DIRECTORY=" + *data}, *osv, "scan", "source", "--offline", "--no-call-analysis=all", "--all-packages=false", "--no-ignore", "--format=json", "-r", dir)
			if err != nil {
				return err
			}
			a.least(c)
			if theirs, err = parseOSV(out); err != nil {
				return fmt.Errorf("osv-scanner on %s: %w", dir, err)
			}
			if out, c, err = run(nil, self, "ward", db, dir, now); err != nil {
				return err
			}
			b.least(c)
			if ours, err = parseWard(out); err != nil {
				return fmt.Errorf("Ward on %s: %w", dir, err)
			}
		}
		both, alone, more, unsure := match(theirs, ours)
		fmt.Printf("| %s | %d | %d | %d | %d | %.2f s | %.3f s | %.0f× | %.0f MB | %.0f MB | %.2f |\n", filepath.Base(dir), both, len(alone), len(more), unsure,
			a.cpu.Seconds(), b.cpu.Seconds(), a.cpu.Seconds()/b.cpu.Seconds(), a.memory, b.memory, b.memory/a.memory)
		for _, w := range alone {
			log.Printf("osv-scanner alone: %s %v", w.part, w.ids)
		}
		for _, w := range more {
			log.Printf("Ward alone: %s %v", w.part, w.ids)
		}
	}
	return nil
}

type cost struct {
	cpu    time.Duration
	memory float64 // MB
}

func (c *cost) least(d cost) {
	if c.cpu == 0 || d.cpu < c.cpu {
		*c = d
	}
}

// run gives the output and the cost of a program; exit code 1 says that there are findings. It is started by another process, `measure`: the kernel counts for a
// program's memory what the process had that started it, and this one has more than Ward.
func run(env []string, name string, args ...string) ([]byte, cost, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, cost{}, err
	}
	file := filepath.Join(os.TempDir(), fmt.Sprintf("ward-bench-%d", os.Getpid()))
	defer os.Remove(file)
	cmd := exec.Command(self, append([]string{"measure", file, name}, args...)...)
	cmd.Env = append(os.Environ(), env...)
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		return nil, cost{}, fmt.Errorf("%s: %w: %s", name, err, said.Bytes())
	}
	if out.Len() == 0 {
		return nil, cost{}, fmt.Errorf("%s says nothing but %s", name, said.Bytes())
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, cost{}, err
	}
	var micros, kib int64
	if _, err := fmt.Sscan(string(b), &micros, &kib); err != nil {
		return nil, cost{}, err
	}
	return out.Bytes(), cost{time.Duration(micros) * time.Microsecond, float64(kib) / 1024}, nil
}

// measure runs a program and writes its CPU time (µs) and memory (KiB) to a file.
func measure(file string, argv []string) error {
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil && cmd.ProcessState.ExitCode() != 1 {
		return err
	}
	usage := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	return os.WriteFile(file, fmt.Append(nil, (cmd.ProcessState.UserTime()+cmd.ProcessState.SystemTime()).Microseconds(), usage.Maxrss), 0o600)
}

func parseOSV(b []byte) ([]weakness, error) {
	var r struct {
		Results []struct {
			Packages []struct {
				Package struct{ Name, Version, Ecosystem string }
				Groups  []struct{ IDs, Aliases []string }
			}
		}
	}
	if err := json.Unmarshal(b, &r); err != nil {
		return nil, err
	}
	var out []weakness
	for _, result := range r.Results {
		for _, p := range result.Packages {
			for _, g := range p.Groups {
				out = append(out, weakness{part: part(p.Package.Ecosystem, p.Package.Name, p.Package.Version), ids: append(g.IDs, g.Aliases...)})
			}
		}
	}
	return out, nil
}

func parseWard(b []byte) ([]weakness, error) {
	// Words such as "high" are for readers: only what is compared is read.
	var list []struct {
		ID      string
		Aliases []string
		Unsure  string
		Package finding.Package
	}
	if err := json.Unmarshal(b, &list); err != nil {
		return nil, err
	}
	var out []weakness
	for _, f := range list {
		out = append(out, weakness{part(f.Package.Ecosystem, f.Package.Name, f.Package.Version), append(f.Aliases, f.ID), f.Unsure != ""})
	}
	return out, nil
}

func part(ecosystem, name, version string) string {
	return ecosystem + " " + name + " " + strings.TrimPrefix(version, "v")
}

func sameName(a, b string) bool {
	a, b = a[:strings.LastIndexByte(a, ' ')], b[:strings.LastIndexByte(b, ' ')]
	return a == b
}

// match pairs weaknesses of the same part with an id in common. A part that several files name counts once.
func match(theirs, ours []weakness) (both int, alone, more []weakness, unsure int) {
	theirs, ours = once(theirs), once(ours)
	has := func(list []weakness, w weakness) bool {
		return slices.ContainsFunc(list, func(o weakness) bool {
			same := o.part == w.part || o.unsure && sameName(o.part, w.part) // a version that isn't pinned is "" for us, its lowest bound for osv-scanner
			return same && slices.ContainsFunc(o.ids, func(id string) bool { return slices.Contains(w.ids, id) })
		})
	}
	for _, w := range theirs {
		if has(ours, w) {
			both++
		} else {
			alone = append(alone, w)
		}
	}
	for _, w := range ours {
		if w.unsure {
			unsure++
		} else if !has(theirs, w) {
			more = append(more, w)
		}
	}
	return both, alone, more, unsure
}

func once(list []weakness) []weakness {
	seen := map[string]bool{}
	return slices.DeleteFunc(list, func(w weakness) bool {
		slices.Sort(w.ids)
		key := w.part + strings.Join(slices.Compact(w.ids), " ")
		was := seen[key]
		seen[key] = true
		return was
	})
}
