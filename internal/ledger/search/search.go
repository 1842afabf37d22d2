package search

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/wardhq/ward/internal/ledger"
)

// Searcher searches a ledger that is open. It is safe for concurrent use.
type Searcher struct {
	ledger *ledger.Ledger
}

// New returns a Searcher. What it needs beside the segments it keeps beside them.
func New(l *ledger.Ledger) *Searcher { return &Searcher{l} }

// Refresh makes the indexes that are missing, so that no search has to.
func (s *Searcher) Refresh(ctx context.Context) error {
	parts := s.ledger.Parts()
	for i := range parts {
		p := &parts[i]
		if _, err := os.Stat(indexFile(p)); !p.Sealed || err == nil {
			continue
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if _, err := s.index(p); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func indexFile(p *ledger.Part) string {
	return filepath.Join(filepath.Dir(p.Path), fmt.Sprintf(ledger.IndexFile, p.First))
}

// index of a sealed segment: the one beside it, or made anew.
func (s *Searcher) index(p *ledger.Part) (*index, error) {
	path := indexFile(p)
	if st, err := os.Stat(path); err == nil && st.Size() <= maxIndex {
		if b, err := os.ReadFile(path); err == nil {
			if x, err := parse(b, p, s.ledger.IndexMAC); err == nil {
				return x, nil
			}
		}
	}
	x, err := build(p)
	if err != nil {
		return nil, err
	}
	temporary := path + ".new"
	if os.WriteFile(temporary, x.marshal(s.ledger.IndexMAC), 0o600) == nil { // without room the next search makes it again
		_ = os.Rename(temporary, path)
	}
	return x, nil
}

// Search calls f for the records that a query wants, in its order, until f returns false.
func (s *Searcher) Search(ctx context.Context, q Query, f func(ledger.Record) bool) error {
	parts := s.ledger.Parts()
	if q.Newest {
		slices.Reverse(parts)
	}
	left := q.Limit
	take := func(r ledger.Record) bool {
		left--
		return f(r) && left != 0
	}
	for i := range parts {
		p := &parts[i]
		if p.End <= q.From {
			continue
		}
		more, err := s.part(ctx, p, &q, take)
		if errors.Is(err, fs.ErrNotExist) && s.ledger.Parts()[0].First > p.First {
			continue // removed meanwhile; a record says so
		}
		if err != nil {
			return fmt.Errorf("search ledger: %w", err)
		}
		if !more {
			return nil
		}
	}
	return nil
}

// part searches a segment.
func (s *Searcher) part(ctx context.Context, p *ledger.Part, q *Query, take func(ledger.Record) bool) (more bool, err error) {
	starts, wanted := p.Blocks, []bool(nil)
	if p.Sealed {
		x, err := s.index(p)
		if err != nil {
			return false, err
		}
		wanted = x.wanted(q)
		starts = make([]int64, len(x.blocks))
		for i := range starts {
			starts[i] = x.blocks[i].at
		}
	}
	file, err := os.Open(p.Path)
	if err != nil {
		return false, err
	}
	defer file.Close()
	var buffer []byte
	for n := range starts {
		if q.Newest {
			n = len(starts) - 1 - n
		}
		if wanted != nil && !wanted[n] {
			continue
		}
		if err := ctx.Err(); err != nil {
			return false, err
		}
		end := p.Bytes
		if n+1 < len(starts) {
			end = starts[n+1]
		}
		if end < starts[n] || end-starts[n] > ledger.BlockRecords*(ledger.MaxRecord+1) {
			return false, fmt.Errorf("the block at record %d has no end", p.First+int64(n)*ledger.BlockRecords)
		}
		buffer = slices.Grow(buffer[:0], int(end-starts[n]))[:end-starts[n]]
		if _, err := file.ReadAt(buffer, starts[n]); err != nil {
			return false, err
		}
		found, err := inBlock(buffer, q)
		if err != nil {
			return false, fmt.Errorf("block at record %d: %w", p.First+int64(n)*ledger.BlockRecords, err)
		}
		for _, r := range found {
			if !take(r) {
				return false, nil
			}
		}
	}
	return true, nil
}

// inBlock returns the records of a block that a query wants, in its order.
func inBlock(b []byte, q *Query) ([]ledger.Record, error) {
	var out []ledger.Record
	var text, id []byte
	if q.Text != "" {
		text = quoted(q.Text)
	}
	if q.ID != "" {
		id = quoted(q.ID)
	}
	for line := range bytes.Lines(b) {
		if !bytes.Contains(line, text) || !bytes.Contains(line, id) {
			continue
		}
		if h, ok := readHead(line); ok && (!q.matchWho(h.who) || h.time.Before(q.Since) || !q.Until.IsZero() && h.time.After(q.Until)) {
			continue
		}
		var r ledger.Record
		if err := json.Unmarshal(line, &r); err != nil {
			return nil, err
		}
		if q.Match(&r) {
			out = append(out, r)
		}
	}
	if q.Newest {
		slices.Reverse(out)
	}
	return out, nil
}

// Folder is Search on the folder of a ledger that isn't open. Without the ledger's key no index can be believed: it reads every record.
func Folder(dir string, q Query, f func(ledger.Record) bool) error {
	var last []ledger.Record // the newest, where they come first: at most Limit
	left := q.Limit
	err := ledger.ReadDir(dir, func(r ledger.Record) bool {
		if !q.Match(&r) {
			return true
		}
		if q.Newest {
			if last = append(last, r); q.Limit > 0 && len(last) >= 2*q.Limit {
				last = append(last[:0], last[len(last)-q.Limit:]...)
			}
			return true
		}
		left--
		return f(r) && left != 0
	})
	if q.Limit > 0 && len(last) > q.Limit {
		last = last[len(last)-q.Limit:]
	}
	for _, r := range slices.Backward(last) {
		if !f(r) {
			break
		}
	}
	return err
}
