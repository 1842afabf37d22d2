package h1

import (
	"bytes"
	"unsafe"
)

// Field is one header or trailer field. Its strings alias the Reader's buffer:
// they hold until the Reader begins the next head.
type Field struct {
	Name  string // as it came
	Value string // without surrounding white space; no controls but HTAB
	Kind  Kind
}

// Kind marks the fields that the codec or a proxy treats by itself.
type Kind uint8

// The kinds. End is a field for the far end: forward it.
const (
	End              Kind = iota
	Host                  // part of the canonical request
	Connection            // RFC 9110 §7.6.1
	ContentLength         // framing
	TransferEncoding      // framing
	Upgrade               // RFC 9110 §7.8
	Expect                // RFC 9110 §10.1.1
	Hop                   // any other field for this hop only
)

// known lists the names by length, so that most fields are compared with nothing.
func known(name string) Kind {
	switch len(name) {
	case 2:
		return pick(name, "te", Hop)
	case 4:
		return pick(name, "host", Host)
	case 6:
		return pick(name, "expect", Expect)
	case 7:
		return pick(name, "upgrade", Upgrade)
	case 10:
		return pick(name, "connection", Connection) | pick(name, "keep-alive", Hop)
	case 14:
		return pick(name, "content-length", ContentLength) | pick(name, "http2-settings", Hop)
	case 16:
		return pick(name, "proxy-connection", Hop)
	case 17:
		return pick(name, "transfer-encoding", TransferEncoding)
	case 18:
		return pick(name, "proxy-authenticate", Hop)
	case 19:
		return pick(name, "proxy-authorization", Hop)
	}
	return End
}

// HopByHop tells whether a field ends at this hop whatever Connection says: those
// of a Kind, except Host, Content-Length and Expect.
func HopByHop(name string) bool {
	switch known(name) {
	case Connection, TransferEncoding, Upgrade, Hop:
		return true
	}
	return false
}

func pick(name, lower string, k Kind) Kind {
	if EqualFold(name, lower) {
		return k
	}
	return End
}

// EqualFold tells whether s is lower, which must be lower case, in any ASCII case.
func EqualFold(s, lower string) bool {
	if len(s) != len(lower) {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if c >= 'A' && c <= 'Z' {
			c |= 0x20
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}

// The classes of a byte in a head.
const (
	classToken uint8 = 1 << iota // RFC 9110 §5.6.2
	classValue                   // field-vchar, SP, HTAB; RFC 9110 §5.5
	classUnder                   // "_" and ".", which CGI-like servers read as "-"
)

// class is written here and never after: a constant that Go has no syntax for.
var class = makeClass()

func makeClass() (t [256]uint8) {
	for c := 0x20; c < 0x100; c++ {
		if c != 0x7f {
			t[c] |= classValue
		}
	}
	t['\t'] |= classValue
	const token = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	for i := range len(token) {
		t[token[i]] |= classToken
	}
	t['_'] |= classUnder
	t['.'] |= classUnder
	return t
}

// ValidField tells whether a field may be written out: the name is a token, and
// the value has neither controls nor surrounding white space.
func ValidField(name, value string) bool {
	if name == "" {
		return false
	}
	for i := range len(name) {
		if class[name[i]]&classToken == 0 {
			return false
		}
	}
	for i := range len(value) {
		if class[value[i]]&classValue == 0 {
			return false
		}
	}
	return value == "" || !space(value[0]) && !space(value[len(value)-1])
}

func space(c byte) bool { return c == ' ' || c == '\t' }

// view is b as a string, without a copy. The Reader never changes the bytes of a
// head while that head may be in use.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// parseFields appends the fields of b, whose every line ends in CR LF and which
// holds no empty line.
func parseFields(fs []Field, b []byte, max int) ([]Field, error) {
	for len(b) > 0 {
		end := bytes.IndexByte(b, '\n')
		if end < 1 || b[end-1] != '\r' {
			return fs, ErrBareLF
		}
		if len(fs) == max {
			return fs, ErrFieldCount
		}
		f, err := parseField(b[:end-1])
		if err != nil {
			return fs, err
		}
		fs, b = append(fs, f), b[end+1:]
	}
	return fs, nil
}

func parseField(line []byte) (Field, error) {
	if len(line) > 0 && space(line[0]) {
		return Field{}, ErrFold
	}
	i, seen := 0, uint8(0)
	for i < len(line) && class[line[i]]&classToken != 0 {
		seen |= class[line[i]]
		i++
	}
	if i == 0 || i == len(line) || line[i] != ':' {
		return Field{}, ErrFieldName
	}
	f := Field{Name: view(line[:i])}
	v := line[i+1:]
	for len(v) > 0 && space(v[0]) {
		v = v[1:]
	}
	for len(v) > 0 && space(v[len(v)-1]) {
		v = v[:len(v)-1]
	}
	for _, c := range v {
		if class[c]&classValue == 0 {
			return Field{}, ErrFieldValue
		}
	}
	f.Value = view(v)
	f.Kind = known(f.Name)
	if seen&classUnder != 0 && imitates(f.Name) {
		return Field{}, ErrFramingAlias
	}
	return f, nil
}

// imitates tells whether a name becomes one of the framing fields in a server that
// reads "_" or "." as "-".
func imitates(name string) bool {
	var b [17]byte
	if len(name) > len(b) {
		return false
	}
	n := copy(b[:], name)
	for i, c := range b[:n] {
		if c == '_' || c == '.' {
			b[i] = '-'
		}
	}
	k := known(string(b[:n]))
	return k == ContentLength || k == TransferEncoding
}

// parseLength reads a Content-Length of at most 18 digits, which fits an int64.
func parseLength(s string) (int64, error) {
	if s == "" || len(s) > 18 || s[0] == '0' && len(s) > 1 {
		return 0, ErrLength
	}
	var n int64
	for i := range len(s) {
		c := s[i]
		if c < '0' || c > '9' {
			return 0, ErrLength
		}
		n = n*10 + int64(c-'0')
	}
	return n, nil
}

// eachToken calls f for each member of a comma-separated list of tokens (RFC 9110
// §5.6.1), empty members left out, and reports whether all were tokens.
func eachToken(list string, f func(token string)) bool {
	for i := 0; i < len(list); {
		for i < len(list) && (space(list[i]) || list[i] == ',') {
			i++
		}
		from := i
		for i < len(list) && class[list[i]]&classToken != 0 {
			i++
		}
		token := list[from:i]
		for i < len(list) && space(list[i]) {
			i++
		}
		if i < len(list) && list[i] != ',' {
			return false
		}
		if token != "" {
			f(token)
		}
	}
	return true
}
