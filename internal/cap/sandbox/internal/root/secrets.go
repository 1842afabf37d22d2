package root

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/wardhq/ward/internal/cap/sandbox/internal/spec"
)

// secretsWay is where the writable mount of the secrets stands while it is made.
const secretsWay = "/.secrets"

// mountSecrets mounts a file system in memory twice: read-only where the service sees it, and writable for init, which has
// it by the descriptor that is returned, and by no name. So nothing in the sandbox can put a link, or another file, in a secret's place.
func mountSecrets(s *spec.Spec) (*os.File, error) {
	if !s.Secrets {
		return nil, nil
	}
	way, seen := filepath.Join(base, secretsWay), filepath.Join(base, spec.SecretsDir)
	for _, d := range []string{way, seen} {
		if err := os.Mkdir(d, 0o755); err != nil {
			return nil, fmt.Errorf("make the folder of secrets: %w", err)
		}
	}
	const flags = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	options := fmt.Sprintf("mode=0700,uid=%d,gid=%d,size=4m,nr_inodes=1024", s.UID, s.GID)
	// Only the host's root may keep it from being swapped out (tmpfs(5), since Linux 6.4).
	err := unix.Mount("tmpfs", way, "tmpfs", flags, options+",noswap")
	if err != nil {
		err = unix.Mount("tmpfs", way, "tmpfs", flags, options)
	}
	if err != nil {
		return nil, fmt.Errorf("mount the folder of secrets: %w", err)
	}
	if err := unix.Mount(way, seen, "", unix.MS_BIND, ""); err != nil {
		return nil, fmt.Errorf("show the folder of secrets: %w", err)
	}
	if err := unix.Mount("", seen, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY|flags, ""); err != nil {
		return nil, fmt.Errorf("protect the folder of secrets: %w", err)
	}
	fd, err := unix.Open(way, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, fmt.Errorf("keep the folder of secrets: %w", err)
	}
	folder := os.NewFile(uintptr(fd), "secrets")
	if err = unix.Unmount(way, unix.MNT_DETACH); err == nil { // the mount lives as long as the descriptor
		err = os.Remove(way)
	}
	if err != nil {
		folder.Close()
		return nil, fmt.Errorf("keep the folder of secrets: %w", err)
	}
	return folder, nil
}
