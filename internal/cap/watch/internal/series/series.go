// Package series keeps the history of counters and gauges in one folder: samples for days, and hours for more than a year.
//
// A sample goes into memory and into the log `head`; an hour of them becomes a block file, which is never changed; a day of blocks becomes one
// of hours. It isn't in the database because a block is written once, read in one piece and deleted whole: files do that without a journal,
// an index and pages to free, and one damaged file costs an hour and not all.
// Guarantee: opening never fails for what a crash or a bad disk left: a torn log is cut, a block with a wrong CRC is left out and told
// (Result.Unread). kill -9 loses nothing that Append returned for, a power cut at most the last minute. A counter's total is right across
// restarts of whoever counts, pauses, lost samples and clocks set back; a full disk costs samples, which are counted, and never waits.
// Memory follows from Limits.Series and what a query asks. Not guaranteed: a gauge finer than a millionth; that two processes may share the
// folder (the owner holds a lock); a damage of data that comes after they were read once. The owner calls; there are no goroutines here.
package series

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/wardhq/ward/internal/base/fault"
)

// Kind says what a series' values mean.
type Kind uint8

// The kinds. The zero value is none, and is refused.
const (
	Counter Kind = iota + 1 // whole and rising; lower than before means that who counts began anew
	Gauge                   // what it is now
)

// MaxName is the greatest length of a series' name in bytes.
const MaxName = 512

// Point is one value of one series.
type Point struct {
	// Series is its name with its labels, as the caller writes them: 1 to MaxName bytes. Names that sort beside each other are read together.
	Series string
	Kind   Kind
	// Value of a counter is 0 to 2^53, of a gauge at most 9·10^12 either way; it is kept to a millionth.
	Value float64
	// Zero is a time at which a counter was 0, if that is known: when its process began, or when it wasn't there yet. A series that is seen
	// for the first time counts from its first value on, unless Zero lies in the hour before.
	Zero time.Time
}

// Limits bound a Store. Zero values mean those of Defaults.
type Limits struct {
	Series int           // live at the same time: seen in this hour or the last; at most 16,384
	Raw    time.Duration // how long samples are kept
	Rolled time.Duration // how long hours are kept
	Disk   int64         // bytes of all files; the oldest go first, the newest block never
}

// Defaults are 5,000 series, 15 and 400 days, and 1 GB.
func Defaults() Limits {
	return Limits{Series: 5000, Raw: 15 * 24 * time.Hour, Rolled: 400 * 24 * time.Hour, Disk: 1 << 30}
}

// most series so that a block keeps its bounds.
const mostSeries = 1 << 14

// Stats are counts since Open, but for the first three.
type Stats struct {
	Series int   // live
	Blocks int   // files
	Bytes  int64 // of all files
	// Refused counts points: of a new series when there are too many, with a bad name, kind or value, or twice in a sample.
	Refused uint64
	Late    uint64 // points of samples that came no later than the one before
	Dropped uint64 // points of samples that couldn't be written
	Evicted uint64 // blocks deleted for Limits.Disk before their time
	Damaged uint64 // blocks that can't be read
	Cut     int64  // bytes of the log that a crash left unreadable
}

// Store is a folder of history. It is safe for concurrent use.
type Store struct {
	dir    string
	limits Limits

	writing sync.Mutex // held by Append, Compact and Close
	log     logFile    // guarded by writing

	files sync.RWMutex // held for reading while files are read, and for writing while any is deleted

	mu     sync.RWMutex
	head   head     // changed under writing and mu
	blocks []*block // the same, but never in place: raw by number, then rolled by number
	stats  Stats    // guarded by mu
}

// Open opens the folder, which it makes if need be. Only a folder that can't be used, or bad limits, are errors.
func Open(dir string, l Limits) (*Store, error) {
	d := Defaults()
	l.Series, l.Disk = or(l.Series, d.Series), or(l.Disk, d.Disk)
	l.Raw, l.Rolled = or(l.Raw, d.Raw), or(l.Rolled, d.Rolled)
	if l.Series < 1 || l.Series > mostSeries || l.Raw < time.Hour || l.Rolled < l.Raw || l.Disk < 1<<20 {
		return nil, fault.New(fault.Invalid, "the history's limits: 1 to 16,384 series, an hour or more of samples, no less of hours, and 1 MB or more of disk")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open history: %w", err)
	}
	s := &Store{dir: dir, limits: l}
	if err := s.list(); err != nil {
		return nil, fmt.Errorf("open history: %w", err)
	}
	if err := s.resume(); err != nil {
		return nil, fmt.Errorf("open history: %w", err)
	}
	return s, nil
}

func or[T int | int64 | time.Duration](v, otherwise T) T {
	if v == 0 {
		return otherwise
	}
	return v
}

// list finds the blocks, and deletes files that a crash left half written.
func (s *Store) list() error {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), unfinished) {
			_ = os.Remove(filepath.Join(s.dir, e.Name())) // the next of its name is written over it
			continue
		}
		b := blockOf(e.Name())
		info, err := e.Info()
		if b == nil || err != nil {
			continue // not ours, or just deleted
		}
		b.size = info.Size()
		s.blocks = append(s.blocks, b)
	}
	slices.SortFunc(s.blocks, byNumber)
	return nil
}

// Stats returns what was counted.
func (s *Store) Stats() Stats {
	s.mu.RLock()
	defer s.mu.RUnlock()
	out := s.stats
	out.Series, out.Blocks, out.Bytes = len(s.head.order), len(s.blocks), s.head.bytes
	for _, b := range s.blocks {
		out.Bytes += b.size
		if b.bad.Load() {
			out.Damaged++
		}
	}
	return out
}

// Close makes all that was appended last through a power cut, and ends the Store's use for writing.
func (s *Store) Close() error {
	s.writing.Lock()
	defer s.writing.Unlock()
	if s.log.closed {
		return nil
	}
	s.log.closed = true
	if s.log.f == nil {
		return nil
	}
	err := errors.Join(s.log.f.Sync(), s.log.f.Close())
	s.log.f = nil
	return err
}

// unfinished ends the names of files that are being written.
const unfinished = ".tmp"

// writeFile makes a file whole or not at all.
func (s *Store) writeFile(file string, b []byte) (err error) {
	path := filepath.Join(s.dir, file)
	f, err := os.OpenFile(path+unfinished, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(path+unfinished, path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(path+unfinished))
	}
	d, err := os.Open(s.dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
