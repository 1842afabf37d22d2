package credential

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

var errTooLarge = fmt.Errorf("larger than %d MiB", maxFile>>20)

// read returns a text in UTF-8, or the beginning of what isn't text and false.
func read(r io.Reader) (src []byte, text bool, err error) {
	head := make([]byte, sniffed)
	n, err := io.ReadFull(r, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return nil, false, err
	}
	head = head[:n]
	wide := order(head)
	if wide == nil && !readable(narrow(head)) {
		return head, false, nil
	}
	src, err = io.ReadAll(io.LimitReader(io.MultiReader(bytes.NewReader(head), r), maxFile+1))
	switch {
	case err != nil:
		return nil, false, err
	case len(src) > maxFile:
		return nil, false, errTooLarge
	case wide != nil:
		src = fromUTF16(src, wide)
	default:
		src = narrow(src)
	}
	return src, true, nil
}

// readable tells text, in which up to one byte in ten is of those that no text has, NUL among them, from what programs read.
func readable(head []byte) bool {
	strange := 0
	for _, c := range head {
		if c < ' ' && !slices.Contains([]byte("\t\n\v\f\r\x1b"), c) || c == 0x7f {
			strange++
		}
	}
	return bytes.IndexByte(head, 0) < 0 || strange*10 <= len(head)
}

// order is the byte order of a text in UTF-16, by its mark, or because one half of its bytes is mostly NUL and the other is not, as in
// Latin scripts; nil for all else.
func order(head []byte) binary.ByteOrder {
	switch {
	case bytes.HasPrefix(head, []byte("\xff\xfe")):
		return binary.LittleEndian
	case bytes.HasPrefix(head, []byte("\xfe\xff")):
		return binary.BigEndian
	}
	var none [2]int // NULs at even and odd offsets
	strange := 0
	for i, c := range head {
		if c == 0 {
			none[i%2]++
		} else if c < ' ' && c != '\t' && c != '\n' && c != '\r' {
			strange++
		}
	}
	half := len(head) / 2
	switch {
	case half < 2 || strange*20 > half:
		return nil
	case none[1]*2 > half && none[0]*20 <= half:
		return binary.LittleEndian
	case none[0]*2 > half && none[1]*20 <= half:
		return binary.BigEndian
	}
	return nil
}

// The least of one encoding that counts within another one: Windows' shells append to files without asking for theirs, and others may do so to hide something.
const (
	leastNarrow = 20 // bytes
	leastWide   = 8  // characters
)

// fromUTF16 is what Windows' editors and shells write, in UTF-8. What stands in it as ASCII is left as it is.
func fromUTF16(src []byte, order binary.ByteOrder) []byte {
	out := make([]byte, 0, len(src)/2+len(src)/8)
	for i := 0; i+1 < len(src); {
		n := 0
		for i+n < len(src) && isText(src[i+n]) {
			n++
		}
		if i+n < len(src) && src[i+n] == 0 && order == binary.LittleEndian {
			n-- // the half of a character
		}
		if n >= leastNarrow {
			out, i = append(out, src[i:i+n]...), i+n
			continue
		}
		// The same bytes aren't looked at again and again.
		for end := i + max(n, 2); i < end && i+1 < len(src); i += 2 {
			r := rune(order.Uint16(src[i:]))
			if utf16.IsSurrogate(r) && i+3 < len(src) {
				if both := utf16.DecodeRune(r, rune(order.Uint16(src[i+2:]))); both != utf8.RuneError {
					r, i = both, i+2
				}
			}
			out = utf8.AppendRune(out, r)
		}
	}
	return bytes.TrimPrefix(out, []byte("\ufeff"))
}

// narrow is a text without the NULs of those parts of it that are UTF-16.
func narrow(src []byte) []byte {
	if bytes.IndexByte(src, 0) < 0 {
		return src
	}
	out := make([]byte, 0, len(src))
	for i := 0; i < len(src); {
		end := i
		for end+1 < len(src) && isText(src[end]) && src[end+1] == 0 {
			end += 2
		}
		if end-i < 2*leastWide {
			end = max(end, i+1)
			out, i = append(out, src[i:end]...), end
			continue
		}
		for ; i < end; i += 2 {
			out = append(out, src[i])
		}
	}
	return out
}

func isText(c byte) bool { return c >= ' ' && c < 0x7f || c == '\t' || c == '\n' || c == '\r' }

// calledText tells whether a file's name promises text.
func calledText(name string) bool {
	switch base := strings.ToLower(path.Base(name)); path.Ext(base) {
	case ".env", ".yaml", ".yml", ".json", ".toml", ".ini", ".conf", ".cfg", ".properties", ".xml", ".txt", ".md", ".sh", ".ps1", ".bat", ".tf", ".tfvars", ".sql", ".csv",
		".go", ".py", ".js", ".ts", ".rb", ".php", ".java", ".kt", ".cs", ".rs", ".c", ".h", ".pem", ".netrc", ".npmrc", ".pypirc":
		return true
	default:
		return strings.HasPrefix(base, ".env") || base == "dockerfile" || base == "makefile"
	}
}
