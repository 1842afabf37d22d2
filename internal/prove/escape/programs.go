package escape

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

func programs() []attempt {
	return []attempt{
		{"shell", "run a shell", byLandlock, shell},
		{"tools", "run the host's programs", byLandlock, tools},
		{"workdir-program", "run another program of the service's folder", byLandlock, func(g *Ground) Result {
			if g.Program == "" {
				return notApplicable("no other program is known there")
			}
			return runs(exec.Command(g.Program))
		}},
		{"dropped-program", "run a program that was dropped into a writable folder", byRoot, dropped},
		{"memory-program", "run a program from memory (memfd_create), past Landlock", byFilter, memoryProgram},
		{"execveat", "run a program from a descriptor", byFilter, execveat},
		{"loader", "let the loader run a dropped program", byRoot, loader},
		{"map-dropped", "map a dropped file as code", byRoot, mapDropped},
		{"init-program", "run Ward's own binary anew", byInit, func(*Ground) Result { return runs(exec.Command("/proc/1/exe", "version")) }},
		{"setuid-bit", "make a setuid program", "no_new_privs, nosuid", setuidBit},
	}
}

const marker = "ward-escaped"

// tinyProgram is the smallest ELF file that prints the marker and ends with 42.
func tinyProgram() []byte {
	var code []byte
	machine := uint16(0)
	switch runtime.GOARCH {
	case "amd64":
		machine = 62
		code = []byte{
			0xb8, 1, 0, 0, 0, 0xbf, 1, 0, 0, 0, // write, standard output
			0x48, 0x8d, 0x35, 19, 0, 0, 0, 0xba, byte(len(marker)), 0, 0, 0, 0x0f, 0x05,
			0xb8, 60, 0, 0, 0, 0xbf, 42, 0, 0, 0, 0x0f, 0x05, // exit 42
		}
	case "arm64":
		machine = 183
		for _, in := range []uint32{0xd2800020, 0x100000e1, 0xd2800182, 0xd2800808, 0xd4000001, 0xd2800540, 0xd2800ba8, 0xd4000001} {
			code = binary.LittleEndian.AppendUint32(code, in)
		}
	default:
		return nil
	}
	code = append(code, marker...)
	const base, headers = 0x400000, 64 + 56
	size := uint64(headers + len(code))
	var b bytes.Buffer
	b.Write([]byte{0x7f, 'E', 'L', 'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	for _, v := range []any{
		uint16(2), machine, uint32(1), uint64(base + headers), uint64(64), uint64(0), uint32(0), uint16(64), uint16(56), uint16(1), uint16(0), uint16(0), uint16(0),
		uint32(1), uint32(5), uint64(0), uint64(base), uint64(base), size, size, uint64(4096),
	} {
		_ = binary.Write(&b, binary.LittleEndian, v) // a Buffer takes all
	}
	return append(b.Bytes(), code...)
}

// runs tells whether a program runs at all.
func runs(c *exec.Cmd) Result {
	c.WaitDelay = patience
	var out bytes.Buffer
	c.Stdout = &out
	if err := c.Start(); err != nil {
		return blocked("%v", err)
	}
	stop := time.AfterFunc(patience, func() { _ = c.Process.Kill() })
	defer stop.Stop()
	err := c.Wait()
	if strings.Contains(out.String(), marker) {
		return succeeded("%s ran", c.Path)
	}
	if c.ProcessState != nil && c.ProcessState.ExitCode() == 127 {
		return blocked("%s: its loader found nothing to run", c.Path)
	}
	return succeeded("%s was started (%v)", c.Path, err)
}

func shell(g *Ground) Result {
	return each(notGranted(g, "/bin/sh", "/bin/bash", "/usr/bin/sh", "/bin/busybox", "/usr/bin/dash"), "run: names shell scripts, so the shell is granted", func(p string) Result {
		return runs(exec.Command(p, "-c", "echo "+marker))
	})
}

func tools(g *Ground) Result {
	paths := notGranted(g, "/usr/bin/curl", "/usr/bin/wget", "/usr/bin/nc", "/usr/bin/perl", "/usr/bin/gcc", "/usr/bin/ssh", "/usr/bin/su", "/usr/bin/sudo", "/usr/bin/mount", "/usr/bin/env", "/usr/bin/id", "/usr/sbin/ip")
	return each(paths, "all are granted", func(p string) Result { return runs(exec.Command(p, "--version")) })
}

// notGranted leaves out what the service may execute, under whatever name.
func notGranted(g *Ground, paths ...string) []string {
	return slices.DeleteFunc(paths, func(p string) bool {
		st, err := os.Stat(p)
		if err != nil {
			return slices.Contains(g.Programs, p)
		}
		return slices.ContainsFunc(g.Programs, func(q string) bool {
			other, err := os.Stat(q)
			return err == nil && os.SameFile(st, other)
		})
	})
}

// drop writes the tiny program into a folder.
func drop(dir string) (string, error) {
	b := tinyProgram()
	if b == nil {
		return "", fmt.Errorf("no program for %s", runtime.GOARCH)
	}
	p := filepath.Join(dir, ".ward-dropped-"+strconv.Itoa(os.Getpid()))
	return p, os.WriteFile(p, b, 0o755)
}

func dropped(*Ground) Result {
	return each([]string{"/tmp", "/dev/shm", "/var/tmp", "/run"}, "", func(dir string) Result {
		p, err := drop(dir)
		if err != nil {
			return blocked("%v", err)
		}
		defer os.Remove(p)
		return runs(exec.Command(p))
	})
}

func memory() (int, error) {
	fd, err := unix.MemfdCreate("x", 0)
	if err != nil {
		return -1, err
	}
	if _, err := unix.Write(fd, tinyProgram()); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

func memoryProgram(*Ground) Result {
	fd, err := memory()
	if err != nil {
		return blocked("memfd_create: %v", err)
	}
	defer unix.Close(fd)
	return runs(exec.Command("/proc/" + strconv.Itoa(os.Getpid()) + "/fd/" + strconv.Itoa(fd)))
}

// execveat asks with a descriptor that isn't one, so that only the guard's answer counts.
func execveat(*Ground) Result {
	empty := [1]byte{}
	_, _, e := unix.Syscall6(unix.SYS_EXECVEAT, ^uintptr(0), uintptr(unsafe.Pointer(&empty[0])), 0, 0, unix.AT_EMPTY_PATH, 0)
	return reached(e)
}

func loader(*Ground) Result {
	p, err := drop("/tmp")
	if err != nil {
		return blocked("%v", err)
	}
	defer os.Remove(p)
	return each([]string{"/lib64/ld-linux-x86-64.so.2", "/lib/ld-linux-aarch64.so.1", "/lib/ld-musl-x86_64.so.1"}, "", func(l string) Result {
		r := runs(exec.Command(l, p))
		if r.Verdict == Succeeded && !strings.HasSuffix(r.How, " ran") {
			return blocked("the loader is granted, but maps nothing: %s", r.How)
		}
		return r
	})
}

func mapDropped(*Ground) Result {
	return each([]string{"/tmp", "/dev/shm", "/var/tmp", "/run"}, "", func(dir string) Result {
		p, err := drop(dir)
		if err != nil {
			return blocked("%v", err)
		}
		defer os.Remove(p)
		f, err := os.Open(p)
		if err != nil {
			return blocked("%v", err)
		}
		defer f.Close()
		b, err := unix.Mmap(int(f.Fd()), 0, 4096, unix.PROT_READ|unix.PROT_EXEC, unix.MAP_PRIVATE)
		if err != nil {
			return blocked("mmap in %s: %v", dir, err)
		}
		_ = unix.Munmap(b)
		if dir == "/tmp" && execTmp() {
			return notApplicable("the jvm profile maps libraries from /tmp")
		}
		return succeeded("mapped a file of %s as code", dir)
	})
}

func execTmp() bool {
	var st unix.Statfs_t
	return unix.Statfs("/tmp", &st) == nil && st.Flags&unix.ST_NOEXEC == 0
}

// setuidBit: the bit may be set, but must mean nothing.
func setuidBit(*Ground) Result {
	nnp, err := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)
	if err == nil && nnp == 1 {
		return blocked("no_new_privs is set")
	}
	var st unix.Statfs_t
	if err := unix.Statfs("/tmp", &st); err == nil && st.Flags&unix.ST_NOSUID != 0 {
		return blocked("/tmp is nosuid")
	}
	return succeeded("a setuid program would gain rights")
}
