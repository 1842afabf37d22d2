package sandbox

import (
	"fmt"
	"slices"
	"strings"

	"github.com/wardhq/ward/internal/plan"
)

// Layer is one layer of a sandbox, in words.
type Layer struct{ Name, Text string }

// Describe says what the sandbox of a service holds it to, by the plan alone: which files a program's name leads to, and whether limits are kept by
// control groups, is decided where it starts (Prepare).
func Describe(s *plan.Service) []Layer {
	programs := []string{s.Run[0] + " with its loader or interpreter"}
	for _, p := range runtimePrograms[s.Runtime] {
		if p != s.Run[0] {
			programs = append(programs, p)
		}
	}
	reads, writes := []string{"the folder " + s.Workdir + " without ward.yaml and Ward's state", "the system's libraries"}, []string{"a /tmp of its own, in memory"}
	for _, p := range s.Files.Read {
		reads = append(reads, p.Path)
	}
	for _, p := range s.Files.Write {
		writes = append(writes, p.Path)
	}
	return []Layer{
		{"Programs", "runs " + strings.Join(programs, ", ") + "; nothing else, no shell unless one of them is; what else is tried is a finding (undeclared-program)"},
		{"Files", "reads " + strings.Join(reads, ", ") + "; writes " + strings.Join(writes, ", ") + "; another write is refused, and a finding (denied-write)"},
		{"Network", network(s)},
		{"Ports", ports(s)},
		{"System calls", "a filter's; what only leads out is refused, and a finding (bypass)"},
		{"User", "without capabilities, and none to be gained; sees no process but its own"},
		{"Limits", limits(s)},
	}
}

// network says whom a service reaches.
func network(s *plan.Service) string {
	var names []string
	for _, u := range s.Upstreams {
		if u.Target != plan.Self && !slices.Contains(names, u.Target) {
			names = append(names, u.Target)
		}
	}
	if len(names) == 0 {
		return "of its own, without a way out: it may call nobody"
	}
	return "of its own, without a way out but Ward's, to " + strings.Join(names, ", ") + "; another is refused, and a finding (direct-connect)"
}

// ports says where a service listens.
func ports(s *plan.Service) string {
	if len(s.Listen) == 0 {
		return "none declared; one that is bound all the same is a finding (new-listener), and nobody reaches it"
	}
	var all []string
	for _, l := range s.Listen {
		all = append(all, fmt.Sprint(l.Port))
	}
	return strings.Join(all, ", ") + ", for Ward to call; another one is a finding (new-listener), and nobody reaches it"
}

// limits says how much a service may use, with what Ward sets where ward.yaml says nothing.
func limits(s *plan.Service) string {
	out := []string{"memory unlimited", "processors unlimited", fmt.Sprintf("%d processes", orDefault(s.Limits.PIDs, defaultPIDs)), fmt.Sprintf("%d open files", orDefault(s.Limits.OpenFiles, defaultOpenFiles))}
	if s.Limits.MemoryBytes > 0 {
		out[0] = fmt.Sprintf("%d MB of memory", s.Limits.MemoryBytes>>20)
	}
	if s.Limits.CPU > 0 {
		out[1] = fmt.Sprintf("%v processors", s.Limits.CPU)
	}
	return strings.Join(out, ", ")
}
