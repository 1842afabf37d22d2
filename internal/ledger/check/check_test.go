package check

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wardhq/ward/internal/base/clock"
	"github.com/wardhq/ward/internal/base/secret"
	"github.com/wardhq/ward/internal/ledger"
	"github.com/wardhq/ward/internal/wire"
)

// begun is a ledger of some records, which stays open, and the file of its first ones.
func begun(t *testing.T) (l *ledger.Ledger, dir, records string) {
	t.Helper()
	dir = t.TempDir()
	l, err := ledger.Open(dir, "test.ward", secret.New(bytes.Repeat([]byte{7}, secret.KeySize)))
	if err != nil {
		t.Fatal(err)
	}
	var all []wire.Event
	for i := range 20 {
		all = append(all, wire.Event{Source: "test", Seq: uint64(i + 1), Kind: "test.event", Subject: fmt.Sprint("subject-", i)})
	}
	if err := l.Append(t.Context(), all); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil { // it is signed then
		t.Fatal(err)
	}
	if l, err = ledger.Open(dir, "test.ward", secret.New(bytes.Repeat([]byte{7}, secret.KeySize))); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	found, err := filepath.Glob(filepath.Join(dir, "records-*.jsonl"))
	if err != nil || len(found) == 0 {
		t.Fatalf("%v, %v", found, err)
	}
	return l, dir, found[0]
}

// TestWhatIsChangedOnDiskIsFound while the ledger is open, told once, and forgotten when it is as it was.
func TestWhatIsChangedOnDiskIsFound(t *testing.T) {
	l, dir, records := begun(t)
	var told []string
	k := New(Config{Dir: dir, Key: l.VerifierKey(), Clock: clock.System{}, Changed: func(s State) { told = append(told, s.Problem) }})
	k.Check(t.Context())
	if s := k.State(); s.Problem != "" || s.Records != 20 || s.Checked.IsZero() || s.Running {
		t.Fatalf("%+v", s)
	}
	good, err := os.ReadFile(records)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(records, bytes.Replace(good, []byte("subject-4"), []byte("subject-X"), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	k.Check(t.Context())
	k.Check(t.Context())
	if s := k.State(); !strings.Contains(s.Problem, "don't match the signed checkpoint") {
		t.Errorf("%+v", s)
	}
	if err := os.WriteFile(records, good, 0o600); err != nil {
		t.Fatal(err)
	}
	k.Check(t.Context())
	if len(told) != 2 || told[0] == "" || told[1] != "" {
		t.Errorf("told %q", told)
	}
}

// TestAnExchangedKeyIsFound: who has written the whole folder anew has a key of his own.
func TestAnExchangedKeyIsFound(t *testing.T) {
	_, dir, _ := begun(t)
	other, _, _ := begun(t)
	k := New(Config{Dir: dir, Key: other.VerifierKey(), Clock: clock.System{}})
	k.Check(t.Context())
	if s := k.State(); !strings.Contains(s.Problem, "key") {
		t.Errorf("%+v", s)
	}
}

func TestWhatIsMissingIsAProblem(t *testing.T) {
	l, dir, records := begun(t)
	k := New(Config{Dir: dir, Key: l.VerifierKey(), Clock: clock.System{}})
	if err := os.Remove(records); err != nil {
		t.Fatal(err)
	}
	k.Check(t.Context())
	if s := k.State(); s.Problem == "" {
		t.Errorf("%+v", s)
	}
}

func TestAReadingThatIsBrokenOffSaysNothing(t *testing.T) {
	l, dir, _ := begun(t)
	k := New(Config{Dir: dir, Key: l.VerifierKey(), Clock: clock.System{}})
	ctx, stop := context.WithCancel(t.Context())
	stop()
	k.Check(ctx)
	if s := k.State(); s != (State{}) {
		t.Errorf("%+v", s)
	}
}

func TestWhoAsksGetsAReading(t *testing.T) {
	l, dir, _ := begun(t)
	changed := make(chan State, 1)
	k := New(Config{Dir: dir, Key: l.VerifierKey() + "x", Clock: clock.System{}, Changed: func(s State) { changed <- s }})
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); k.Run(ctx) }()
	k.Ask()
	k.Ask()
	select {
	case s := <-changed:
		if s.Problem == "" {
			t.Errorf("%+v", s)
		}
	case <-time.After(20 * time.Second):
		t.Error("nobody read it")
	}
	stop()
	<-done
}
