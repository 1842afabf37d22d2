package seccomp

import (
	"slices"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// writeFlags are those of open(2) that change what is opened.
const writeFlags = unix.O_WRONLY | unix.O_RDWR | unix.O_CREAT | unix.O_TRUNC

// writingCall makes, changes or removes a file.
type writingCall struct {
	nr    int
	dir   int // the argument with the folder's descriptor; -1 for the caller's folder
	path  int
	flags int // the argument with open(2)'s flags; -1 if there is none, and each call writes
	makes bool
}

// writing are the writing calls of every architecture. What only changes a file's rights or times isn't among them, nor links and nodes.
var writing = []writingCall{
	{nr: unix.SYS_OPENAT, dir: 0, path: 1, flags: 2},
	{nr: unix.SYS_MKDIRAT, dir: 0, path: 1, flags: -1, makes: true},
	{nr: unix.SYS_UNLINKAT, dir: 0, path: 1, flags: -1},
	{nr: unix.SYS_RENAMEAT, dir: 0, path: 1, flags: -1},
	{nr: unix.SYS_RENAMEAT2, dir: 0, path: 1, flags: -1},
	{nr: unix.SYS_TRUNCATE, dir: -1, path: 0, flags: -1},
}

// File is a file as a call names it.
type File struct {
	Dir   int32  // the folder's descriptor in the caller, or AT_FDCWD
	Path  uint64 // where the caller's memory holds the path
	Makes bool   // the call makes it if it isn't there
}

// Written is the file that a call would make, change or remove; false for a call that does none of it.
func Written(nr int, args [6]uint64) (File, bool) {
	for _, all := range [][]writingCall{writing, archWriting} {
		for _, w := range all {
			if w.nr != nr || w.flags >= 0 && args[w.flags]&writeFlags == 0 {
				continue
			}
			f := File{Dir: unix.AT_FDCWD, Path: args[w.path], Makes: w.makes}
			if w.dir >= 0 {
				f.Dir = int32(args[w.dir])
			}
			if w.flags >= 0 {
				f.Makes = args[w.flags]&unix.O_CREAT != 0
			}
			return f, true
		}
	}
	return File{}, false
}

// looks hands over the calls that Options.Look names and that have no rule on their arguments.
func (b *builder) looks() {
	b.ifEqual(unix.SYS_EXECVE, retNotify)
	b.ifEqual(unix.SYS_CONNECT, retNotify)
	for _, w := range slices.Concat(writing, archWriting) {
		if w.flags < 0 {
			b.ifEqual(uint32(w.nr), retNotify)
		}
	}
}

// pass ends a rule on a call's arguments that it keeps: it is allowed, or looked at.
func (b *builder) pass(nr int) []bpf.Instruction {
	all := slices.Concat(writing, archWriting)
	i := slices.IndexFunc(all, func(w writingCall) bool { return w.nr == nr })
	switch {
	case !b.look || i < 0:
		return []bpf.Instruction{bpf.RetConstant{Val: retAllow}}
	case all[i].flags < 0:
		return []bpf.Instruction{bpf.RetConstant{Val: retNotify}}
	}
	return []bpf.Instruction{
		bpf.LoadAbsolute{Off: argument(all[i].flags), Size: 4},
		bpf.JumpIf{Cond: bpf.JumpBitsSet, Val: writeFlags, SkipFalse: 1},
		bpf.RetConstant{Val: retNotify},
		bpf.RetConstant{Val: retAllow},
	}
}
