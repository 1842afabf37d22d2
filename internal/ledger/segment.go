package ledger

import (
	"bufio"
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/tlog"
)

// The files of a segment; the number is that of its first record. Records are the truth. The rest follows from them.
const (
	recordsFile = "records-%016d.jsonl" // JSON lines; behind the last one zeros, until it is closed
	hashesFile  = "hashes-%016d"        // tlog's stored hashes of its records, 32 bytes each; outlives the records
	startFile   = "start-%016d.json"    // what the ledger knew before it, with a MAC
	reserveFile = "reserve"             // room for the next one
	oldRecords  = "records.jsonl"       // the only one, before there were segments
)

// segment is a run of records in a file of its own, whole batches.
type segment struct {
	first  int64
	file   string
	bytes  int64
	newest time.Time // no record of it, or before it, says a later time; zero if that isn't known
}

func named(format string, first int64) string { return fmt.Sprintf(format, first) }

// list finds a folder's segments, in order.
func list(dir string) ([]segment, error) {
	names, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var out []segment
	for _, d := range names {
		s := segment{file: d.Name()}
		if s.file != oldRecords {
			digits, ok := strings.CutPrefix(s.file, "records-")
			if !ok {
				continue
			}
			n, err := strconv.ParseInt(strings.TrimSuffix(digits, ".jsonl"), 10, 64)
			if err != nil || n < 0 || named(recordsFile, n) != s.file {
				continue // no name of ours: torn files and the like
			}
			s.first = n
		}
		st, err := d.Info()
		if errors.Is(err, os.ErrNotExist) {
			continue // removed just now; what is missing shows by its records
		}
		if err != nil {
			return nil, err
		}
		if s.bytes = st.Size(); !st.Mode().IsRegular() {
			return nil, damaged(s.file + " is no file")
		}
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b segment) int { return int(a.first - b.first) })
	for i := 1; i < len(out); i++ {
		if out[i].first == out[i-1].first {
			return nil, damaged("two files hold record " + strconv.FormatInt(out[i].first, 10))
		}
	}
	return out, nil
}

// span is a part of a segment: bytes from start to end (0: to its end), without the first skip records.
type span struct{ start, end, skip int64 }

// scan calls f for the records of a part, until it returns false.
func (s segment) scan(dir string, part span, f func(Record, []byte) bool) error {
	return s.lines(dir, part, func(n int64, line []byte) error {
		var rec Record
		if err := json.Unmarshal(line, &rec); err != nil {
			return fmt.Errorf("record %d: %w", n, err)
		}
		if !f(rec, line) {
			return errEnough
		}
		return nil
	})
}

// errEnough ends a scan early.
var errEnough = errors.New("enough")

// lines calls f for the lines of a part as they are, until it returns an error; errEnough is none.
func (s segment) lines(dir string, part span, f func(n int64, line []byte) error) error {
	file, err := os.Open(filepath.Join(dir, s.file))
	if err != nil {
		return fmt.Errorf("open records: %w", err)
	}
	defer file.Close()
	var r io.Reader = file
	if part.start > 0 || part.end > 0 {
		end := part.end
		if end == 0 {
			end = 1 << 62
		}
		r = io.NewSectionReader(file, part.start, end-part.start)
	}
	b := bufio.NewReaderSize(r, 1<<16)
	for n := s.first; ; n++ {
		line, err := readLine(b)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("record %d: %w", n, err)
		}
		if part.skip > 0 {
			part.skip--
			continue
		}
		if err := f(n, line); errors.Is(err, errEnough) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// readLine returns a line without its end, which holds until the next call; io.EOF only at the very end, io.ErrUnexpectedEOF for
// a line that was cut, and for zeros, which were written ahead: no line has any.
func readLine(r *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		switch {
		case bytes.IndexByte(part, 0) >= 0:
			return nil, io.ErrUnexpectedEOF
		case err == nil && line == nil:
			return part[:len(part)-1], nil
		case err == nil:
			line = append(line, part...)
			return line[:len(line)-1], nil
		case errors.Is(err, bufio.ErrBufferFull) && len(line) <= MaxRecord:
			line = append(line, part...)
		case err == io.EOF && len(line)+len(part) == 0:
			return nil, io.EOF
		default:
			return nil, io.ErrUnexpectedEOF
		}
	}
}

// state is what the ledger knows of the records so far.
type state struct {
	tree   frontier
	Seen   map[string]uint64 `json:"seen"` // by source, the last sequence number
	Newest time.Time         `json:"newest"`
	// Removed is below which record all has been removed.
	Removed int64 `json:"removed,omitempty"`
}

// keptState is a state in a file.
type keptState struct {
	First int64       `json:"first"`
	Edges []tlog.Hash `json:"edges"`
	state
}

