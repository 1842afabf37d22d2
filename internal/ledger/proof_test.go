package ledger

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/wire"
)

// grown makes a ledger in small segments, with the checkpoints that it had on its way.
func grown(t testing.TB) (dir string, before map[int64][]byte) {
	t.Helper()
	dir, before = t.TempDir(), map[int64][]byte{}
	l, err := open(dir, "test.ward", testKey, 2000)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for i := range 77 {
		if err := l.checkpoint(); err != nil {
			t.Fatal(err)
		}
		before[int64(i)] = load(t, dir, checkpointFile)
		if err := l.Append(t.Context(), []wire.Event{denial(i)}); err != nil {
			t.Fatal(err)
		}
	}
	return dir, before
}

func TestEveryRecordAndEveryGrowthIsProved(t *testing.T) {
	dir, before := grown(t)
	key, err := publicKey(dir)
	if err != nil {
		t.Fatal(err)
	}
	for name, harm := range map[string]func(string) error{
		"as it is":       func(string) error { return nil },
		"hashes changed": func(path string) error { return os.WriteFile(path, make([]byte, 10_000), 0o600) },
		"hashes gone":    os.Remove,
	} {
		all, _ := filepath.Glob(filepath.Join(dir, "hashes-*"))
		for _, path := range all {
			if err := harm(path); err != nil {
				t.Fatal(err)
			}
		}
		for i := range int64(77) {
			p, err := Prove(dir, i, before[i])
			if err != nil {
				t.Fatalf("%s: record %d: %v", name, i, err)
			}
			b, err := json.Marshal(p)
			if err != nil {
				t.Fatal(err)
			}
			again, err := ParseProof(b)
			if err != nil {
				t.Fatal(err)
			}
			c, err := again.Check(key)
			if err != nil || c.Record.Index != i || c.Record.Kind != "request.denied" || c.Since != i || c.Records != 77 {
				t.Fatalf("%s: record %d: %+v, %v", name, i, c, err)
			}
		}
	}
	for _, i := range []int64{-1, 77, 1 << 40} {
		if _, err := Prove(dir, i, nil); !isKind(err, fault.NotFound) {
			t.Errorf("record %d: %v", i, err)
		}
	}
}

func TestForgedProofsDontHold(t *testing.T) {
	dir, before := grown(t)
	key, err := publicKey(dir)
	if err != nil {
		t.Fatal(err)
	}
	other, _ := grown(t) // the same records, another key
	foreign, err := publicKey(other)
	if err != nil {
		t.Fatal(err)
	}
	for name, forge := range map[string]func(p *Proof){
		"another record":             func(p *Proof) { p.Record = strings.Replace(p.Record, "/charge", "/chargf", 1) },
		"another place":              func(p *Proof) { p.Index++ },
		"beyond the end":             func(p *Proof) { p.Index = 1 << 50 },
		"before the start":           func(p *Proof) { p.Index = -5 },
		"a hash less":                func(p *Proof) { p.Inclusion = p.Inclusion[1:] },
		"a hash changed":             func(p *Proof) { p.Inclusion[0][0] ^= 1 },
		"another checkpoint":         func(p *Proof) { p.Checkpoint = string(before[40]) },
		"an unsigned checkpoint":     func(p *Proof) { p.Checkpoint = strings.Replace(p.Checkpoint, "77\n", "78\n", 1) },
		"another older checkpoint":   func(p *Proof) { p.Since = string(before[20]) },
		"a newer older checkpoint":   func(p *Proof) { p.Since, p.Checkpoint, p.Record = p.Checkpoint, p.Since, "" },
		"a hash of growth changed":   func(p *Proof) { p.Consistency[0][3] ^= 1 },
		"no hash of growth":          func(p *Proof) { p.Consistency = nil },
		"a checkpoint of a stranger": func(p *Proof) { p.Checkpoint = string(load(t, other, checkpointFile)) },
	} {
		p, err := Prove(dir, 30, before[30])
		if err != nil {
			t.Fatal(err)
		}
		if forge(&p); name == "" {
			continue
		}
		if c, err := p.Check(key); err == nil {
			t.Errorf("%s: taken: %+v", name, c)
		}
	}
	p, err := Prove(dir, 30, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Check(foreign); err == nil {
		t.Error("taken with another's key")
	}
}

// TestOlderCopyIsFound: who kept a checkpoint elsewhere sees that the folder was put back, or was written anew with the right key.
func TestOlderCopyIsFound(t *testing.T) {
	dir := t.TempDir()
	l := openTest(t, dir)
	appendN(t, l, 1, 10)
	l.Close()
	older, anew := t.TempDir(), t.TempDir()
	for _, d := range []string{older, anew} {
		if err := os.CopyFS(d, os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
	}
	l = openTest(t, dir)
	appendN(t, l, 11, 10)
	l.Close()
	anchor := load(t, dir, checkpointFile)
	l = openTest(t, anew) // who has the key goes on otherwise
	appendN(t, l, 100, 20)
	l.Close()
	if _, err := Prove(dir, Nothing, anchor); err != nil {
		t.Errorf("the right one: %v", err)
	}
	for name, d := range map[string]string{"10 records are missing": older, "goes on otherwise": anew} {
		if _, err := Verify(d, ""); err != nil {
			t.Errorf("%s: the folder alone shows nothing: %v", name, err)
		}
		_, err := Prove(d, Nothing, anchor)
		if !isKind(err, fault.Refused) {
			t.Errorf("%s: %v", name, err)
		}
		t.Log(err)
	}
}

func TestProofsOfWhatIsLeftAfterARemoval(t *testing.T) {
	dir, before := grown(t)
	l, err := open(dir, "test.ward", testKey, 2000)
	if err != nil {
		t.Fatal(err)
	}
	l.SetKeep(Keep{Bytes: l.Status().Bytes - 6000, Days: 1})
	l.lookAround()
	first := l.oldest()
	l.Close()
	if first == 0 {
		t.Skip("the records' days haven't passed on this machine's clock")
	}
	key, _ := publicKey(dir)
	for i := range int64(77) {
		index := i
		if i < first {
			if _, err := Prove(dir, i, nil); !isKind(err, fault.NotFound) {
				t.Errorf("record %d was removed: %v", i, err)
			}
			index = Nothing // its checkpoint can still be proved
		}
		p, err := Prove(dir, index, before[i])
		if err == nil {
			_, err = p.Check(key)
		}
		if err != nil {
			t.Fatalf("record %d of %d: %v", i, first, err)
		}
	}
}

func FuzzParseProof(f *testing.F) {
	dir, before := grown(f)
	key, err := publicKey(dir)
	if err != nil {
		f.Fatal(err)
	}
	p, err := Prove(dir, 30, before[30])
	if err != nil {
		f.Fatal(err)
	}
	b, _ := json.Marshal(p)
	f.Add(b)
	f.Add([]byte(`{"type":"ward-ledger-proof-v1","record":"x"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		q, err := ParseProof(b)
		if err != nil {
			return
		}
		if c, err := q.Check(key); err == nil && (q.Record != "" && q.Record != p.Record || c.Records != 77) {
			t.Fatalf("took %+v", q)
		}
	})
}

// BenchmarkProve proves records of a million.
func BenchmarkProve(b *testing.B) {
	dir := million(b)
	since := load(b, dir, checkpointFile)
	for _, index := range []int64{0, 33_000, 500_000, 999_999} {
		b.Run(fmt.Sprint(index), func(b *testing.B) {
			for b.Loop() {
				if _, err := Prove(dir, index, since); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
