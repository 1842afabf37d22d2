package canon

// The classes of a byte of a request target.
const (
	classUnreserved uint8 = 1 << iota // RFC 3986 §2.3
	classPath                         // may stand raw in a path: pchar and "/"
	classEncode                       // printable, but has to be escaped in a path
	classQuery                        // may stand raw in a query
	classToken                        // RFC 9110 §5.6.2, without lower case
	className                         // may stand in a host name, lower case
)

// class is written here and never after: a constant that Go has no syntax for.
var class = makeClass()

func makeClass() (t [256]uint8) {
	set := func(s string, bit uint8) {
		for i := range len(s) {
			t[s[i]] |= bit
		}
	}
	const (
		upper = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
		lower = "abcdefghijklmnopqrstuvwxyz"
		digit = "0123456789"
	)
	set(upper+lower+digit+"-._~", classUnreserved|classPath)
	set("!$&'()*+,;=:@/", classPath)
	set("\"<>[]^`{|}", classEncode)
	set(upper+digit+"!#$%&'*+-.^_`|~", classToken)
	set(lower+digit+"-_", className)
	for c := 0x21; c <= 0x7e; c++ {
		if c != '#' {
			t[c] |= classQuery
		}
	}
	return t
}

// unhex is the value of a hex digit, or 0xff.
func unhex(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10
	}
	return 0xff
}
