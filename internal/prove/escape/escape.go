// Package escape is a table of attempts to get out of a sandbox of Ward's, or to look out of it.
//
// Guarantee: an attempt that works says so with evidence, and none harms what it
// reaches: it opens without writing, asks with signal 0 or with arguments that
// mean nothing, and stays within a second. Not guaranteed: that a sandbox which
// stops all of them has no hole; a call counts as blocked only by the errors that a guard gives.
package escape

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

// Verdict is how an attempt ended.
type Verdict uint8

// The verdicts. The zero Verdict means that the attempt wasn't made.
const (
	Unknown Verdict = iota
	Blocked
	Succeeded
	NotApplicable
)

var verdictWords = [...]string{"unknown", "blocked", "succeeded", "n/a"}

// String is the word of reports and JSON.
func (v Verdict) String() string {
	if int(v) < len(verdictWords) {
		return verdictWords[v]
	}
	return verdictWords[Unknown]
}

// MarshalJSON writes the word of String.
func (v Verdict) MarshalJSON() ([]byte, error) { return json.Marshal(v.String()) }

// UnmarshalJSON reads what MarshalJSON writes; any other word is Unknown.
func (v *Verdict) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return fmt.Errorf("decode verdict: %w", err)
	}
	*v = Verdict(max(0, slices.Index(verdictWords[:], s)))
	return nil
}

// Result is a verdict and how it came about: an error's name, or the evidence.
type Result struct {
	Verdict Verdict `json:"verdict"`
	How     string  `json:"how"`
}

// Report is one attempt with its result.
type Report struct {
	Name  string `json:"name"`
	Kind  string `json:"kind"` // EscapeKind or SecretKind
	Tries string `json:"tries"`
	Guard string `json:"guard"` // what must stop it
	Result
}

// Process is a process of the host. Its start time tells it from one of the
// sandbox that happens to have the same number.
type Process struct {
	PID   int    `json:"pid"`
	Start uint64 `json:"start"` // clock ticks since boot (proc_pid_stat(5), field 22)
}

// Ground is what the attempts aim at beyond what every host has. All of it must be out
// of reach, except Programs and Upstreams, which are granted.
type Ground struct {
	Files     []string  `json:"files"`     // of the host, or of other services: must not be opened
	Sockets   []string  `json:"sockets"`   // paths of Unix sockets
	Abstract  []string  `json:"abstract"`  // names of abstract Unix sockets, without the NUL
	TCP       []string  `json:"tcp"`       // host:port of the host's listeners
	UDP       []string  `json:"udp"`       // host:port of the host's sockets
	Processes []Process `json:"processes"` // of the host
	ShmKey    int       `json:"shm_key"`   // of a System V segment of the host, 0 for none
	ReadOnly  []string  `json:"read_only"` // folders that are visible and must not be written
	Program   string    `json:"program"`   // an executable file that is visible and not granted; "" for none
	Upstreams []string  `json:"upstreams"` // IP:port where Ward listens for the service
	Programs  []string  `json:"programs"`  // what the service may execute
	Secrets   []string  `json:"secrets"`   // names of secrets that other services get, and this one doesn't
	PIDs      int       `json:"pids"`      // the limit of processes; 0 to leave the fork bomb out
}

// The kinds of attempts: to leave the sandbox, or to look out of it; and on secrets.
const (
	EscapeKind = "escape"
	SecretKind = "secret"
)

type attempt struct {
	name, tries, guard string
	run                func(*Ground) Result
}

// Run makes every attempt, or those that are named, one after the other.
func Run(g *Ground, only ...string) []Report {
	var out []Report
	try := func(kind string, all []attempt) {
		for _, a := range all {
			if len(only) == 0 || slices.Contains(only, a.name) {
				out = append(out, Report{Name: a.name, Kind: kind, Tries: a.tries, Guard: a.guard, Result: a.run(g)})
			}
		}
	}
	try(EscapeKind, slices.Concat(network(), files(), programs(), namespaces(), processes(), kernel(), bounds()))
	try(SecretKind, secrets())
	return out
}

func blocked(format string, args ...any) Result { return Result{Blocked, fmt.Sprintf(format, args...)} }

func succeeded(format string, args ...any) Result {
	return Result{Succeeded, fmt.Sprintf(format, args...)}
}

func notApplicable(why string) Result { return Result{NotApplicable, why} }

// unlessError is the result of an attempt that any error ends.
func unlessError(err error, evidence string) Result {
	if err != nil {
		return blocked("%v", err)
	}
	return succeeded("%s", evidence)
}

// guardErrors are what Ward's guards answer; any other answer means that the kernel
// looked at the request.
var guardErrors = [...]unix.Errno{unix.EPERM, unix.EACCES, unix.ENOSYS}

// reached is the result of a call that no guard should let through to its own checks.
func reached(e unix.Errno) Result {
	if slices.Contains(guardErrors[:], e) {
		return blocked("%s", unix.ErrnoName(e))
	}
	if e == 0 {
		return succeeded("the kernel did it")
	}
	return succeeded("the kernel looked at it (%s)", unix.ErrnoName(e))
}

// each makes one attempt per item; the first success is the result.
func each[T any](items []T, none string, try func(T) Result) Result {
	if len(items) == 0 {
		return notApplicable(none)
	}
	var last Result
	for _, it := range items {
		if last = try(it); last.Verdict == Succeeded {
			return last
		}
	}
	return last
}

func errnoOf(err error) unix.Errno {
	var e unix.Errno
	if errors.As(err, &e) {
		return e
	}
	if err != nil {
		return unix.EIO
	}
	return 0
}
