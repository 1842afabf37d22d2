package seal

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"filippo.io/age"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/base/secret"
)

func words(s string) Words {
	return Words{Ask: func(bool) (secret.Bytes, error) { return secret.New([]byte(s)), nil }}
}

// seals are one of each kind that needs no cloud, with another secret of the same kind.
func seals(t *testing.T) map[string][2]Seal {
	t.Helper()
	dir := t.TempDir()
	a, b := KeyFile{filepath.Join(dir, "a", "key")}, KeyFile{filepath.Join(dir, "b", "key")}
	for _, k := range []KeyFile{a, b} {
		if err := k.Make(); err != nil {
			t.Fatal(err)
		}
	}
	c, d := Credential{filepath.Join(dir, "c")}, Credential{filepath.Join(dir, "d")}
	for i, x := range []Credential{c, d} {
		if err := os.WriteFile(x.Path, bytes.Repeat([]byte{byte(i + 1)}, 48), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return map[string][2]Seal{"file": {a, b}, "passphrase": {words("correct horse battery"), words("correct horse batterz")}, "systemd": {c, d}}
}

func same(a, b secret.Bytes) bool { return bytes.Equal(a.Reveal(), b.Reveal()) }

func TestEverySealOpensWithItsSecretAlone(t *testing.T) {
	ctx := context.Background()
	for name, s := range seals(t) {
		root, st, err := New(ctx, s[0])
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got, err := st.Open(ctx, s[0]); err != nil || !same(got, root) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := st.Open(ctx, s[1]); fault.KindOf(err) != fault.Refused {
			t.Errorf("%s opened with another secret: %v", name, err)
		}
		on, err := json.Marshal(st)
		if err != nil || bytes.Contains(on, root.Reveal()) {
			t.Errorf("%s: the state holds the root", name)
		}
		for other, o := range seals(t) {
			if _, err := st.Open(ctx, o[0]); other != name && err == nil {
				t.Errorf("%s opened by %s", name, other)
			}
		}
		st.Check[0] ^= 1
		if _, err := st.Open(ctx, s[0]); err == nil {
			t.Errorf("%s: a root that isn't this application's was taken", name)
		}
	}
}

func TestChangeOfSealKeepsRootAndKit(t *testing.T) {
	ctx := context.Background()
	all := seals(t)
	root, st, err := New(ctx, all["file"][0])
	if err != nil {
		t.Fatal(err)
	}
	kit, err := st.NewKit(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"passphrase", "systemd", "file"} {
		next, err := st.Under(ctx, all[name][0], root)
		if err != nil {
			t.Fatalf("to %s: %v", name, err)
		}
		if got, err := next.Open(ctx, all[name][0]); err != nil || !same(got, root) {
			t.Errorf("under %s: %v", name, err)
		}
		if got, err := next.Recover(kit); err != nil || !same(got, root) {
			t.Errorf("the kit under %s: %v", name, err)
		}
		st = next
	}
	if _, err := st.Under(ctx, all["file"][0], secret.New(make([]byte, 32))); err == nil {
		t.Error("another root was put in its place")
	}
}

func TestOnlyTheLatestKitRecovers(t *testing.T) {
	ctx := context.Background()
	root, st, err := New(ctx, seals(t)["file"][0])
	if err != nil {
		t.Fatal(err)
	}
	if _, err := st.Recover(secret.New([]byte("AGE-SECRET-KEY-1X"))); fault.KindOf(err) != fault.NotFound {
		t.Errorf("without a kit: %v", err)
	}
	old, err := st.NewKit(root)
	if err != nil {
		t.Fatal(err)
	}
	kit, err := st.NewKit(root)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := st.Recover(secret.New([]byte(" " + strings.ToLower(string(kit.Reveal())) + "\n"))); err != nil || !same(got, root) {
		t.Errorf("as people type it: %v", err)
	}
	for name, k := range map[string]secret.Bytes{"an older kit": old, "no kit": secret.New([]byte("hello")), "a long text": secret.New(make([]byte, 4096))} {
		if _, err := st.Recover(k); err == nil || strings.Contains(err.Error(), string(k.Reveal())) {
			t.Errorf("%s: %v", name, err)
		}
	}
	st.Recovery[len(st.Recovery)-1] ^= 1
	if _, err := st.Recover(kit); err == nil {
		t.Error("damaged recovery data was taken")
	}
}

func TestStateOnDiskIsPrivateAndWhole(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	if st, err := Load(dir); st != nil || err != nil {
		t.Fatalf("an empty folder: %v, %v", st, err)
	}
	_, st, err := New(ctx, seals(t)["file"][0])
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, file)
	// A write that was cut short before leaves this behind.
	if err := os.WriteFile(path+".new", []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := st.Save(dir); err != nil {
			t.Fatal(err)
		}
	}
	if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", fi.Mode(), err)
	}
	if got, err := Load(dir); err != nil || got.Kind != File || !bytes.Equal(got.Check, st.Check) {
		t.Errorf("%+v, %v", got, err)
	}
	for name, content := range map[string]string{"empty": "", "cut": `{"version":1`, "a newer version": `{"version":2,"check":"AAAAAAAAAAAAAAAAAAAAAA==","wrapped":{}}`, "without check": `{"version":1,"wrapped":{}}`, "long": strings.Repeat(" ", maxState+1)} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(dir); err == nil {
			t.Errorf("%s: read", name)
		}
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc/hostname", path); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(dir); err == nil {
		t.Error("a link was followed")
	}
}

