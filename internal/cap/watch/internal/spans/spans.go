// Package spans keeps the spans of traces in files of at most an hour and a share of the budget, one line each.
//
// Guarantee: a line that was torn by a crash is left out, and nothing else; the folder stays within its budget, and files of it older than its
// retention go; memory doesn't grow with what is kept. Not guaranteed: that the last second survives a crash: lines aren't forced to disk.
package spans

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/wardhq/ward/internal/telemetry"
)

// Limits of what is kept.
type Limits struct {
	Keep  time.Duration
	Bytes int64
}

// Limits of one answer, and of a line.
const (
	maxLine   = 4 << 10
	maxTraces = 1000
	maxSpans  = 10_000
	maxLooked = 100_000 // traces, for what is recent
	parts     = 32      // as many files of full size fit in the budget
)

// Store is a folder of spans. It is safe for concurrent use.
type Store struct {
	dir    string
	limits Limits

	mu    sync.Mutex
	began time.Time // guarded by mu: file
	size  int64     // guarded by mu: of file
	kept  uint64    // guarded by mu: spans since Open
	file  *os.File  // guarded by mu
	out   *bufio.Writer
}

// Open makes the folder where it isn't there.
func Open(dir string, l Limits) (*Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open traces: %w", err)
	}
	return &Store{dir: dir, limits: l}, nil
}

const (
	prefix = "spans-"
	suffix = ".jsonl"
	layout = "20060102T150405.000000000" // in UTC, so that names sort by time
)

// Append keeps spans. With each new file it looks after the folder's size.
func (s *Store) Append(now time.Time, all []telemetry.SpanRecord) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if age := now.Sub(s.began); s.file == nil || s.size >= s.limits.Bytes/parts || age >= time.Hour || age < 0 {
		if err := s.turn(now); err != nil {
			return err
		}
	}
	var line bytes.Buffer
	enc := json.NewEncoder(&line) // ends each with a new line
	enc.SetEscapeHTML(false)      // which would make a line six times as long as what it holds
	for i := range all {
		line.Reset()
		if err := enc.Encode(&all[i]); err != nil {
			return fmt.Errorf("keep span: %w", err)
		}
		if line.Len() <= maxLine {
			s.out.Write(line.Bytes()) // its error stays until Flush
			s.size += int64(line.Len())
			s.kept++
		}
	}
	if err := s.out.Flush(); err != nil {
		s.file.Close() // the next one begins anew
		s.file = nil
		return fmt.Errorf("keep spans: %w", err)
	}
	return nil
}

// Kept is how many spans were kept since Open.
func (s *Store) Kept() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.kept
}

// turn begins a file. It needs mu.
func (s *Store) turn(now time.Time) error {
	if s.file != nil {
		s.file.Close() // all of it was flushed
		s.file = nil
	}
	if err := s.clean(now); err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(s.dir, prefix+now.UTC().Format(layout)+suffix), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("keep spans: %w", err)
	}
	if _, err := f.WriteString("\n"); err != nil { // ends a line that a crash has torn
		f.Close()
		return fmt.Errorf("keep spans: %w", err)
	}
	s.file, s.began, s.size, s.out = f, now, 0, bufio.NewWriterSize(f, 64<<10)
	return nil
}

// clean removes files that are too old, and the oldest while there is too much.
func (s *Store) clean(now time.Time) error {
	names, err := s.files()
	if err != nil {
		return err
	}
	oldest := prefix + now.Add(-s.limits.Keep).UTC().Format(layout) + suffix
	total := s.limits.Bytes / parts // of the file that begins
	for _, name := range names {    // newest first
		st, err := os.Stat(filepath.Join(s.dir, name))
		if err != nil {
			return fmt.Errorf("look at traces: %w", err)
		}
		if total += st.Size(); total <= s.limits.Bytes && name >= oldest {
			continue
		}
		if err := os.Remove(filepath.Join(s.dir, name)); err != nil {
			return fmt.Errorf("remove old traces: %w", err)
		}
	}
	return nil
}

// files are the store's, newest first.
func (s *Store) files() ([]string, error) {
	all, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, fmt.Errorf("look at traces: %w", err)
	}
	var names []string
	for _, e := range all {
		if strings.HasPrefix(e.Name(), prefix) && strings.HasSuffix(e.Name(), suffix) {
			names = append(names, e.Name())
		}
	}
	slices.Sort(names)
	slices.Reverse(names)
	return names, nil
}

