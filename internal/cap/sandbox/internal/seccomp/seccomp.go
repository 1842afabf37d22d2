// Package seccomp builds and installs the system-call filter of a sandbox
// (seccomp(2), classic BPF).
//
// Guarantee: what is not listed is refused: with ENOSYS where programs have a
// fallback (clone3, openat2, io_uring, memfd_create, calls newer than the list), else with
// EPERM; a foreign instruction set ends the process. clone may not make namespaces;
// sockets are Unix, routing netlink, and TCP or UDP only; no file gets a set-user-ID or
// set-group-ID bit; nobody inside becomes a supervisor, so that what is handed over to
// one that is gone stays refused (ENOSYS).
// Not guaranteed: anything about paths: that is Landlock's and the private root's.
package seccomp

import (
	"cmp"
	"fmt"
	"slices"
	"unsafe"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// Offsets into struct seccomp_data.
const (
	offNr   = 0
	offArch = 4
)

// Verdicts that golang.org/x/sys doesn't spell out for filters.
const (
	retKill   = 0x80000000
	retErrno  = 0x00050000
	retNotify = 0x7fc00000
	retTrace  = 0x7ff00000 // ENOSYS, since nobody traces
	retAllow  = 0x7fff0000
)

// Options vary the filter.
type Options struct {
	// Supervised hands those refused calls that only an intruder tries to a supervisor, see Refused; Install then returns its
	// descriptor.
	Supervised bool
	// Bind hands it every bind(2) too. It needs Supervised.
	Bind bool
	// Look hands it every execve(2), connect(2) and call that writes (see Written) too, which the kernel then carries
	// out or refuses as ever. It needs Supervised.
	Look bool
	// Outer is for a stage whose children put a supervised filter on themselves: of all filters' verdicts the kernel takes the
	// most restrictive, and an error goes before a supervisor. What is to be handed over is ENOSYS here, by a verdict that doesn't.
	Outer bool
	// Allow lists further system calls, for Ward's own stages.
	Allow []int
}

// Install puts the filter on the calling OS thread, which must be locked and
// must have set no_new_privs. Threads and programs that it starts inherit it. It returns the notify
// descriptor if Supervised, else -1.
func Install(o Options) (int, error) {
	raw, err := Program(o)
	if err != nil {
		return -1, err
	}
	filter := make([]unix.SockFilter, len(raw))
	for i, in := range raw {
		filter[i] = unix.SockFilter{Code: in.Op, Jt: in.Jt, Jf: in.Jf, K: in.K}
	}
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	install := func(flags uintptr) (uintptr, unix.Errno) {
		fd, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, flags, uintptr(unsafe.Pointer(&prog)))
		return fd, errno
	}
	flags := uintptr(0)
	if o.Supervised {
		flags = unix.SECCOMP_FILTER_FLAG_NEW_LISTENER | unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV // a signal doesn't interrupt what never did
	}
	fd, errno := install(flags)
	if errno == unix.EINVAL && o.Supervised { // before Linux 5.19
		fd, errno = install(unix.SECCOMP_FILTER_FLAG_NEW_LISTENER)
	}
	if errno != 0 {
		return -1, fmt.Errorf("install system-call filter: %w", errno)
	}
	if !o.Supervised {
		return -1, nil
	}
	return int(fd), nil
}

// Program assembles the filter.
func Program(o Options) ([]bpf.RawInstruction, error) {
	allow := slices.Concat(allowed, allowedArch, o.Allow)
	b := builder{look: o.Look}
	b.load(offArch)
	b.unlessEqual(auditArch, retKill)
	b.load(offNr)
	if x32Bit != 0 {
		b.ifAtLeast(x32Bit, retKill)
	}
	if o.Bind {
		b.ifEqual(unix.SYS_BIND, retNotify)
	}
	switch {
	case o.Supervised:
		b.watched = retNotify
	case o.Outer:
		b.watched = retTrace
	}
	if !o.Outer { // who could answer for a supervisor that is gone would let pass what is refused
		b.rules([]argRule{{nr: unix.SYS_SECCOMP, tests: []argTest{{arg: 1, mask: unix.SECCOMP_FILTER_FLAG_NEW_LISTENER, values: []uint32{0}}}, deny: unix.EBUSY}})
	}
	b.rules(argumentRules)
	b.rules(archRules)
	if o.Look { // behind the rules on arguments: what is handed over is refused by nothing that comes later
		b.looks(allow)
	}
	for _, nr := range absent {
		b.ifEqual(uint32(nr), errno(unix.ENOSYS))
	}
	b.allowRanges(allow)
	if b.watched != 0 { // behind what is allowed, which they mustn't slow down
		for _, w := range slices.Concat(watched, archWatched) {
			b.ifEqual(uint32(w.nr), b.watched)
		}
	}
	b.ifAtLeast(firstUnknown, errno(unix.ENOSYS))
	b.ret(errno(unix.EPERM))
	raw, err := bpf.Assemble(b.program)
	if err != nil {
		return nil, fmt.Errorf("assemble system-call filter: %w", err)
	}
	return raw, nil
}

