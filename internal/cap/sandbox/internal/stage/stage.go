// Package stage is what runs inside a sandbox before and beside the service:
//
//	setup  fresh in its namespaces: builds network, root and listeners, then drops every right
//	init   process 1 without rights: starts the service, makes sockets, answers names, supervises bind
//	exec   puts Landlock, limits and the system-call filter on itself and becomes the service
//
// Each is the same binary under another argv[0], one execve after the other.
// Guarantee: a step that fails ends the sandbox with its reason; no step is
// skipped unless the spec's Off says so.
package stage

import (
	"fmt"
	"os"
)

// The stages' argv[0].
const (
	ArgvSetup = "ward-sandbox-setup"
	ArgvPark  = "ward-sandbox-park" // only waits until it is killed or its standard input ends
	argvInit  = "ward-sandbox-init"
	argvExec  = "ward-sandbox-exec"
	argvProbe = "ward-sandbox-probe"
)

// Descriptors that the stages inherit.
const (
	fdControl = 3 // setup: the launcher's socket
	fdExec    = 3 // exec: the socket that brings the spec and takes the notify descriptor
)

// Self is the running binary, also after the root has changed.
const Self = "/proc/self/exe"

// Main runs the stage that argv[0] names and does not return; it returns at
// once if argv[0] names none. probe is Ward's attack program, run under a
// service's restrictions with the given arguments; its result is the exit code.
func Main(args []string, probe func([]string) int) {
	var err error
	switch args[0] {
	case ArgvSetup:
		err = setup()
	case argvInit:
		err = initMain(args[1:])
	case argvExec:
		err = execMain()
	case argvProbe:
		os.Exit(probe(args[1:]))
	case ArgvPark:
		_, _ = os.Stdin.Read(make([]byte, 1)) // ends with the parent
		os.Exit(0)
	default:
		return
	}
	fmt.Fprintln(os.Stderr, "ward sandbox:", err)
	os.Exit(125)
}
