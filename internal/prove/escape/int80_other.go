//go:build !amd64

package escape

const (
	int80  = ^uintptr(0)
	x32Bit = 0
)

func callInt80() {}
