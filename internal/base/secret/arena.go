package secret

import (
	"errors"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// Arena is memory for long-lived keys: one mapping that isn't swapped out or dumped, and, where the kernel can, that nobody else sees, the
// kernel included (memfd_secret(2)). It is safe for concurrent use. Copies that a cipher makes of a key's schedule are ordinary memory.
type Arena struct {
	mu   sync.Mutex
	mem  []byte // guarded by mu
	used int    // guarded by mu: bytes
	kind string
}

// ErrArenaFull says that no more fits.
var ErrArenaFull = errors.New("the memory for keys is full")

// NewArena makes room for so many keys of KeySize.
func NewArena(keys int) (*Arena, error) {
	page := os.Getpagesize()
	size := (keys*KeySize + page - 1) / page * page
	if mem, err := secretMemory(size); err == nil {
		return &Arena{mem: mem, kind: "memfd_secret"}, nil
	}
	mem, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return nil, fmt.Errorf("map memory for keys: %w", err)
	}
	a := &Arena{mem: mem, kind: "locked"}
	if unix.Mlock(mem) != nil {
		a.kind = "unlocked" // a limit on locked memory; see Kind
	}
	_ = unix.Madvise(mem, unix.MADV_DONTDUMP)
	_ = unix.Madvise(mem, unix.MADV_WIPEONFORK) // both since Linux 4.14
	return a, nil
}

// secretMemory maps memory that is in no other address space.
func secretMemory(size int) ([]byte, error) {
	fd, err := unix.MemfdSecret(unix.O_CLOEXEC)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	if err := unix.Ftruncate(fd, int64(size)); err != nil {
		return nil, err
	}
	return unix.Mmap(fd, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
}

// Kind is "memfd_secret", "locked", or "unlocked" where the system allows neither.
func (a *Arena) Kind() string { return a.kind }

// Keep moves a key into the arena, and clears b.
func (a *Arena) Keep(b []byte) (Bytes, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.used+len(b) > len(a.mem) {
		return Bytes{}, ErrArenaFull
	}
	kept := a.mem[a.used : a.used+len(b) : a.used+len(b)]
	a.used += len(b)
	copy(kept, b)
	clear(b)
	return New(kept), nil
}

// Close zeroes all keys. None may be used afterwards: it would end the process.
func (a *Arena) Close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.mem == nil {
		return nil
	}
	clear(a.mem)
	mem := a.mem
	a.mem, a.used = nil, 0
	if err := unix.Munmap(mem); err != nil {
		return fmt.Errorf("unmap memory for keys: %w", err)
	}
	return nil
}
