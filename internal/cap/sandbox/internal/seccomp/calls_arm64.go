package seccomp

import "golang.org/x/sys/unix"

const auditArch = unix.AUDIT_ARCH_AARCH64

// x32Bit is amd64's only.
const x32Bit = 0

// allowedArch is empty: arm64 has none of the old calls.
var allowedArch = []int{}

// archRules is empty for the same reason.
var archRules = []argRule{}
