package canon

import (
	"strings"
	"unicode/utf8"
)

// maxTarget bounds a request target, and so a path, in bytes.
const maxTarget = 8 << 10

// Path returns the canonical form of the path of an origin-form target (RFC 9112
// §3.2.1), without query, as Request.Path describes it; the error is an Error.
// Decoding the result gives the same bytes as decoding raw, and
// Path(Path(x)) == Path(x). A path that is canonical already is returned as it
// is, without allocation.
//
// Escapes of bytes that may stand raw are resolved, except %3B: to a server with
// path parameters ";" and "%3B" mean different things, so neither becomes the
// other.
func Path(raw string) (string, error) {
	if len(raw) > maxTarget {
		return "", ErrTargetLong
	}
	if raw == "" || raw[0] != '/' {
		return "", ErrTarget
	}
	for i := range len(raw) {
		c := raw[i]
		if class[c]&classPath == 0 || c == ';' {
			return slowPath(raw)
		}
		if c == '/' && i+1 < len(raw) && (raw[i+1] == '/' || raw[i+1] == '.') {
			if err := checkSegment(raw[i+1:]); err != nil {
				return "", err
			}
		}
	}
	return raw, nil
}

// checkSegment refuses what rest, which begins just after a slash, begins with if
// that is an empty or a dot segment. Servers with path parameters cut a segment
// at ";" before they resolve dots, so "..;x" counts as "..".
func checkSegment(rest string) error {
	seg, _, more := strings.Cut(rest, "/")
	name, params := seg, false
	if i := strings.IndexByte(seg, ';'); i >= 0 {
		name, params = seg[:i], true
	}
	if i := strings.Index(name, "%3B"); i >= 0 {
		name, params = name[:i], true
	}
	switch {
	case name == "." || name == "..":
		return ErrDotSegment
	case name == "" && params:
		return ErrParamsSegment
	case name == "" && more:
		return ErrEmptySegment
	}
	return nil
}

func slowPath(raw string) (string, error) {
	out := make([]byte, 0, len(raw)+16)
	plain := make([]byte, 0, len(raw))
	for i := 0; i < len(raw); i++ {
		c := raw[i]
		switch {
		case c == '%':
			d, err := escaped(raw[i:])
			if err != nil {
				return "", err
			}
			i += 2
			plain = append(plain, d)
			if class[d]&classPath != 0 && d != ';' {
				out = append(out, d)
			} else {
				out = appendEscape(out, d)
			}
		case class[c]&classPath != 0:
			out, plain = append(out, c), append(plain, c)
		case class[c]&classEncode != 0:
			out, plain = appendEscape(out, c), append(plain, c)
		default:
			return "", ErrByte
		}
	}
	if len(out) > maxTarget {
		return "", ErrTargetLong
	}
	if err := checkText(plain); err != nil {
		return "", err
	}
	path := raw
	if string(out) != raw {
		path = string(out)
	}
	for i := range len(path) {
		switch path[i] {
		case '/':
			if err := checkSegment(path[i+1:]); err != nil {
				return "", err
			}
		case '%':
			// A server that decodes twice would see another path than we match.
			if i+4 < len(path) && path[i:i+3] == "%25" && unhex(path[i+3]) != 0xff && unhex(path[i+4]) != 0xff {
				return "", ErrDoubleEscape
			}
		}
	}
	return path, nil
}

// escaped is the byte that the escape at the start of s stands for.
func escaped(s string) (byte, error) {
	if len(s) < 3 {
		return 0, ErrEscape
	}
	hi, lo := unhex(s[1]), unhex(s[2])
	if hi == 0xff || lo == 0xff {
		return 0, ErrEscape
	}
	d := hi<<4 | lo
	if d == '/' || d == '\\' || d < 0x20 || d == 0x7f {
		return 0, ErrEscapedByte
	}
	return d, nil
}

// checkText refuses bytes that are not UTF-8, or that are controls in it (C1).
func checkText(b []byte) error {
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		if r == utf8.RuneError && n == 1 {
			return ErrUTF8
		}
		if r >= 0x80 && r < 0xa0 {
			return ErrEscapedByte
		}
		b = b[n:]
	}
	return nil
}

func appendEscape(b []byte, c byte) []byte {
	const hex = "0123456789ABCDEF"
	return append(b, '%', hex[c>>4], hex[c&15])
}
