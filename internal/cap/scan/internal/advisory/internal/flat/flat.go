// Package flat keeps sections of bytes in one signed file, of which a reader pays only for what it touches.
//
// Guarantee: what Bytes returns is what the key's holder signed. Each block is read once into memory of our own and compared there with its
// hash, so that neither a change of the file under us nor its truncation can reach a reader; the hashes are under the signature.
// A file appears whole or not at all. Not guaranteed: that the file is the newest that was signed.
package flat

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Sections is how many there are in each file.
const Sections = 5

const (
	magic    = "ward adv 2\n\x00\x00\x00\x00\x00"
	block    = 4 << 10 // bytes that are read and checked at once
	maxSize  = 8 << 30
	signed   = len(magic) + Sections*8 + sha256.Size
	header   = signed + ed25519.SignatureSize
	perBlock = sha256.Size
)

// ErrSignature says that no trusted key signed a file.
var ErrSignature = errors.New("the signature isn't of a trusted key")

// ErrDamaged says that a file isn't what was signed.
var ErrDamaged = errors.New("the file is damaged")

// Write makes the file at path: written beside it, synced, renamed. Mode 0644.
//
// The file: magic, the length of each section, SHA-256 of the hashes, ed25519 signature of all before; the SHA-256 of each block; the
// sections one behind the other. Integers are big-endian.
func Write(path string, key ed25519.PrivateKey, sections [Sections][]byte) (err error) {
	head := []byte(magic)
	for _, s := range sections {
		head = binary.BigEndian.AppendUint64(head, uint64(len(s)))
	}
	sums := sumBlocks(sections[:])
	root := sha256.Sum256(sums)
	head = append(head, root[:]...)
	head = append(head, ed25519.Sign(key, head)...)

	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			tmp.Close()
			os.Remove(tmp.Name())
		}
	}()
	for _, b := range append([][]byte{head, sums}, sections[:]...) {
		if _, err = tmp.Write(b); err != nil {
			return err
		}
	}
	return Commit(tmp, path, 0o644)
}

// Commit closes a temporary file and puts it in the place of path, with a mode, so that a crash leaves the old file or the new one.
func Commit(tmp *os.File, path string, mode os.FileMode) error {
	if err := errors.Join(tmp.Chmod(mode), tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

func sumBlocks(sections [][]byte) []byte {
	var sums []byte
	h, n := sha256.New(), 0
	for _, s := range sections {
		for len(s) > 0 {
			part := s[:min(len(s), block-n)]
			h.Write(part)
			s, n = s[len(part):], n+len(part)
			if n == block {
				sums, n = h.Sum(sums), 0
				h.Reset()
			}
		}
	}
	if n > 0 {
		sums = h.Sum(sums)
	}
	return sums
}

// File is an open file. It may be used concurrently, but not after Close.
type File struct {
	f      *os.File
	head   []byte
	first  int64  // where the sections begin
	mem    []byte // anonymous memory of the sections' size, filled block by block
	sums   []byte // of the blocks
	starts [Sections + 1]uint64
	filled []atomic.Bool // by block
	mu     sync.Mutex    // guards the filling
}

// Open checks the signature of the file at path against the keys, and the hashes against the signature.
func Open(path string, trusted []ed25519.PublicKey) (_ *File, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	head := make([]byte, header)
	if _, err := io.ReadFull(io.NewSectionReader(f, 0, int64(header)), head); err != nil || string(head[:len(magic)]) != magic {
		return nil, fmt.Errorf("%w: it doesn't begin as an index does", ErrDamaged)
	}
	ok := false
	for _, key := range trusted {
		ok = ok || len(key) == ed25519.PublicKeySize && ed25519.Verify(key, head[:signed], head[signed:])
	}
	if !ok {
		return nil, ErrSignature
	}
	o := &File{f: f, head: head}
	for i := range Sections {
		n := binary.BigEndian.Uint64(head[len(magic)+8*i:])
		if n > maxSize {
			return nil, fmt.Errorf("%w: a section of %d bytes", ErrDamaged, n)
		}
		o.starts[i+1] = o.starts[i] + n
	}
	size := o.starts[Sections]
	blocks := (size + block - 1) / block
	o.first = int64(header) + int64(blocks*perBlock)
	if size == 0 || size > maxSize || fi.Size() != o.first+int64(size) {
		return nil, fmt.Errorf("%w: it has %d bytes, and should have %d", ErrDamaged, fi.Size(), o.first+int64(size))
	}
	o.sums = make([]byte, blocks*perBlock)
	if _, err := f.ReadAt(o.sums, int64(header)); err != nil {
		return nil, fmt.Errorf("read hashes: %w", err)
	}
	if root := sha256.Sum256(o.sums); !bytes.Equal(root[:], head[signed-sha256.Size:signed]) {
		return nil, fmt.Errorf("%w: its hashes aren't those that were signed", ErrDamaged)
	}
	o.filled = make([]atomic.Bool, blocks)
	if o.mem, err = unix.Mmap(-1, 0, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE); err != nil {
		return nil, fmt.Errorf("reserve memory: %w", err)
	}
	return o, nil
}

// Name is the path that was opened.
func (o *File) Name() string { return o.f.Name() }

// Len is the size of a section in bytes.
func (o *File) Len(section int) uint64 { return o.starts[section+1] - o.starts[section] }

// Bytes are n bytes of a section. They are the file's own: not to be written, nor to be kept past Close.
func (o *File) Bytes(section int, off, n uint64) ([]byte, error) {
	if size := o.Len(section); off > size || n > size-off {
		return nil, fmt.Errorf("%w: it points outside itself", ErrDamaged)
	}
	if n == 0 {
		return nil, nil
	}
	from := o.starts[section] + off
	for i := from / block; i <= (from+n-1)/block; i++ {
		if !o.filled[i].Load() {
			if err := o.fill(i); err != nil {
				return nil, err
			}
		}
	}
	return o.mem[from : from+n : from+n], nil
}

func (o *File) fill(i uint64) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.filled[i].Load() {
		return nil
	}
	b := o.mem[i*block : min((i+1)*block, uint64(len(o.mem)))]
	if _, err := o.f.ReadAt(b, o.first+int64(i*block)); err != nil {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if sum := sha256.Sum256(b); !bytes.Equal(sum[:], o.sums[i*perBlock:(i+1)*perBlock]) {
		return fmt.Errorf("%w: block %d isn't the one that was signed", ErrDamaged, i)
	}
	o.filled[i].Store(true)
	return nil
}

// CopyTo puts the whole file, checked, at path, as Write does.
func (o *File) CopyTo(path string) (err error) {
	for i := range o.filled {
		if err := o.fill(uint64(i)); err != nil {
			return err
		}
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			tmp.Close()
			os.Remove(tmp.Name())
		}
	}()
	for _, b := range [][]byte{o.head, o.sums, o.mem} {
		if _, err = tmp.Write(b); err != nil {
			return err
		}
	}
	return Commit(tmp, path, 0o644)
}

// Close gives the memory back.
func (o *File) Close() error { return errors.Join(unix.Munmap(o.mem), o.f.Close()) }