// TestKeyFileIsMadeOnce: applications that start for the first time at once all seal under the key that stays.
func TestKeyFileIsMadeOnce(t *testing.T) {
	for range 20 {
		dir := t.TempDir()
		k := KeyFile{filepath.Join(dir, "ward", "key")}
		var all sync.WaitGroup
		keys := make([]secret.Bytes, 8)
		for i := range keys {
			all.Go(func() {
				err := k.Make()
				if err == nil {
					keys[i], err = k.Read()
				}
				if err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		stays, err := k.Read()
		if err != nil {
			t.Fatal(err)
		}
		for i := range keys {
			if !same(keys[i], stays) {
				t.Errorf("%d has another key than the one that stays", i)
			}
		}
		if left, err := os.ReadDir(filepath.Dir(k.Path)); err != nil || len(left) != 1 {
			t.Errorf("left behind: %v %v", left, err)
		}
	}
}

func TestKeyFileOfOthersIsRefused(t *testing.T) {
	k := KeyFile{filepath.Join(t.TempDir(), "key")}
	if _, err := k.Read(); fault.KindOf(err) != fault.NotFound {
		t.Errorf("none: %v", err)
	}
	if err := k.Make(); err != nil {
		t.Fatal(err)
	}
	first, err := k.Read()
	if err != nil {
		t.Fatal(err)
	}
	if err := k.Make(); err != nil {
		t.Fatal(err)
	}
	if again, err := k.Read(); err != nil || !same(first, again) {
		t.Errorf("a key file was made anew: %v", err)
	}
	if err := os.Chmod(k.Path, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := k.Read(); fault.KindOf(err) != fault.Refused {
		t.Errorf("readable by a group: %v", err)
	}
	if err := os.WriteFile(k.Path, []byte("short"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(k.Path, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := k.Read(); fault.KindOf(err) != fault.Invalid {
		t.Errorf("of another size: %v", err)
	}
}

func TestWeakPassphrasesAndCostsAreRefused(t *testing.T) {
	ctx := context.Background()
	if _, _, err := New(ctx, words("short")); fault.KindOf(err) != fault.Invalid {
		t.Errorf("a short passphrase: %v", err)
	}
	_, st, err := New(ctx, words("correct horse battery"))
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*stretched){
		"no passes": func(s *stretched) { s.Time = 0 }, "endless passes": func(s *stretched) { s.Time = 1 << 30 },
		"all memory": func(s *stretched) { s.Memory = 1 << 31 }, "no salt": func(s *stretched) { s.Salt = nil },
	} {
		var s stretched
		if err := json.Unmarshal(st.Wrapped, &s); err != nil {
			t.Fatal(err)
		}
		change(&s)
		bad := *st
		if bad.Wrapped, err = json.Marshal(s); err != nil {
			t.Fatal(err)
		}
		if _, err := bad.Open(ctx, words("correct horse battery")); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"version":1,"seal":"file","wrapped":{"sealed":"AA=="},"check":"AAAAAAAAAAAAAAAAAAAAAA=="}`))
	f.Add([]byte(`{"version":1}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		st, err := Parse(b)
		if err != nil {
			return
		}
		if _, err := st.Open(context.Background(), KeyFile{"/nowhere"}); err == nil {
			t.Fatal("it opened without a key")
		}
	})
}

func FuzzParseKit(f *testing.F) {
	f.Add([]byte("AGE-SECRET-KEY-1"))
	f.Fuzz(func(t *testing.T, b []byte) { _, _ = ParseKit(secret.New(b)) })
}

// Who can write the file, but opens no seal, must not become the one that backups are for.
func TestAnExchangedKitIsRefused(t *testing.T) {
	file := KeyFile{filepath.Join(t.TempDir(), "key")}
	if err := file.Make(); err != nil {
		t.Fatal(err)
	}
	root, st, err := New(t.Context(), file)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := st.NewKit(root); err != nil {
		t.Fatal(err)
	}
	theirs := *st
	other, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*State){
		"their recipient": func(st *State) { st.Kit = other.Recipient().String() },
		"without a word":  func(st *State) { st.KitMAC = nil },
		"another word":    func(st *State) { st.KitMAC = make([]byte, 32) },
	} {
		st := theirs
		change(&st)
		if _, err := st.Open(t.Context(), file); fault.KindOf(err) != fault.Refused {
			t.Errorf("%s: opened: %v", name, err)
		}
		if err := CheckKit(root, st.Kit, st.KitMAC); fault.KindOf(err) != fault.Refused {
			t.Errorf("%s: taken: %v", name, err)
		}
	}
	if _, err := theirs.Open(t.Context(), file); err != nil {
		t.Error(err)
	}
}
