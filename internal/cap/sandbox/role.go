package sandbox

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/wardhq/ward/internal/cap/sandbox/internal/spec"
)

// Role is one of Ward's own processes. They get the same sandbox as the services: whoever breaks the
// gateway finds no files, no network but its one socket, and no programs.
type Role struct {
	Name string   // "control", "gateway", "agent"
	Argv []string // of the running binary
	// Folders maps paths inside to folders of the host; Write says which may be written.
	Folders []Folder
	// Network keeps the host's network: the agent's, which dials externals and other agents.
	Network bool
}

// Folder shows a folder of the host inside a role's sandbox.
type Folder struct {
	Host, Inside string
	Write        bool
}

// PrepareRole derives the spec of a role's sandbox. Its standard input is the
// supervisor's channel.
func PrepareRole(r Role, h Host) (spec.Spec, error) {
	b := &builder{host: h, spec: spec.Spec{
		Name: "ward-" + r.Name, UID: h.UID, GID: h.GID, HostRoot: h.Root, Off: h.Off,
		Argv: r.Argv, Dir: "/", Env: []string{"HOME=/tmp", "TMPDIR=/tmp", "GORACE=atexit_sleep_ms=0"}, // as in the stages
		Limits: spec.Limits{PIDs: 1024, OpenFiles: 1 << 20},
	}}
	b.spec.Off.Network = r.Network
	b.spec.SecretMemory = true
	b.spec.Scoped = true    // the agent must not speak to desktops and daemons
	b.spec.Off.Root = false // a role finds its folders nowhere else
	b.system()
	if r.Network {
		// The agent resolves names as this host does.
		for _, p := range []string{"/etc/hosts", "/etc/resolv.conf", "/etc/nsswitch.conf"} {
			b.replace(p)
		}
	}
	self, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return spec.Spec{}, fmt.Errorf("find our own binary: %w", err)
	}
	const inside = "/ward"
	b.mount(spec.Mount{Source: self, Target: inside, OwnerUID: -1, OwnerGID: -1})
	b.spec.Exe = inside
	b.spec.Execs = append(b.spec.Execs, inside)
	if err := b.loaderOf(self); err != nil {
		return spec.Spec{}, err
	}
	for _, f := range r.Folders {
		if err := b.folder(f); err != nil {
			return spec.Spec{}, fmt.Errorf("%s: %w", r.Name, err)
		}
	}
	return b.spec, nil
}

// replace shows the host's file in place of the sandbox's own.
func (b *builder) replace(path string) {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return
	}
	for i, f := range b.spec.Files {
		if f.Path == path {
			b.spec.Files = append(b.spec.Files[:i], b.spec.Files[i+1:]...)
			break
		}
	}
	b.mount(spec.Mount{Source: real, Target: path, OwnerUID: -1, OwnerGID: -1})
}

// loaderOf lets the loader of a dynamically linked binary be executed.
func (b *builder) loaderOf(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("open our own binary: %w", err)
	}
	defer f.Close()
	if loader := elfInterpreter(f); loader != "" {
		return b.allowExec(loader, 1)
	}
	return nil
}

func (b *builder) folder(f Folder) error {
	before := len(b.spec.Mounts)
	if err := b.own(f.Host, f.Write); err != nil {
		return err
	}
	for i := before; i < len(b.spec.Mounts); i++ {
		b.spec.Mounts[i].Target = f.Inside
	}
	return nil
}
