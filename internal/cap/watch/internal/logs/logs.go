// Package logs keeps what services print in one folder, and finds it again.
//
// Lines go into a plain file for each service, the head; half a megabyte of it becomes a compressed block behind others in a segment, with a
// summary by which a search skips it: times, levels, and a filter of the words in it.
// Guarantee: the folder stays within its budget, and within it a service that prints much takes room from nobody who uses less: what goes is
// the oldest of the service that uses most. kill -9 loses nothing that Append returned for. What is torn or damaged is told: by a line of
// level Gap where it was, or by Result.Unread. A search ends when its context does, and says from where on it hasn't looked; memory is that of
// a block and of the answer. Not guaranteed: a power cut may take what the kernel hadn't written; a line may be a day older than
// Limits.Keep before it is gone; case is folded for ASCII alone. The lines' secrets were masked by who appends. There are no goroutines here.
package logs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/wardhq/ward/internal/base/fault"
)

// Bounds of what is kept.
const (
	MaxLine     = 16 << 10  // bytes; longer lines are cut
	blockSize   = 512 << 10 // bytes of a head that becomes a block
	maxHead     = 4 * blockSize
	maxRecord   = blockSize / 2 // bytes of lines that are written at once, but for the last
	maxServices = 10_000
	parts       = 64 // as many segments of full size fit in the budget
	day         = 24 * time.Hour
)

// Line is one line that a service printed.
type Line struct {
	Service string
	Replica int
	Time    time.Time // kept to the microsecond
	Text    string    // without its end
	// Level is recognised from Text, unless it is Gap.
	Level Level
}

// Limits of what is kept.
type Limits struct {
	Keep  time.Duration
	Bytes int64 // of all files; 4 MB or more
}

// Defaults are a week and 512 MB.
func Defaults() Limits { return Limits{Keep: 7 * day, Bytes: 512 << 20} }

// Stats are counts since Open, but for the first two.
type Stats struct {
	Bytes   int64 // of all files
	Blocks  int
	Lines   uint64
	Evicted uint64 // segments that went before their time
	Damaged uint64 // blocks that can't be read
	Cut     int64  // bytes at the ends of heads that a crash left unreadable
}

// Store is a folder of lines. It is safe for concurrent use.
type Store struct {
	dir     string
	limits  Limits
	decoder *zstd.Decoder // safe for concurrent use

	mu       sync.Mutex
	encoder  *zstd.Encoder       // guarded by mu; nil until it is needed
	services map[string]*service // guarded by mu
	next     uint64              // guarded by mu: the number of the next line
	stats    Stats               // guarded by mu
	closed   bool                // guarded by mu
}

// service is what is kept of one service. It is guarded by Store.mu.
type service struct {
	name     string
	dir      string
	head     *head      // nil: there is none
	segments []*segment // oldest first
}

// Open opens the folder, which it makes if need be.
func Open(dir string, l Limits) (*Store, error) {
	d := Defaults()
	if l.Keep == 0 {
		l.Keep = d.Keep
	}
	if l.Bytes == 0 {
		l.Bytes = d.Bytes
	}
	if l.Keep < time.Hour || l.Bytes < 4<<20 {
		return nil, fault.New(fault.Invalid, "logs are kept for an hour or longer, within 4 MB or more")
	}
	decoder, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(2), zstd.WithDecoderMaxMemory(maxPart), zstd.WithDecoderLowmem(true))
	if err != nil {
		return nil, fmt.Errorf("open logs: %w", err)
	}
	s := &Store{dir: dir, limits: l, decoder: decoder, services: map[string]*service{}, next: 1}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open logs: %w", err)
	}
	all, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("open logs: %w", err)
	}
	for _, e := range all {
		if !e.IsDir() || !isName(e.Name()) {
			continue
		}
		if err := s.resume(e.Name()); err != nil {
			return nil, fmt.Errorf("open logs of %s: %w", e.Name(), err)
		}
	}
	return s, s.tellCuts()
}

