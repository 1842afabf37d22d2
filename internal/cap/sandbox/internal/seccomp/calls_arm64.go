package seccomp

import "golang.org/x/sys/unix"

const auditArch = unix.AUDIT_ARCH_AARCH64

// x32Bit is amd64's only.
const x32Bit = 0

// allowedArch is empty: arm64 has none of the old calls.
var allowedArch = []int{}

// archRules is empty for the same reason.
var archRules = []argRule{}

// archWatched are those of watched that not every architecture has.
var archWatched = []watchedCall{{unix.SYS_KEXEC_FILE_LOAD, "kexec_file_load", kernel}}

// archWriting are those of writing that not every architecture has.
var archWriting []writingCall
