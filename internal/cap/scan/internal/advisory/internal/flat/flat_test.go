package flat

import (
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

func keyOf(b byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{b}, ed25519.SeedSize))
}

func public(k ed25519.PrivateKey) []ed25519.PublicKey {
	return []ed25519.PublicKey{k.Public().(ed25519.PublicKey)}
}

// example has sections that begin and end within blocks.
func example() (s [Sections][]byte) {
	for i, size := range [Sections]int{100, 3*block + 7, 0, block - 107, 2*block + 1} {
		s[i] = bytes.Repeat([]byte{byte('a' + i)}, size)
		for j := 0; j+4 <= size; j += 4 {
			binary.BigEndian.PutUint32(s[i][j:], uint32(j))
		}
	}
	return s
}

func written(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := Write(path, keyOf(1), example()); err != nil {
		t.Fatal(err)
	}
	return path
}

func readAll(f *File) ([Sections][]byte, error) {
	var out [Sections][]byte
	for i := range out {
		b, err := f.Bytes(i, 0, f.Len(i))
		if err != nil {
			return out, err
		}
		out[i] = bytes.Clone(b)
	}
	return out, nil
}

func TestSectionsComeBack(t *testing.T) {
	path := written(t)
	f, err := Open(path, append(public(keyOf(2)), public(keyOf(1))...))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	want := example()
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for off := uint64(0); off+50 < f.Len(1); off += 1001 {
				if b, err := f.Bytes(1, off, 50); err != nil || !bytes.Equal(b, want[1][off:off+50]) {
					t.Errorf("at %d: %v", off, err)
				}
			}
		})
	}
	all.Wait()
	got, err := readAll(f)
	if err != nil {
		t.Fatal(err)
	}
	for i := range want {
		if !bytes.Equal(want[i], got[i]) {
			t.Errorf("section %d differs", i)
		}
	}
	for _, bad := range [][2]uint64{{f.Len(1), 1}, {0, f.Len(1) + 1}, {1 << 63, 1 << 63}, {1, ^uint64(0)}} {
		if _, err := f.Bytes(1, bad[0], bad[1]); !errors.Is(err, ErrDamaged) {
			t.Errorf("%d bytes at %d: %v", bad[1], bad[0], err)
		}
	}
	copied := filepath.Join(t.TempDir(), "copy")
	if err := f.CopyTo(copied); err != nil {
		t.Fatal(err)
	}
	a, _ := os.ReadFile(path)
	b, _ := os.ReadFile(copied)
	if !bytes.Equal(a, b) {
		t.Error("the copy differs")
	}
}

// Whatever byte changes, and wherever the file ends: no reader gets other bytes than those that were signed.
func TestNoChangeGoesUnseen(t *testing.T) {
	path := written(t)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	try := func(name string, b []byte) {
		t.Helper()
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := Open(path, public(keyOf(1)))
		if err == nil {
			_, err = readAll(f)
			if errors.Is(f.CopyTo(path+".copy"), nil) {
				t.Errorf("%s: it can be copied", name)
			}
			f.Close()
		}
		if !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrSignature) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for at := 0; at < len(good); at += 1 + at/16 {
		b := bytes.Clone(good)
		b[at] ^= 1
		try("changed", b)
		try("cut", good[:at])
	}
	try("longer", append(bytes.Clone(good), 0))
	two := bytes.Clone(good) // two blocks changing places
	last := len(good) - 3*block
	copy(two[last:], good[last-block:last])
	copy(two[last-block:], good[last:last+block])
	try("swapped", two)
	forged := bytes.Clone(good) // a block and its hash, but not the signature
	forged[len(forged)-1] ^= 1
	sums := sumBlocks([][]byte{forged[len(forged)-sizeOf(example()):]})
	copy(forged[header:], sums)
	try("forged", forged)
	if _, err := Open(path, nil); err == nil {
		t.Error("it opens with no key")
	}
}

func sizeOf(s [Sections][]byte) (n int) {
	for _, b := range s {
		n += len(b)
	}
	return n
}

func TestNotTheKeyThatIsTrusted(t *testing.T) {
	path := written(t)
	if _, err := Open(path, public(keyOf(2))); !errors.Is(err, ErrSignature) {
		t.Errorf("another's key: %v", err)
	}
	if _, err := Open(path, []ed25519.PublicKey{nil, {1, 2}}); !errors.Is(err, ErrSignature) {
		t.Errorf("no key at all: %v", err)
	}
}

// The file is exchanged and cut while it is open: what was touched stays, what wasn't is an error, not a crash.
func TestChangesWhileItIsOpen(t *testing.T) {
	path := written(t)
	f, err := Open(path, public(keyOf(1)))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	before, err := f.Bytes(0, 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	before = bytes.Clone(before)
	w, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.WriteAt(bytes.Repeat([]byte{0xff}, 5*block), int64(header)); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Bytes(1, 2*block, 100); !errors.Is(err, ErrDamaged) {
		t.Errorf("an overwritten block: %v", err)
	}
	if err := w.Truncate(int64(header)); err != nil {
		t.Fatal(err)
	}
	w.Close()
	if _, err := f.Bytes(4, 2*block, 1); !errors.Is(err, ErrDamaged) {
		t.Errorf("a block that was cut off: %v", err)
	}
	if after, err := f.Bytes(0, 0, 100); err != nil || !bytes.Equal(before, after) {
		t.Errorf("what was read before: %v", err)
	}
}

func FuzzOpen(f *testing.F) {
	dir := f.TempDir()
	path := filepath.Join(dir, "file")
	if err := Write(path, keyOf(1), [Sections][]byte{[]byte("some"), []byte("bytes"), nil, []byte("in"), []byte("sections")}); err != nil {
		f.Fatal(err)
	}
	good, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(good[:header])
	f.Fuzz(func(t *testing.T, b []byte) {
		// Signed by the right key, so that what lies behind the signature is reached too.
		if len(b) >= header {
			copy(b[signed:], ed25519.Sign(keyOf(1), b[:signed]))
		}
		path := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		file, err := Open(path, public(keyOf(1)))
		if err != nil {
			return
		}
		defer file.Close()
		if _, err := readAll(file); err != nil && !errors.Is(err, ErrDamaged) {
			t.Error(err)
		}
	})
}
