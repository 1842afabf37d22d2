package stage

import (
	"encoding/json"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/wardhq/ward/internal/cap/sandbox/internal/spec"
)

// deliver takes the service's secrets: it writes each into the folder, in the place of an older one, and keeps the memfd for the
// service's start. A secret that isn't there any more goes.
func (p *initProcess) deliver(memfd *os.File) error {
	s, err := readSecrets(memfd)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.memfd != nil {
		p.memfd.Close()
	}
	p.memfd = memfd
	if p.folder == nil {
		return nil // the host's root is kept (Off.Root)
	}
	asVariable := map[string]bool{}
	for _, name := range s.Env {
		asVariable[name] = true
	}
	fd := int(p.folder.Fd())
	for name, value := range s.Values {
		if asVariable[name] {
			continue
		}
		if err := replaceAt(fd, name, value); err != nil {
			return fmt.Errorf("write secret %s: %w", name, err)
		}
	}
	return p.removeOthers(s)
}

// removeOthers removes what the service doesn't get any more.
func (p *initProcess) removeOthers(s *spec.Secrets) error {
	if _, err := p.folder.Seek(0, 0); err != nil {
		return fmt.Errorf("list secrets: %w", err)
	}
	names, err := p.folder.Readdirnames(-1)
	if err != nil {
		return fmt.Errorf("list secrets: %w", err)
	}
	for _, name := range names {
		if _, ok := s.Values[name]; ok {
			continue
		}
		if err := unix.Unlinkat(int(p.folder.Fd()), name, 0); err != nil {
			return fmt.Errorf("remove secret %s: %w", name, err)
		}
	}
	return nil
}

// replaceAt writes a file that only its owner reads, as a whole or not at all.
func replaceAt(dir int, name string, value []byte) error {
	const tmp = ".new"
	_ = unix.Unlinkat(dir, tmp, 0) // left by a write that failed
	fd, err := unix.Openat(dir, tmp, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0o400)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), name)
	_, err = f.Write(value)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	return unix.Renameat(dir, tmp, dir, name)
}

// readSecrets reads a memfd without moving its offset, which the service shares.
func readSecrets(f *os.File) (*spec.Secrets, error) {
	st, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("read secrets: %w", err)
	}
	if st.Size() > spec.MaxSecrets {
		return nil, fmt.Errorf("read secrets: %d bytes are more than %d", st.Size(), spec.MaxSecrets)
	}
	b := make([]byte, st.Size())
	defer clear(b)
	if _, err := f.ReadAt(b, 0); err != nil {
		return nil, fmt.Errorf("read secrets: %w", err)
	}
	s := new(spec.Secrets)
	if err := json.Unmarshal(b, s); err != nil {
		return nil, fmt.Errorf("read secrets: %w", err)
	}
	return s, nil
}

// secretEnv is what the environment says of secrets: the descriptor's number, and the values that the service insists on.
func secretEnv(s *spec.Spec) ([]string, error) {
	if !s.Secrets {
		return nil, nil
	}
	secrets, err := readSecrets(os.NewFile(fdExecSecrets, "secrets"))
	if err != nil {
		return nil, err
	}
	out := []string{spec.SecretsFD + "=" + strconv.Itoa(fdExecSecrets)}
	for variable, name := range secrets.Env {
		out = append(out, variable+"="+string(secrets.Values[name]))
	}
	return out, nil
}
