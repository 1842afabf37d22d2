package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"strings"
	"testing"

	"github.com/wardhq/ward/internal/up"
	"github.com/wardhq/ward/internal/wardtest"
)

// inMemory tells whether a process has bytes in any of its writable memory.
func inMemory(t *testing.T, pid int, what []byte) bool {
	t.Helper()
	maps, err := os.Open(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		t.Fatal(err)
	}
	defer maps.Close()
	mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		t.Fatal(err)
	}
	defer mem.Close()
	pages, err := os.Open(fmt.Sprintf("/proc/%d/pagemap", pid))
	if err != nil {
		t.Fatal(err)
	}
	defer pages.Close()
	for lines := bufio.NewScanner(maps); lines.Scan(); {
		var from, to uint64
		var rights string
		if _, err := fmt.Sscanf(lines.Text(), "%x-%x %s", &from, &to, &rights); err != nil || !strings.HasPrefix(rights, "rw") || to-from > 1<<30 {
			continue
		}
		for from, to := range touched(t, pages, from, to) {
			b := make([]byte, to-from)
			n, _ := mem.ReadAt(b, int64(from)) // what can't be read isn't readable for others either
			if bytes.Contains(b[:n], what) {
				return true
			}
		}
	}
	return false
}

// touched are the stretches between two addresses that hold anything, in memory or swapped out (proc_pid_pagemap(5)): all others are zeros, and with the
// race detector they are most.
func touched(t *testing.T, pages *os.File, from, to uint64) iter.Seq2[uint64, uint64] {
	t.Helper()
	size := uint64(os.Getpagesize())
	b := make([]byte, (to-from)/size*8)
	if _, err := pages.ReadAt(b, int64(from/size*8)); err != nil && !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	return func(yield func(uint64, uint64) bool) {
		const present, swapped = 1 << 63, 1 << 62
		begin := to
		for i := range uint64(len(b) / 8) {
			at, holds := from+i*size, binary.LittleEndian.Uint64(b[i*8:])&(present|swapped) != 0
			if holds {
				begin = min(begin, at)
			} else if begin < at {
				if !yield(begin, at) {
					return
				}
				begin = to
			}
		}
		if begin < to {
			yield(begin, to)
		}
	}
}

// TestOnlyWhoNeedsASecretHasItInMemory looks through the memory of Ward's own processes as root can; an ordinary user can't even for
// processes of their own.
func TestOnlyWhoNeedsASecretHasItInMemory(t *testing.T) {
	t.Parallel()
	w := wardtest.Start(t, safeModel, nil)
	p, err := up.FindPaths(w.File)
	if err != nil {
		t.Fatal(err)
	}
	root, _, err := p.OpenRoot(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	_, session := runWard(t, w, "", "secrets", "reveal", "session")
	var st up.Status
	if err := p.Up().Call(context.Background(), "GET", "/v1/status", nil, &st); err != nil {
		t.Fatal(err)
	}
	if os.Getuid() != 0 {
		for _, role := range []string{"control", "agent", "gateway"} {
			if f, err := os.Open(fmt.Sprintf("/proc/%d/mem", rolePID(t, st, role))); err == nil {
				f.Close()
				t.Errorf("another process of the user may read the memory of %s", role)
			}
		}
		return
	}
	// What is looked for is found where it is: control has the value that it has just revealed.
	control := rolePID(t, st, "control")
	if !inMemory(t, control, []byte(session)) {
		t.Error("the search finds nothing, not even where it is")
	}
	for _, role := range []string{"agent", "gateway"} {
		pid := rolePID(t, st, role)
		if inMemory(t, pid, root.Reveal()) {
			t.Errorf("%s has the root key", role)
		}
		if inMemory(t, pid, []byte(session)) {
			t.Errorf("%s has a secret that it doesn't need", role)
		}
	}
}