// Trace returns the spans of a trace in the order of their starts, at most 10,000; none if it isn't kept.
func (s *Store) Trace(id telemetry.TraceID) ([]telemetry.SpanRecord, error) {
	names, err := s.files()
	if err != nil {
		return nil, err
	}
	start := []byte(`{"trace":"` + id.String() + `"`)
	var out []telemetry.SpanRecord
	for _, name := range names {
		err := s.lines(name, func(line []byte) {
			var r telemetry.SpanRecord
			if bytes.HasPrefix(line, start) && len(out) < maxSpans && json.Unmarshal(line, &r) == nil {
				out = append(out, r)
			}
		})
		if err != nil {
			return nil, err
		}
	}
	slices.SortStableFunc(out, func(a, b telemetry.SpanRecord) int { return cmp.Compare(a.Start, b.Start) })
	return out, nil
}

// Summary is a trace in one line.
type Summary struct {
	Trace telemetry.TraceID `json:"trace"`
	Start time.Time         `json:"start"`
	Took  time.Duration     `json:"took"` // from the first start to the last end
	Spans int               `json:"spans"`
	// Worst is the label of the span that shows most: refused before failed before slow; Status is its.
	Worst  telemetry.Label `json:"worst"`
	Status uint16          `json:"status"`
	end    int64
	rank   int
}

// Recent returns the newest traces for which match holds of a span, newest first, at most limit and 1,000. It looks no further back than
// the file with the newest 100,000.
func (s *Store) Recent(limit int, match func(*telemetry.SpanRecord) bool) ([]Summary, error) {
	limit = max(0, min(limit, maxTraces))
	names, err := s.files()
	if err != nil {
		return nil, err
	}
	all, wanted := map[telemetry.TraceID]*Summary{}, map[telemetry.TraceID]bool{}
	for _, name := range names {
		if len(wanted) >= limit || len(all) >= maxLooked {
			break
		}
		err := s.lines(name, func(line []byte) {
			var r telemetry.SpanRecord
			if json.Unmarshal(line, &r) != nil {
				return
			}
			t := all[r.Trace]
			if t == nil {
				t = &Summary{Trace: r.Trace, Start: time.Unix(0, r.Start), rank: 100}
				all[r.Trace] = t
			}
			t.add(&r)
			if match == nil || match(&r) {
				wanted[r.Trace] = true
			}
		})
		if err != nil {
			return nil, err
		}
	}
	var out []Summary
	for id := range wanted {
		out = append(out, *all[id])
	}
	slices.SortFunc(out, func(a, b Summary) int { return b.Start.Compare(a.Start) })
	return out[:min(len(out), limit)], nil
}

func (t *Summary) add(r *telemetry.SpanRecord) {
	t.Spans++
	if at := time.Unix(0, r.Start); at.Before(t.Start) {
		t.Start = at
	}
	t.end = max(t.end, r.Start+int64(r.Took))
	t.Took = time.Duration(t.end - t.Start.UnixNano())
	rank := r.Label.Verdict.Rank() * 10
	if r.Status < 500 {
		rank++
	}
	if rank < t.rank {
		t.rank, t.Worst, t.Status = rank, r.Label, r.Status
	}
}

// lines calls f with each line of a file. A file that has gone has none.
func (s *Store) lines(name string, f func([]byte)) error {
	file, err := os.Open(filepath.Join(s.dir, name))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read traces: %w", err)
	}
	defer file.Close()
	r := bufio.NewReaderSize(file, 64<<10)
	for torn := false; ; {
		line, err := r.ReadSlice('\n')
		switch {
		case err == nil:
			if !torn {
				f(line[:len(line)-1])
			}
			torn = false
		case errors.Is(err, io.EOF):
			return nil // what has no end yet is being written, or was torn
		case errors.Is(err, bufio.ErrBufferFull):
			torn = true // its end is no line
		case err != nil:
			return fmt.Errorf("read traces: %w", err)
		}
	}
}

// Close ends writing.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file == nil {
		return nil
	}
	err := s.file.Close()
	s.file = nil
	return err
}
