package logs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// resume finds what is kept of a service.
func (s *Store) resume(name string) error {
	sv := &service{name: name, dir: filepath.Join(s.dir, name)}
	entries, err := os.ReadDir(sv.dir) // by name, which is by number
	if err != nil {
		return fmt.Errorf("look at logs: %w", err)
	}
	var heads []string
	for _, e := range entries {
		path := filepath.Join(sv.dir, e.Name())
		switch {
		case strings.HasPrefix(e.Name(), headPrefix):
			heads = append(heads, path)
		case strings.HasSuffix(e.Name(), segmentSuffix):
			g, err := openSegment(name, path)
			if err != nil {
				return err
			}
			if len(g.blocks) == 0 {
				if err := os.Remove(path); err != nil {
					return fmt.Errorf("remove empty logs: %w", err)
				}
				continue
			}
			sv.segments = append(sv.segments, g)
		}
	}
	s.services[name] = sv
	if err := s.checkLast(sv, heads); err != nil {
		return err
	}
	for _, path := range heads {
		if err := s.resumeHead(sv, path); err != nil {
			return err
		}
	}
	for _, g := range sv.segments {
		for _, k := range g.blocks {
			s.next = max(s.next, k.lastSeq+1)
			if k.bad.Load() {
				s.stats.Damaged++
				s.next += 1 << 32 // no number that may be there comes again
			}
		}
	}
	if sv.head != nil {
		s.next = max(s.next, sv.head.lastSeq+1)
	}
	return nil
}

// checkLast cuts the newest block if it isn't whole and the head that it was made of is still there.
func (s *Store) checkLast(sv *service, heads []string) error {
	if len(sv.segments) == 0 || len(heads) == 0 {
		return nil
	}
	g := sv.segments[len(sv.segments)-1]
	k := g.blocks[len(g.blocks)-1]
	if g.broken || filepath.Base(heads[len(heads)-1]) != fmt.Sprintf("%s%016x", headPrefix, k.firstSeq) {
		return nil
	}
	f, err := os.OpenFile(g.path, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("open logs: %w", err)
	}
	defer f.Close()
	var c content
	_, bad := k.filter(f)
	if bad = errors.Join(bad, k.read(f, s.decoder, &c)); bad == nil {
		return nil
	}
	if err := f.Truncate(k.offset); err != nil {
		return fmt.Errorf("cut torn logs: %w", err)
	}
	g.size, g.blocks = k.offset, slices.Clone(g.blocks[:len(g.blocks)-1])
	if len(g.blocks) == 0 {
		sv.segments = sv.segments[:len(sv.segments)-1]
	}
	return nil
}

// resumeHead goes on with a head, or removes it if a block has its lines.
func (s *Store) resumeHead(sv *service, path string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read the head of logs: %w", err)
	}
	st, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("look at the head of logs: %w", err)
	}
	h := &head{}
	good := eachLine(b, func(at int64, seq uint64, level Level, _ int, _ []byte) { h.add(at, seq, level) })
	if good < len(b) {
		s.stats.Cut += int64(len(b) - good)
	}
	done := h.lines == 0 && good == len(b)
	for _, g := range sv.segments {
		done = done || h.lines > 0 && g.blocks[len(g.blocks)-1].lastSeq >= h.lastSeq
	}
	if done {
		if err := os.Remove(path); err != nil {
			return fmt.Errorf("remove the head of logs: %w", err)
		}
		return nil
	}
	if sv.head != nil {
		if err := s.seal(sv); err != nil {
			return err
		}
	}
	if h.f, err = os.OpenFile(path, os.O_RDWR, 0); err != nil {
		return fmt.Errorf("open the head of logs: %w", err)
	}
	if err := h.f.Truncate(int64(good)); err != nil {
		return errors.Join(fmt.Errorf("cut the head of logs: %w", err), h.f.Close())
	}
	h.size, h.torn, sv.head = int64(good), good < len(b), h
	if h.lines == 0 {
		h.last = st.ModTime().UnixMicro() // of the gap
	}
	return nil
}

// tellCuts puts a line where lines were torn off.
func (s *Store) tellCuts() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sv := range s.services {
		if sv.head == nil || !sv.head.torn {
			continue
		}
		sv.head.torn = false
		r := &record{of: sv}
		at := time.UnixMicro(sv.head.last)
		r.add(&Line{Time: at, Text: "the last lines before this were torn off as Ward was killed", Level: Gap}, s.next)
		s.next++
		if err := s.write(r, at); err != nil {
			return err
		}
	}
	return nil
}
