package sandbox

import (
	"encoding/json"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/wardhq/ward/internal/cap/sandbox/internal/spec"
)

// Secrets are what one service gets: Values by name, each a file below /run/secrets unless Env gives it to a variable.
type Secrets = spec.Secrets

// Deliver gives the service its secrets: before Run, and again whenever one changes; then files are replaced one by one, each as a
// whole. A program finds the descriptor of all of them, as they were at its start, in WARD_SECRETS_FD. The spec must have been
// prepared for a service that has secrets.
func (s *Sandbox) Deliver(v Secrets) error {
	f, err := sealed(v)
	if err != nil {
		return fmt.Errorf("deliver secrets: %w", err)
	}
	defer f.Close()
	if err := s.control.Send(spec.ToInit{Deliver: true}, f); err != nil {
		return fmt.Errorf("deliver secrets: %w", err)
	}
	return nil
}

// sealed is a memfd with the secrets that nobody can change, or execute (memfd_create(2)).
func sealed(v Secrets) (*os.File, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	defer clear(b)
	if len(b) > spec.MaxSecrets {
		return nil, fmt.Errorf("%d bytes are more than a service can get (%d)", len(b), spec.MaxSecrets)
	}
	fd, err := unix.MemfdCreate("secrets", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING|unix.MFD_NOEXEC_SEAL)
	if err == unix.EINVAL { // Linux before 6.3 doesn't know the last
		fd, err = unix.MemfdCreate("secrets", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	}
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "secrets")
	if _, err = f.WriteAt(b, 0); err == nil {
		_, err = unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_WRITE|unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_SEAL)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}