// isName tells whether a service's name may be a folder's.
func isName(s string) bool {
	return s != "" && len(s) <= 128 && s[0] != '.' && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") == ""
}

// Append keeps lines in their order. After an error, some of them may be kept.
func (s *Store) Append(now time.Time, lines []Line) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return fault.New(fault.Unavailable, "logs are closed")
	}
	by, order := map[string]*record{}, []*record{}
	for i := range lines {
		l := &lines[i]
		r := by[l.Service]
		if r == nil {
			sv, err := s.service(l.Service)
			if err != nil {
				return err
			}
			r = &record{of: sv}
			by[l.Service], order = r, append(order, r)
		}
		r.add(l, s.next)
		s.next++
		if len(r.payload) >= maxRecord {
			if err := s.write(r, now); err != nil {
				return err
			}
		}
	}
	var errs []error
	for _, r := range order {
		errs = append(errs, s.write(r, now))
	}
	return errors.Join(errs...)
}

// service is the one of a name, with its folder. It needs mu.
func (s *Store) service(name string) (*service, error) {
	if sv := s.services[name]; sv != nil {
		return sv, nil
	}
	if !isName(name) || len(s.services) >= maxServices {
		return nil, fault.New(fault.Invalid, fmt.Sprintf("logs of %.40q can't be kept: it is no service's name, or there are too many", name))
	}
	sv := &service{name: name, dir: filepath.Join(s.dir, name)}
	if err := os.MkdirAll(sv.dir, 0o700); err != nil {
		return nil, fmt.Errorf("keep logs: %w", err)
	}
	s.services[name] = sv
	return sv, nil
}

// Compact looks after age and size; it is called about every hour.
func (s *Store) Compact(now time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	var errs []error
	oldest := now.Add(-s.limits.Keep).UnixMicro()
	for _, sv := range s.services {
		if h := sv.head; h != nil && h.lines > 0 {
			switch {
			case h.last < oldest:
				errs = append(errs, sv.drop())
			case h.first < now.Add(-day).UnixMicro():
				errs = append(errs, s.seal(sv))
			}
		}
		for len(sv.segments) > 0 && sv.segments[0].last() < oldest {
			errs = append(errs, sv.remove())
		}
		if sv.head == nil && len(sv.segments) == 0 {
			delete(s.services, sv.name)
			_ = os.Remove(sv.dir) // it stays where something else lies in it
		}
	}
	return errors.Join(append(errs, s.evict())...)
}

// evict removes the oldest of who uses most while there is too much. It needs mu.
func (s *Store) evict() error {
	for {
		var most *service
		var total, greatest int64
		for _, sv := range s.services {
			n := sv.bytes()
			total += n
			if len(sv.segments) > 0 && (n > greatest || n == greatest && most != nil && sv.name < most.name) {
				most, greatest = sv, n
			}
		}
		if total <= s.limits.Bytes || most == nil {
			return nil
		}
		if err := most.remove(); err != nil {
			return err
		}
		s.stats.Evicted++
	}
}

func (v *service) bytes() int64 {
	var n int64
	if v.head != nil {
		n = v.head.size
	}
	for _, g := range v.segments {
		n += g.size
	}
	return n
}

// remove removes the oldest segment. One whose file can't be deleted stays.
func (v *service) remove() error {
	if err := os.Remove(v.segments[0].path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove old logs: %w", err)
	}
	v.segments = slices.Clone(v.segments[1:]) // a search may still read the others
	return nil
}

// Stats returns what was counted.
func (s *Store) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.stats
	for _, sv := range s.services {
		out.Bytes += sv.bytes()
		for _, g := range sv.segments {
			out.Blocks += len(g.blocks)
		}
	}
	return out
}

// Close ends the Store's use for writing.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	var errs []error
	for _, sv := range s.services {
		if sv.head != nil {
			errs = append(errs, sv.head.f.Close())
		}
	}
	return errors.Join(errs...)
}