func errno(e unix.Errno) uint32 { return retErrno | uint32(e) }

// argument is where the low 32 bits of an argument are in struct seccomp_data.
func argument(i int) uint32 { return uint32(16 + 8*i) }

// builder appends instructions; every test is followed by its own return, so that no jump is long.
type builder struct {
	program []bpf.Instruction
	watched uint32 // the verdict on watched calls; 0 for an error
	look    bool
}

func (b *builder) add(in ...bpf.Instruction) { b.program = append(b.program, in...) }

func (b *builder) load(off uint32) { b.add(bpf.LoadAbsolute{Off: off, Size: 4}) }

func (b *builder) ret(v uint32) { b.add(bpf.RetConstant{Val: v}) }

func (b *builder) ifEqual(v, ret uint32) {
	b.add(bpf.JumpIf{Cond: bpf.JumpEqual, Val: v, SkipFalse: 1}, bpf.RetConstant{Val: ret})
}

func (b *builder) unlessEqual(v, ret uint32) {
	b.add(bpf.JumpIf{Cond: bpf.JumpEqual, Val: v, SkipTrue: 1}, bpf.RetConstant{Val: ret})
}

func (b *builder) ifAtLeast(v, ret uint32) {
	b.add(bpf.JumpIf{Cond: bpf.JumpGreaterOrEqual, Val: v, SkipFalse: 1}, bpf.RetConstant{Val: ret})
}

// allowRanges allows the numbers, runs of neighbours in one test.
func (b *builder) allowRanges(numbers []int) {
	n := slices.Clone(numbers)
	slices.Sort(n)
	n = slices.Compact(n)
	for i := 0; i < len(n); {
		j := i
		for j+1 < len(n) && n[j+1] == n[j]+1 {
			j++
		}
		lo, hi := uint32(n[i]), uint32(n[j])
		if lo == hi {
			b.ifEqual(lo, retAllow)
		} else {
			b.add(
				bpf.JumpIf{Cond: bpf.JumpLessThan, Val: lo, SkipTrue: 2},
				bpf.JumpIf{Cond: bpf.JumpGreaterThan, Val: hi, SkipTrue: 1},
				bpf.RetConstant{Val: retAllow})
		}
		i = j + 1
	}
}

// argRule allows a call only if its tests on the low 32 bits of arguments pass.
type argRule struct {
	nr    int
	when  argTest // without values, or it must pass for the rule to be about the call
	tests []argTest
	deny  unix.Errno
	watch bool // a supervisor hears of what is denied
}

// argTest passes if (argument & mask) is one of the values; mask 0 means all bits.
type argTest struct {
	arg    int
	mask   uint32
	values []uint32
	// last: a pass allows the call whatever the tests after it say, and a failure goes on to them.
	last bool
	deny unix.Errno // in place of the rule's; 0 for that
}

func (t *argTest) load() []bpf.Instruction {
	in := []bpf.Instruction{bpf.LoadAbsolute{Off: argument(t.arg), Size: 4}}
	if t.mask != 0 {
		in = append(in, bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: t.mask})
	}
	return in
}

func (t *argTest) passes(args [6]uint64) bool {
	v := uint32(args[t.arg])
	if t.mask != 0 {
		v &= t.mask
	}
	return slices.Contains(t.values, v)
}

// rules adds, for each rule: if nr matches, and when does, each test in turn, pass; else go on
// with nr loaded again.
func (b *builder) rules(rules []argRule) {
	for _, r := range rules {
		var body []bpf.Instruction
		pass := b.pass(r.nr)
		for _, t := range r.tests {
			body = append(body, t.load()...)
			for i, v := range t.values {
				// A hit skips the other values and the refusal.
				if t.last {
					body = append(body, bpf.JumpIf{Cond: bpf.JumpEqual, Val: v, SkipFalse: uint8(len(pass))})
					body = append(body, pass...)
					continue
				}
				body = append(body, bpf.JumpIf{Cond: bpf.JumpEqual, Val: v, SkipTrue: uint8(len(t.values) - i)})
			}
			switch {
			case t.last:
			case r.watch && b.watched != 0:
				body = append(body, bpf.RetConstant{Val: b.watched})
			default:
				body = append(body, bpf.RetConstant{Val: errno(cmp.Or(t.deny, r.deny))})
			}
		}
		body = append(body, pass...)
		if len(r.when.values) == 1 {
			test := append(r.when.load(), bpf.JumpIf{Cond: bpf.JumpEqual, Val: r.when.values[0], SkipFalse: uint8(len(body))})
			body = slices.Concat(test, body, []bpf.Instruction{bpf.LoadAbsolute{Off: offNr, Size: 4}})
		}
		b.add(bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(r.nr), SkipFalse: uint8(len(body))})
		b.add(body...)
	}
}
