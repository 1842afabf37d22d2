package main

import (
	"archive/tar"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"filippo.io/age"

	"github.com/wardhq/ward/cmd/ward/internal/cli"
	"github.com/wardhq/ward/internal/up"
	"github.com/wardhq/ward/internal/wardtest"
)

// newKit makes a recovery kit, as a line.
func newKit(t *testing.T, w *wardtest.World) string {
	t.Helper()
	code, out := runWard(t, w, "", "seal", "kit")
	return kitIn(t, code, out)
}

func kitIn(t *testing.T, code int, out string) string {
	t.Helper()
	for line := range strings.Lines(out) {
		if strings.HasPrefix(line, "AGE-SECRET-KEY-1") {
			return line
		}
	}
	t.Fatalf("seal kit: %d %s", code, out)
	return ""
}

// restoreIn runs ward restore in an empty folder with a key file of its own.
func restoreIn(t *testing.T, dir, backup, kit string) (int, string) {
	t.Helper()
	code, out, errs := process{in: kit, env: []string{"WARD_KEY_FILE=" + filepath.Join(dir, "key")}}.run(t, "restore", backup, "-f", filepath.Join(dir, "ward.yaml"))
	return code, out + errs
}

// TestBackupUnderLoadRestoresElsewhere: everything that was acknowledged before it began is in it, nothing is half, and it opens on another
// machine, by the recovery kit alone.
func TestBackupUnderLoadRestoresElsewhere(t *testing.T) {
	t.Parallel()
	w := wardtest.Start(t, safeModel, nil)
	kit := newKit(t, w)
	if code, out := runWard(t, w, "acknowledged", "secrets", "set", "session"); code != 0 {
		t.Fatalf("set: %d %s", code, out)
	}
	stop := make(chan struct{})
	var load sync.WaitGroup
	for i := range 4 {
		load.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				if code, out := runWard(t, w, fmt.Sprintf("value-%d-%d", i, n), "secrets", "set", fmt.Sprintf("load-%d", i)); code != 0 {
					t.Errorf("set under load: %s", out)
					return
				}
			}
		})
	}
	file := filepath.Join(t.TempDir(), "b.age")
	code, out := runWard(t, w, "", "backup", file)
	close(stop)
	load.Wait()
	if code != 0 {
		t.Fatalf("backup: %d %s", code, out)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(b, []byte("acknowledged")) || bytes.Contains(b, []byte("SQLite")) {
		t.Error("the backup isn't encrypted")
	}
	if st, err := os.Stat(file); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", st.Mode(), err)
	}
	if code, out := runWard(t, w, "", "backup", file); code != 1 {
		t.Errorf("over a file that is there: %d %s", code, out)
	}
	if code, out := runWard(t, w, kit, "seal", "test"); code != 0 || !strings.Contains(out, "the recovery kit is good") {
		t.Errorf("seal test: %d %s", code, out)
	}
	if code, out := runWard(t, w, strings.Replace(kit, "1", "1Q", 1), "seal", "test"); code != 1 || strings.Contains(out, "good") {
		t.Errorf("seal test with a wrong kit: %d %s", code, out)
	}

	dir := t.TempDir()
	if code, out := restoreIn(t, dir, file, kit); code != 0 || !strings.Contains(out, "values of secrets") {
		t.Fatalf("restore: %d %s", code, out)
	}
	if code, out := restoreIn(t, dir, file, kit); code != 1 || !strings.Contains(out, "has a state already") {
		t.Errorf("over a state: %d %s", code, out)
	}
	// What was restored runs, with the value.
	again := wardtest.Start(t, safeModel, func(c *up.Config) {
		var out bytes.Buffer
		if code := run(cli.Env{In: strings.NewReader(kit), Out: &out, Err: &out}, []string{"restore", file, "-f", c.File}); code != 0 {
			t.Fatalf("restore: %d %s", code, out.String())
		}
	})
	if _, out := runWard(t, again, "", "secrets", "reveal", "session"); out != "acknowledged" {
		t.Errorf("the restored value: %q", out)
	}
}

