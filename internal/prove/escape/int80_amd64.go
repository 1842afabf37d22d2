package escape

// int80 stands for a call by the 32-bit gate.
const int80 = ^uintptr(0)

// x32Bit marks a call of the x32 ABI.
const x32Bit = 0x40000000

// callInt80 is getpid of the 32-bit system-call table (20).
func callInt80()
