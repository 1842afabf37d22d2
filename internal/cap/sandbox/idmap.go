package sandbox

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/wardhq/ward/internal/cap/sandbox/internal/spec"
	"github.com/wardhq/ward/internal/cap/sandbox/internal/stage"
)

// owner is a user and group on disk.
type owner struct{ uid, gid int }

// idMaps makes one user namespace for each owner among the spec's mounts, which
// makes that owner's files appear as the service's user's, and what the service writes
// belong to that owner on disk (mount_setattr(2), MOUNT_ATTR_IDMAP). It sets Mount.IDMap to the
// position in the returned files, from 1.
func (l *Launcher) idMaps(s *spec.Spec) ([]*os.File, error) {
	if !s.HostRoot {
		return nil, nil
	}
	var files []*os.File
	index := map[owner]int{}
	for i := range s.Mounts {
		m := &s.Mounts[i]
		o := owner{m.OwnerUID, m.OwnerGID}
		if o.uid < 0 || o == (owner{s.UID, s.GID}) {
			continue
		}
		if index[o] == 0 {
			f, err := l.mappedNamespace(o, s)
			if err != nil {
				closeFiles(files)
				return nil, fmt.Errorf("map owner of %s to the service's user: %w", m.Source, err)
			}
			files = append(files, f)
			index[o] = len(files)
		}
		m.IDMap = index[o]
	}
	return files, nil
}

// mappedNamespace makes a user namespace that maps o to the service's user. It
// lives through the returned file; its process ends at once.
func (l *Launcher) mappedNamespace(o owner, s *spec.Spec) (*os.File, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	defer w.Close()
	cmd := exec.Command(stage.Self)
	cmd.Args = []string{stage.ArgvPark}
	cmd.Env = []string{}
	cmd.Stdin = r
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: o.uid, HostID: s.UID, Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: o.gid, HostID: s.GID, Size: 1}},
		Pdeathsig:   syscall.SIGKILL,
	}
	if err := l.startProcess(cmd); err != nil {
		return nil, fmt.Errorf("make user namespace: %w", err)
	}
	ns, openErr := os.Open("/proc/" + strconv.Itoa(cmd.Process.Pid) + "/ns/user")
	_ = cmd.Process.Kill()
	_ = cmd.Wait() // killed: its status says nothing
	if openErr != nil {
		return nil, fmt.Errorf("open user namespace: %w", openErr)
	}
	return ns, nil
}
