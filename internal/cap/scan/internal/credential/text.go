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
	if wide == nil && !readable(head) {
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

// fromUTF16 is what Windows' editors and shells write, in UTF-8.
func fromUTF16(src []byte, order binary.ByteOrder) []byte {
	units := make([]uint16, 0, len(src)/2)
	for i := 0; i+1 < len(src); i += 2 {
		units = append(units, order.Uint16(src[i:]))
	}
	return []byte(strings.TrimPrefix(string(utf16.Decode(units)), "\ufeff"))
}

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
