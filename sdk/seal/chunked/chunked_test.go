package chunked

import (
	"bytes"
	"errors"
	"io"
	"runtime"
	"sync"
	"testing"
	"testing/iotest"
)

var key = bytes.Repeat([]byte{7}, KeySize)

func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i % 251)
	}
	return b
}

func seal(t testing.TB, plain []byte, parts int) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := NewWriter(&out, key, []byte("context"))
	if err != nil {
		t.Fatal(err)
	}
	for p := plain; len(p) > 0; {
		n := min(parts, len(p))
		if got, err := w.Write(p[:n]); got != n || err != nil {
			t.Fatal(got, err)
		}
		p = p[n:]
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

var sizes = []int{0, 1, ChunkSize - 1, ChunkSize, ChunkSize + 1, 2 * ChunkSize, batch*ChunkSize - 1, batch * ChunkSize, batch*ChunkSize + 1, 3*batch*ChunkSize + 17}

func TestWhatIsWrittenInAnyPartsIsReadInAnyParts(t *testing.T) {
	for _, size := range sizes {
		plain := pattern(size)
		for _, parts := range []int{1000, ChunkSize, ChunkSize + 1, 1 << 20} {
			sealed := seal(t, plain, parts)
			if n, err := PlaintextSize(int64(len(sealed))); err != nil || n != int64(size) {
				t.Errorf("%d bytes: their size is %d, %v", size, n, err)
			}
			for name, reader := range map[string]func(io.Reader) io.Reader{
				"whole": func(r io.Reader) io.Reader { return r }, "one by one": iotest.OneByteReader, "half": iotest.HalfReader, "with the error": iotest.DataErrReader,
			} {
				r, err := NewReader(reader(bytes.NewReader(sealed)), key, []byte("context"))
				if err != nil {
					t.Fatal(err)
				}
				var got bytes.Buffer
				if parts == 1000 {
					_, err = io.Copy(&got, struct{ io.Reader }{r})
				} else {
					_, err = r.WriteTo(&got)
				}
				if err != nil || !bytes.Equal(got.Bytes(), plain) {
					t.Errorf("%d bytes read %s: %d, %v", size, name, got.Len(), err)
				}
			}
		}
	}
}

func TestRandomAccessKeepsTheRulesOfReaderAt(t *testing.T) {
	for _, size := range sizes {
		plain, sealed := pattern(size), seal(t, pattern(size), 1<<20)
		r, err := NewReaderAt(bytes.NewReader(sealed), int64(len(sealed)), key, []byte("context"))
		if err != nil {
			t.Fatal(err)
		}
		if size > ChunkSize+1 { // TestReader takes long
			if got, err := io.ReadAll(io.NewSectionReader(r, 0, r.Size())); err != nil || !bytes.Equal(got, plain) {
				t.Errorf("%d bytes: %d, %v", size, len(got), err)
			}
		} else if err := iotest.TestReader(io.NewSectionReader(r, 0, r.Size()), plain); err != nil {
			t.Errorf("%d bytes: %v", size, err)
		}
		if _, err := r.ReadAt(make([]byte, 1), -1); err == nil {
			t.Error("read before the beginning")
		}
		var wg sync.WaitGroup
		for i := range 4 {
			wg.Go(func() {
				part := make([]byte, 3000)
				for off := i * 1000; off+len(part) <= size; off += 5000 {
					if _, err := r.ReadAt(part, int64(off)); err != nil || !bytes.Equal(part, plain[off:off+len(part)]) {
						t.Errorf("at %d: %v", off, err)
						return
					}
				}
			})
		}
		wg.Wait()
	}
}

func TestACutStreamNeverEndsWell(t *testing.T) {
	sealed := seal(t, pattern(2*ChunkSize+3), 1<<20)
	for n := range len(sealed) {
		if n > 100 && n%997 != 0 && (n-Prefix)%sealedChunk > 20 {
			continue
		}
		if r, err := NewReader(bytes.NewReader(sealed[:n]), key, []byte("context")); err == nil {
			if _, err = io.Copy(io.Discard, r); !errors.Is(err, ErrDecrypt) {
				t.Errorf("cut to %d: %v", n, err)
			}
		} else if !errors.Is(err, ErrDecrypt) {
			t.Errorf("cut to %d: %v", n, err)
		}
		if _, err := NewReaderAt(bytes.NewReader(sealed[:n]), int64(n), key, []byte("context")); !errors.Is(err, ErrDecrypt) {
			t.Errorf("random access to %d: %v", n, err)
		}
	}
	if _, err := NewReaderAt(bytes.NewReader(sealed), int64(len(sealed)+5), key, []byte("context")); !errors.Is(err, ErrDecrypt) {
		t.Errorf("said to be longer: %v", err)
	}
}

func TestErrorsOfWhatIsReadAndWrittenComeThrough(t *testing.T) {
	away := errors.New("away")
	sealed := seal(t, pattern(1000), 1000)
	r, err := NewReader(io.MultiReader(bytes.NewReader(sealed[:500]), iotest.ErrReader(away)), key, []byte("context"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(r); !errors.Is(err, away) || errors.Is(err, ErrDecrypt) {
		t.Errorf("read: %v", err)
	}
	w, err := NewWriter(failing{away}, key, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(make([]byte, 2*batch*ChunkSize)); !errors.Is(err, away) {
		t.Errorf("write: %v", err)
	}
	if err := w.Close(); !errors.Is(err, away) {
		t.Errorf("close: %v", err)
	}
	if w, err = NewWriter(io.Discard, key, nil); err != nil {
		t.Fatal(err)
	}
	_ = w.Close()
	if _, err := w.Write([]byte{1}); err == nil || w.Close() == nil {
		t.Error("a closed stream went on")
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

func TestTheChunkCounterDoesntRunOver(t *testing.T) {
	w, err := NewWriter(io.Discard, key, nil)
	if err != nil {
		t.Fatal(err)
	}
	w.n = maxChunks - 1
	if _, err := w.Write(make([]byte, ChunkSize)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); !errors.Is(err, errTooLong) {
		t.Errorf("one chunk more: %v", err)
	}
	sealed := seal(t, nil, 1)
	r, err := NewReader(bytes.NewReader(sealed), key, []byte("context"))
	if err != nil {
		t.Fatal(err)
	}
	r.n, r.ended = maxChunks, true
	r.sealed = r.c.aead.Seal(nil, r.c.nonce(new([nonceSize]byte), maxChunks), []byte("one more"), nil)
	if n, err := r.Read(make([]byte, 10)); n != 0 || !errors.Is(err, ErrDecrypt) {
		t.Errorf("read %d of one more: %v", n, err)
	}
	if _, err := PlaintextSize(Prefix + maxChunks*sealedChunk + tagSize); !errors.Is(err, ErrDecrypt) {
		t.Errorf("sized: %v", err)
	}
}

// TestALongStreamTakesLittleMemory sends 64 MiB through a writer and a reader.
func TestALongStreamTakesLittleMemory(t *testing.T) {
	const long = 64 << 20
	pr, pw := io.Pipe()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	done := make(chan error)
	go func() {
		w, err := NewWriter(pw, key, nil)
		if err == nil {
			_, err = io.CopyN(w, zeros{}, long)
		}
		done <- errors.Join(err, w.Close(), pw.Close())
	}()
	r, err := NewReader(pr, key, nil)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := io.Copy(io.Discard, r); n != long || err != nil {
		t.Errorf("%d bytes, %v", n, err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	runtime.ReadMemStats(&after)
	if used := after.TotalAlloc - before.TotalAlloc; used > 2<<20 {
		t.Errorf("%d bytes were allocated", used)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func FuzzReaders(f *testing.F) {
	f.Add(seal(f, []byte("x"), 1), false)
	f.Add(seal(f, pattern(ChunkSize), ChunkSize), true)
	f.Fuzz(func(t *testing.T, b []byte, keepPrefix bool) {
		if keepPrefix && len(b) > Prefix {
			b = append(seal(t, nil, 1)[:Prefix], b[Prefix:]...)
		}
		var stream []byte
		r, err := NewReader(bytes.NewReader(b), key, []byte("context"))
		if err == nil {
			stream, err = io.ReadAll(r)
		}
		var random []byte
		at, atErr := NewReaderAt(bytes.NewReader(b), int64(len(b)), key, []byte("context"))
		if atErr == nil {
			random, atErr = io.ReadAll(io.NewSectionReader(at, 0, at.Size()))
		}
		if (err == nil) != (atErr == nil) || (err == nil && !bytes.Equal(stream, random)) {
			t.Errorf("as a stream %d bytes, %v; at random %d, %v", len(stream), err, len(random), atErr)
		}
	})
}
