package escape

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

const bySecretMount = "a mount of each service's own, read-only"

// secretsFolder is where a service finds its secrets.
const secretsFolder = "/run/secrets"

func secrets() []attempt {
	return []attempt{
		{"other-secrets", "read the secrets of other services", bySecretMount, otherSecrets},
		{"plant-secret", "put a link, or a file, in a secret's place", bySecretMount, plantSecret},
		{"race-secret", "win a race against the delivery, with links", bySecretMount, raceSecret},
		{"remount-secrets", "make the folder of secrets writable", byRights, remountSecrets},
		{"replay-delivery", "change what was delivered, or deliver again, by the descriptor", "the descriptor's seals", replayDelivery},
	}
}

func otherSecrets(g *Ground) Result {
	return each(g.Secrets, "no other service has secrets", func(name string) Result {
		return each([]string{filepath.Join(secretsFolder, name), "/.secrets/" + name, "/proc/1/root/run/secrets/" + name}, "", func(p string) Result {
			if _, err := os.ReadFile(p); err != nil {
				return blocked("%v", err)
			}
			return succeeded("read %s", p)
		})
	})
}

// own tells whether this service has secrets.
func own() bool { return os.Getenv("WARD_SECRETS_FD") != "" }

const noSecrets = "the service has no secrets"

func plantSecret(*Ground) Result {
	if !own() {
		return notApplicable(noSecrets)
	}
	at := filepath.Join(secretsFolder, "ward-attack")
	defer os.Remove(at) // where it was made after all
	return each([]func() error{
		func() error { return os.Symlink("/etc/passwd", at) },
		func() error { return os.WriteFile(at, nil, 0o600) },
		func() error { return os.Mkdir(at, 0o700) },
		func() error { return unix.Mkfifo(at, 0o600) },
		func() error { return os.Rename(secretsFolder, secretsFolder+".old") },
	}, "", func(try func() error) Result { return unlessError(try(), "the folder of secrets can be changed") })
}

// raceSecret looks for a moment in which the folder could be written.
func raceSecret(*Ground) Result {
	if !own() {
		return notApplicable(noSecrets)
	}
	at := filepath.Join(secretsFolder, ".new")
	for range 2000 {
		if os.Symlink("/etc/passwd", at) == nil {
			_ = os.Remove(at) // nothing of it shall stay
			return succeeded("a link in the place where a delivery is written")
		}
	}
	return blocked("2,000 times: %v", syscall.EROFS)
}

func remountSecrets(*Ground) Result {
	if !own() {
		return notApplicable(noSecrets)
	}
	return reached(errnoOf(unix.Mount("", secretsFolder, "", unix.MS_REMOUNT|unix.MS_BIND, "")))
}

func replayDelivery(*Ground) Result {
	fd, err := strconv.Atoi(os.Getenv("WARD_SECRETS_FD"))
	if err != nil {
		return notApplicable(noSecrets)
	}
	if _, err := unix.Pwrite(fd, []byte("{"), 0); err == nil {
		return succeeded("what was delivered can be changed")
	}
	if err := unix.Ftruncate(fd, 0); err == nil {
		return succeeded("what was delivered can be cut")
	}
	if f, err := os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", fd), os.O_RDWR, 0); err == nil {
		defer f.Close()
		if _, err := f.WriteAt([]byte("{"), 0); err == nil {
			return succeeded("what was delivered can be changed by its path")
		}
	}
	return blocked("sealed")
}