func (l *Ledger) startMAC(b []byte) string {
	m := hmac.New(sha256.New, l.mac)
	m.Write([]byte("ward ledger start v1\n"))
	m.Write(b)
	return base64.RawURLEncoding.EncodeToString(m.Sum(nil))
}

// writeStart keeps the state before the segment that begins now, so that the next Open needn't read those before it.
func (l *Ledger) writeStart() error {
	b, err := json.Marshal(keptState{l.state.tree.n, l.state.tree.edges, l.state})
	if err != nil {
		return err
	}
	return l.replace(named(startFile, l.state.tree.n), fmt.Appendf(nil, "%s\n%s\n", b, l.startMAC(b)), 0o600)
}

// readStart returns the state before a segment; ok is false for one that can't be trusted.
func (l *Ledger) readStart(first int64) (s state, ok bool) {
	b, err := os.ReadFile(l.file(named(startFile, first)))
	body, mac, found := strings.Cut(string(b), "\n")
	var k keptState
	if err != nil || !found || !hmac.Equal([]byte(strings.TrimSuffix(mac, "\n")), []byte(l.startMAC([]byte(body)))) ||
		json.Unmarshal([]byte(body), &k) != nil || k.First != first || k.Seen == nil {
		return state{}, false
	}
	k.tree = frontier{n: first, edges: k.Edges}
	return k.state, true
}

// rotate ends the segment that is being written, and begins the next one in the room that was kept for it; l.mu is held.
func (l *Ledger) rotate() error {
	n := l.state.tree.n
	_ = l.writeStart() // without it the next Open reads one segment more
	temporary := reserveFile
	// What waits behind the end would count as torn in a segment that isn't the last.
	if err := errors.Join(l.records.Truncate(l.bytes), l.records.Sync()); err != nil {
		return fmt.Errorf("end segment: %w", err)
	}
	records, err := os.OpenFile(l.file(temporary), recordsFlags, 0o600) // cutting it would give its room back
	if err != nil {
		return fmt.Errorf("begin segment: %w", err)
	}
	if !l.reserve {
		reserveRoom(records, 0, l.limit)
	}
	hashes, err := os.OpenFile(l.file(named(hashesFile, n)), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		records.Close()
		return fmt.Errorf("begin segment: %w", err)
	}
	next := segment{first: n, file: named(recordsFile, n)}
	if err := os.Rename(l.file(temporary), l.file(next.file)); err != nil {
		return errors.Join(fmt.Errorf("begin segment: %w", err), records.Close(), hashes.Close())
	}
	if err := l.syncDir(); err != nil { // the name may not last, and what is written under it
		l.broken = fmt.Errorf("the ledger is out of order until control restarts: %w", err)
		return errors.Join(l.broken, records.Close(), hashes.Close())
	}
	l.writeStored()
	_ = l.hashes.Sync() // it follows from the records
	l.records.Close()
	l.hashes.Close()
	l.records, l.hashes, l.reserve = records, hashes, false
	old := &l.segments[len(l.segments)-1]
	old.bytes, old.newest = l.bytes, l.state.Newest
	l.segments = append(slices.Clip(l.segments), next) // readers keep theirs
	l.bytes, l.zeroed, l.hashed, l.offsets = 0, 0, 0, nil
	return nil
}

// oldest is the first record that is still there.
func (l *Ledger) oldest() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.segments[0].first
}

// Part is a segment for those who index it.
type Part struct {
	First int64 // record
	End   int64 // record after the last one
	Path  string
	Bytes int64
	// Blocks are, for the segment that is being written, where every BlockRecords-th record begins.
	Blocks []int64
	Sealed bool // nothing will be added
}

// BlockRecords is how many records lie between two blocks of a Part.
const BlockRecords = indexEvery

// Parts are the ledger's segments, oldest first. What is added later isn't in them.
func (l *Ledger) Parts() []Part {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make([]Part, len(l.segments))
	for i, s := range l.segments {
		out[i] = Part{First: s.first, Path: l.file(s.file), Bytes: s.bytes, Sealed: true}
		if i > 0 {
			out[i-1].End = s.first
		}
	}
	last := &out[len(out)-1]
	last.End, last.Bytes, last.Blocks, last.Sealed = l.state.tree.n, l.bytes, l.offsets[:len(l.offsets):len(l.offsets)], false
	return out
}

// IndexMAC seals what an index says of a segment, so that nobody hides a record by forging it.
func (l *Ledger) IndexMAC(b []byte) []byte {
	m := hmac.New(sha256.New, l.mac)
	m.Write([]byte("ward ledger index v1\n"))
	m.Write(b)
	return m.Sum(nil)
}
