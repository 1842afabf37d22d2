package ledger

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wardhq/ward/internal/wire"
)

func TestTheCheckpointIsReadAgain(t *testing.T) {
	dir := t.TempDir()
	l := openTest(t, dir)
	appendN(t, l, 1, 3)
	l.Close()
	file, pub := filepath.Join(dir, checkpointFile), filepath.Join(dir, publicFile)
	older, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	l = openTest(t, dir)
	appendN(t, l, 4, 2)
	defer l.Close()
	if err := l.checkpoint(); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	c, err := l.Checkpoint()
	if err != nil || c.Records != 5 || c.Time.IsZero() || c.Root == "" {
		t.Fatalf("%+v, %v", c, err)
	}
	other := openTest(t, filepath.Join(dir, "other"))
	appendN(t, other, 1, 9)
	other.Close()
	theirs, err := os.ReadFile(filepath.Join(dir, "other", checkpointFile))
	if err != nil {
		t.Fatal(err)
	}
	theirKey, err := os.ReadFile(filepath.Join(dir, "other", publicFile))
	if err != nil {
		t.Fatal(err)
	}
	for name, tamper := range map[string]func() error{
		"another number": func() error {
			return os.WriteFile(file, []byte(strings.Replace(string(good), "\n5\n", "\n6\n", 1)), 0o600)
		},
		"an older one": func() error { return os.WriteFile(file, older, 0o600) },
		"another's, and key": func() error {
			return errors.Join(os.WriteFile(file, theirs, 0o600), os.WriteFile(pub, theirKey, 0o600))
		},
		"nothing":                func() error { return os.Remove(file) },
		"an empty file in place": func() error { return os.WriteFile(file, nil, 0o600) },
	} {
		if err := tamper(); err != nil {
			t.Fatal(err)
		}
		if c, err := l.Checkpoint(); err == nil {
			t.Errorf("%s: %+v", name, c)
		}
	}
}

func TestStatusCountsWhatWaitedAndWhatDidNot(t *testing.T) {
	dir := t.TempDir()
	l := openTest(t, dir)
	appendN(t, l, 1, 3)
	l.Close()
	l = openTest(t, dir)
	defer l.Close()
	appendN(t, l, 4, 2)
	if err := l.Later([]wire.Event{{Source: "test", Seq: 6, Kind: "request.allowed"}, {Source: "test", Seq: 7, Kind: "request.allowed"}, {Source: "test", Seq: 8, Kind: "request.allowed"}}); err != nil {
		t.Fatal(err)
	}
	l.flushLater()
	if s := l.Status(); s.Records != 8 || s.Waited != 2 || s.Later != 3 {
		t.Errorf("%+v", s)
	}
}