// TestDamagedOrForgedBackupsAreRefused, and leave nothing behind.
func TestDamagedOrForgedBackupsAreRefused(t *testing.T) {
	t.Parallel()
	w := wardtest.Start(t, safeModel, nil)
	kit := newKit(t, w)
	file := filepath.Join(t.TempDir(), "b.age")
	if code, out := runWard(t, w, "", "backup", file); code != 0 {
		t.Fatalf("backup: %d %s", code, out)
	}
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	id, err := age.ParseX25519Identity(strings.TrimSpace(kit))
	if err != nil {
		t.Fatal(err)
	}
	// forged is what somebody makes who knows the recipient, which is public.
	forged := func(headers ...tar.Header) []byte {
		var b bytes.Buffer
		enc, err := age.Encrypt(&b, id.Recipient())
		if err != nil {
			t.Fatal(err)
		}
		tw := tar.NewWriter(enc)
		for _, h := range headers {
			h.Size = 0
			if err := tw.WriteHeader(&h); err != nil {
				t.Fatal(err)
			}
		}
		if err := tw.Close(); err != nil {
			t.Fatal(err)
		}
		if err := enc.Close(); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	flipped := bytes.Clone(good)
	flipped[len(flipped)/2] ^= 1
	for name, content := range map[string][]byte{
		"a flipped bit": flipped, "a missing end": good[:len(good)-20], "half": good[:len(good)/2], "nothing": nil,
		"no root key":      forged(tar.Header{Name: "ward.db", Typeflag: tar.TypeReg}),
		"a way out":        forged(tar.Header{Name: "../../out", Typeflag: tar.TypeReg}),
		"an absolute path": forged(tar.Header{Name: "/tmp/ward-out", Typeflag: tar.TypeReg}),
		"a link":           forged(tar.Header{Name: "ledger", Typeflag: tar.TypeSymlink, Linkname: "/etc"}),
		"a device":         forged(tar.Header{Name: "null", Typeflag: tar.TypeChar}),
	} {
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		if code, out := restoreIn(t, dir, file, kit); code != 1 {
			t.Errorf("%s: %d %s", name, code, out)
		}
		err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				t.Errorf("%s: left %s behind", name, path)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
	if err := os.WriteFile(file, good, 0o600); err != nil {
		t.Fatal(err)
	}
	other, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	if code, out := restoreIn(t, t.TempDir(), file, other.String()); code != 1 || strings.Contains(out, other.String()) {
		t.Errorf("another kit: %d %s", code, out)
	}
}

// TestSealChangesWhileTheApplicationRuns, and the next start needs the new one.
func TestSealChangesWhileTheApplicationRuns(t *testing.T) {
	t.Parallel()
	w := wardtest.Start(t, safeModel, nil)
	if _, out := runWard(t, w, "", "seal", "status"); !strings.Contains(out, "seal          file") || !strings.Contains(out, "Warning") {
		t.Errorf("status: %s", out)
	}
	if code, out := runWard(t, w, "", "seal", "migrate", "--to", "tpm"); code != 2 {
		t.Errorf("an unknown seal: %d %s", code, out)
	}
	if code, out := runWard(t, w, "", "seal", "migrate", "--to", "passphrase"); code == 0 {
		t.Errorf("without a passphrase: %s", out)
	}
	words := filepath.Join(t.TempDir(), "words")
	if err := os.WriteFile(words, []byte("correct horse battery staple\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	knowing := func(in string, args ...string) (int, string) {
		code, out, errs := process{in: in, env: []string{"WARD_PASSPHRASE_FILE=" + words}}.run(t, append(args, "-f", w.File)...)
		return code, out + errs
	}
	if code, out := knowing("", "seal", "migrate", "--to", "passphrase"); code != 0 {
		t.Fatalf("migrate: %d %s", code, out)
	}
	if _, out := knowing("", "seal", "status"); !strings.Contains(out, "passphrase") {
		t.Errorf("status: %s", out)
	}
	code, out := knowing("", "seal", "kit")
	kit := kitIn(t, code, out)
	if code, out := knowing(kit, "seal", "test"); code != 0 {
		t.Errorf("the kit under a passphrase: %d %s", code, out)
	}
	// The passphrase is lost; the kit brings the key file back.
	if err := os.WriteFile(words, []byte("another passphrase\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, out := knowing("", "seal", "kit"); code != 1 || !strings.Contains(out, "the passphrase is wrong") {
		t.Errorf("a wrong passphrase: %d %s", code, out)
	}
	if code, out := knowing(kit, "seal", "recover"); code != 0 {
		t.Errorf("recover: %d %s", code, out)
	}
	if _, out := knowing("", "seal", "status"); !strings.Contains(out, "seal          file") {
		t.Errorf("status: %s", out)
	}
}

// TestNoBackupForAnExchangedKit: who can write the root key's file, but not open it, puts a recipient of their own there, and waits for a backup.
func TestNoBackupForAnExchangedKit(t *testing.T) {
	t.Parallel()
	w := wardtest.Start(t, safeModel, nil)
	newKit(t, w)
	theirs, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	root := filepath.Join(w.Dir, ".ward/seal/root.json")
	b, err := os.ReadFile(root)
	if err != nil {
		t.Fatal(err)
	}
	changed := regexp.MustCompile(`age1[a-z0-9]+`).ReplaceAll(b, []byte(theirs.Recipient().String()))
	if bytes.Equal(b, changed) {
		t.Fatal("there is no recipient to exchange")
	}
	if err := os.WriteFile(root, changed, 0o600); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "b.age")
	if code, out := runWard(t, w, "", "backup", file); code != 1 || !strings.Contains(out, "exchanged") {
		t.Errorf("%d %s", code, out)
	}
	if _, err := os.Stat(file); err == nil {
		t.Error("half a backup was left")
	}
}
