// Package npm lets tests use what others published on npm: axe-core, foreign clients.
//
// Guarantee: exactly the packages of the committed package-lock.json, checked against its hashes,
// installed once per machine and user below the cache folder, and never their install scripts.
// Without node, npm or a network a test skips, or fails in CI. Not guaranteed: old installs are
// never deleted.
package npm

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wardhq/ward/internal/wardtest/need"
)

var (
	//go:embed package.json
	manifest []byte
	//go:embed package-lock.json
	lockfile []byte
)

// Modules returns the node_modules folder with the locked packages. A script finds a package by
// createRequire(modules + "/").
func Modules(t testing.TB) string {
	t.Helper()
	npm := need.Program(t, "npm")
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatalf("find the cache folder: %v", err)
	}
	sum := sha256.Sum256(append(append([]byte{}, manifest...), lockfile...))
	dir := filepath.Join(cache, "ward-npm", hex.EncodeToString(sum[:8]))
	if err := install(t, npm, dir); err != nil {
		need.Missing(t, fmt.Sprintf("npm's packages can't be installed: %v", err))
	}
	return filepath.Join(dir, "node_modules")
}

// rest is how long a failed install stands, so that a machine without network loses its time once and not for each test.
const rest = 10 * time.Minute

// install does it once; other processes wait at the lock.
func install(t testing.TB, npm, dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return fmt.Errorf("lock %s: %w", dir, err)
	}
	complete := filepath.Join(dir, "complete")
	if _, err := os.Stat(complete); err == nil {
		return nil
	}
	failed := filepath.Join(dir, "failed")
	if st, err := os.Stat(failed); err == nil && time.Since(st.ModTime()) < rest && os.Getenv("WARD_CI") == "" {
		return errors.New("it failed a moment ago; the reason lies in " + failed)
	}
	for name, content := range map[string][]byte{"package.json": manifest, "package-lock.json": lockfile} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			return err
		}
	}
	cmd := exec.CommandContext(t.Context(), npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return errors.Join(fmt.Errorf("npm ci: %w\n%s", err, out), os.WriteFile(failed, out, 0o600))
	}
	return os.WriteFile(complete, nil, 0o600)
}

// Node runs a script as "node SCRIPT MODULES" with in as JSON on its standard input, and reads its
// standard output into out as JSON.
func Node(t testing.TB, script string, in, out any) {
	t.Helper()
	node, modules := need.Program(t, "node"), Modules(t)
	question, err := json.Marshal(in)
	if err != nil {
		t.Fatalf("ask %s: %v", script, err)
	}
	cmd := exec.CommandContext(t.Context(), node, script, modules)
	var answer, complaint bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(question), &answer, &complaint
	if err := cmd.Run(); err != nil {
		t.Fatalf("run %s: %v\n%s", script, err, complaint.Bytes())
	}
	if err := json.Unmarshal(answer.Bytes(), out); err != nil {
		t.Fatalf("read the answer of %s: %v\n%s", script, err, answer.Bytes())
	}
}
