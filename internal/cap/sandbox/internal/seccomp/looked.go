package seccomp

import (
	"slices"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// writeFlags are those of open(2) that change what is opened.
const writeFlags = unix.O_WRONLY | unix.O_RDWR | unix.O_CREAT | unix.O_TRUNC

// changeFlags are those of writeFlags that change what is there.
const changeFlags = writeFlags &^ unix.O_CREAT

// writingCall makes, changes or removes a file; a call that does so to two has two.
type writingCall struct {
	nr    int
	dir   int // the argument with the folder's descriptor; -1 for the caller's folder
	path  int
	flags int // the argument with open(2)'s flags; -1 if there is none, and each call writes
	what  change
}

// change is what a call does to a file.
type change int

const (
	changes  change = iota
	makes           // it is there afterwards, and nothing has happened if it was before
	removes         // the entry of its folder
	becomes         // its entry takes the place of what is there, if anything
	replaces        // it is made, or cut
)

// writing are the writing calls of every architecture. What only changes a file's rights or times isn't among them.
var writing = []writingCall{
	{nr: unix.SYS_OPENAT, dir: 0, path: 1, flags: 2},
	{nr: unix.SYS_MKDIRAT, dir: 0, path: 1, flags: -1, what: makes},
	{nr: unix.SYS_SYMLINKAT, dir: 1, path: 2, flags: -1, what: makes},
	{nr: unix.SYS_LINKAT, dir: 2, path: 3, flags: -1, what: makes},
	{nr: unix.SYS_UNLINKAT, dir: 0, path: 1, flags: -1, what: removes},
	{nr: unix.SYS_RENAMEAT, dir: 0, path: 1, flags: -1, what: removes},
	{nr: unix.SYS_RENAMEAT, dir: 2, path: 3, flags: -1, what: becomes},
	{nr: unix.SYS_RENAMEAT2, dir: 0, path: 1, flags: -1, what: removes},
	{nr: unix.SYS_RENAMEAT2, dir: 2, path: 3, flags: -1, what: becomes},
	{nr: unix.SYS_TRUNCATE, dir: -1, path: 0, flags: -1},
}

// File is a file as a call names it.
type File struct {
	Dir  int32  // the folder's descriptor in the caller, or AT_FDCWD
	Path uint64 // where the caller's memory holds the path
	// Makes says that it is made if it isn't there, Keeps that nothing happens if it is, Entry that it is the entry of its folder that changes, a link's own.
	Makes, Keeps, Entry bool
}

// Written are the files that a call would make, change or remove; none of a call that does none of it.
func Written(nr int, args [6]uint64) []File {
	var out []File
	for _, all := range [][]writingCall{writing, archWriting} {
		for _, w := range all {
			if w.nr != nr || w.flags >= 0 && args[w.flags]&writeFlags == 0 {
				continue
			}
			f := File{Dir: unix.AT_FDCWD, Path: args[w.path], Makes: w.what == makes || w.what == becomes || w.what == replaces, Keeps: w.what == makes, Entry: w.what != changes && w.what != replaces}
			if w.dir >= 0 {
				f.Dir = int32(args[w.dir])
			}
			if w.flags >= 0 {
				flags := args[w.flags]
				f.Makes = flags&unix.O_CREAT != 0
				f.Keeps = f.Makes && (flags&changeFlags == 0 || flags&unix.O_EXCL != 0)
			}
			out = append(out, f)
		}
	}
	return out
}

// looks hands over the calls that Options.Look names and that have no rule on their arguments. They have to be among the allowed ones: what is handed
// over isn't refused any more.
func (b *builder) looks(allowed []int) {
	all := []int{unix.SYS_EXECVE, unix.SYS_CONNECT}
	for _, w := range slices.Concat(writing, archWriting) {
		if w.flags < 0 {
			all = append(all, w.nr)
		}
	}
	slices.Sort(all)
	for _, nr := range slices.Compact(all) {
		if slices.Contains(allowed, nr) {
			b.ifEqual(uint32(nr), retNotify)
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
