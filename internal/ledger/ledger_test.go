package ledger

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/wardhq/ward/internal/base/secret"
	"github.com/wardhq/ward/internal/wire"
)

var testKey = secret.New(bytes.Repeat([]byte{7}, secret.KeySize))

// firstRecords is the first segment.
const firstRecords = "records-0000000000000000.jsonl"

func openTest(t *testing.T, dir string) *Ledger {
	t.Helper()
	l, err := Open(dir, "test.ward", testKey)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func appendN(t *testing.T, l *Ledger, from, n int) {
	t.Helper()
	for i := range n {
		e := wire.Event{Source: "test", Seq: uint64(from + i), Kind: "test.event", Subject: fmt.Sprint("subject-", from+i)}
		if err := l.Append(t.Context(), []wire.Event{e}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAppendedEventsVerifyAcrossReopening(t *testing.T) {
	dir := t.TempDir()
	l := openTest(t, dir)
	appendN(t, l, 1, 20)
	appendN(t, l, 15, 10) // 15 to 20 were sent before
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = openTest(t, dir)
	appendN(t, l, 25, 2)
	if n, _ := l.Size(); n != 26 {
		t.Errorf("%d records, want 26", n)
	}
	l.Close()
	r, err := Verify(dir, "")
	if err != nil || r.Records != 26 || r.Tail != 0 {
		t.Errorf("verify: %+v, %v", r, err)
	}
}

// TestEveryTamperingIsFound changes, removes and reorders, each alone.
func TestEveryTamperingIsFound(t *testing.T) {
	for name, tamper := range map[string]func(lines [][]byte) [][]byte{
		"one byte changed": func(l [][]byte) [][]byte {
			l[3] = bytes.Replace(l[3], []byte("subject-4"), []byte("subject-X"), 1)
			return l
		},
		"one record removed":    func(l [][]byte) [][]byte { return append(l[:3:3], l[4:]...) },
		"last record removed":   func(l [][]byte) [][]byte { return l[:len(l)-1] },
		"two records exchanged": func(l [][]byte) [][]byte { l[2], l[5] = l[5], l[2]; return l },
		"first record doubled":  func(l [][]byte) [][]byte { return append([][]byte{l[0]}, l...) },
		"removed and renumbered": func(l [][]byte) [][]byte {
			l[3] = bytes.Replace(l[4], []byte(`"index":4`), []byte(`"index":3`), 1)
			return append(l[:4:4], l[5:]...)
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			l := openTest(t, dir)
			appendN(t, l, 1, 10)
			l.Close()
			path := filepath.Join(dir, firstRecords)
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			lines := tamper(bytes.Split(bytes.TrimSpace(b), []byte("\n")))
			if err := os.WriteFile(path, append(bytes.Join(lines, []byte("\n")), '\n'), 0o600); err != nil {
				t.Fatal(err)
			}
			if r, err := Verify(dir, ""); err == nil {
				t.Errorf("Verify found nothing: %+v", r)
			}
			if l, err := Open(dir, "test.ward", testKey); err == nil {
				l.Close()
				t.Error("Open took the changed ledger")
			}
		})
	}
}

func TestTornTailOfACrashIsCutOff(t *testing.T) {
	dir := t.TempDir()
	l := openTest(t, dir)
	appendN(t, l, 1, 5)
	l.Close()
	f, err := os.OpenFile(filepath.Join(dir, firstRecords), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	f.WriteString(`{"index":5,"source":"test","se`)
	f.Close()
	l = openTest(t, dir)
	appendN(t, l, 6, 1)
	l.Close()
	if torn, _ := filepath.Glob(filepath.Join(dir, "torn-*")); len(torn) != 1 {
		t.Errorf("put aside: %q", torn)
	}
	// The cut itself is a record.
	if r, err := Verify(dir, ""); err != nil || r.Records != 7 {
		t.Errorf("verify: %+v, %v", r, err)
	}
}

func FuzzParseCheckpoint(f *testing.F) {
	dir := f.TempDir()
	l, err := Open(dir, "test.ward", testKey)
	if err != nil {
		f.Fatal(err)
	}
	l.Close()
	good, _ := os.ReadFile(filepath.Join(dir, checkpointFile))
	pub, _ := os.ReadFile(filepath.Join(dir, publicFile))
	f.Add(good)
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := ParseCheckpoint(b, string(bytes.TrimSpace(pub))); err == nil && !bytes.Equal(b, good) {
			t.Fatalf("took a checkpoint that wasn't signed: %q", b)
		}
	})
}
