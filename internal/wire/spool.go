package wire

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// maxSpool bounds the spool in bytes. Beyond it events are counted, not kept: requests go on being
// denied, and the count is in the ledger later.
const maxSpool = 64 << 20

// sendBatch is how many events go to control at once.
const sendBatch = 256

// Spool keeps events of one process until control has them. An event that Append
// returned for survives the death of the process, and of the machine. Safe for concurrent use.
type Spool struct {
	path   string
	source string
	wake   chan struct{}

	mu   sync.Mutex
	f    *os.File
	size int64  // guarded by mu
	seq  uint64 // guarded by mu
	lost int64  // guarded by mu
	came int64  // guarded by mu: bytes that were ever written
	kept int64  // guarded by mu: lines of the file

	syncing sync.Mutex // taken before mu
	settled int64      // guarded by syncing: of came, what is on disk
}

// OpenSpool opens the spool in a folder; what is left in it will be sent.
func OpenSpool(dir, name string) (*Spool, error) {
	s := &Spool{path: filepath.Join(dir, name+".jsonl"), wake: make(chan struct{}, 1)}
	f, err := os.OpenFile(s.path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open spool: %w", err)
	}
	st, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("open spool: %w", err)
	}
	b := make([]byte, 6)
	_, _ = rand.Read(b) // never returns an error (crypto/rand)
	s.f, s.size, s.source = f, st.Size(), name+"-"+hex.EncodeToString(b)
	if s.size > 0 {
		if _, err := io.Copy(lines{&s.kept}, f); err != nil {
			f.Close()
			return nil, fmt.Errorf("open spool: %w", err)
		}
		if _, err := f.WriteString("\n"); err != nil { // ends a line that a crash cut
			f.Close()
			return nil, fmt.Errorf("open spool: %w", err)
		}
		s.size++
		s.poke()
	}
	return s, nil
}

// lines counts what is written to it.
type lines struct{ n *int64 }

func (l lines) Write(b []byte) (int, error) {
	*l.n += int64(bytes.Count(b, []byte{'\n'}))
	return len(b), nil
}

// Waiting is how many events control hasn't got yet.
func (s *Spool) Waiting() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.kept
}

// Append keeps an event. On a full disk, or beyond the bound, it is counted as lost, and the
// loss itself becomes an event as soon as there is room. It returns when the event is on disk: who waits at the same time waits for one
// synchronisation together.
func (s *Spool) Append(e Event) {
	at := s.add(e)
	s.syncing.Lock()
	defer s.syncing.Unlock()
	if s.settled >= at {
		return
	}
	s.mu.Lock()
	came := s.came
	s.mu.Unlock()
	if err := unix.Fdatasync(int(s.f.Fd())); err != nil {
		slog.Error("synchronise spool", "error", err)
		return
	}
	s.settled = came
}

// add writes an event, and returns how much had been written then.
func (s *Spool) add(e Event) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lost > 0 && s.write(Event{Kind: "ledger.lost", Subject: s.source, Count: s.lost, Time: time.Now().UTC()}) == nil {
		s.lost = 0
	}
	if e.Time.IsZero() {
		e.Time = time.Now().UTC()
	}
	if s.write(e) != nil {
		s.lost++
	}
	return s.came
}

// write appends one line; s.mu is held.
func (s *Spool) write(e Event) error {
	if s.size > maxSpool {
		return errors.New("the spool is full")
	}
	s.seq++
	e.Source, e.Seq = s.source, s.seq
	line, err := json.Marshal(e)
	if err != nil {
		return err
	}
	n, err := s.f.Write(append(line, '\n'))
	s.size += int64(n)
	s.came += int64(n)
	s.kept++
	s.poke()
	return err
}

func (s *Spool) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Send brings the events to control until ctx ends, then tries once more for what is left.
func (s *Spool) Send(ctx context.Context, c *Client) {
	for {
		select {
		case <-s.wake:
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
			_ = s.sendAll(last, c) // what stays is sent at the next start
			cancel()
			return
		}
		if err := s.sendAll(ctx, c); err != nil {
			select {
			case <-time.After(200 * time.Millisecond):
			case <-ctx.Done():
			}
			s.poke()
		}
	}
}

// sendAll sends everything, then empties the file if nothing came meanwhile.
func (s *Spool) sendAll(ctx context.Context, c *Client) error {
	r, err := os.Open(s.path)
	if err != nil {
		return err
	}
	defer r.Close()
	b := bufio.NewReaderSize(r, 1<<16)
	var sent int64
	for {
		var events []Event
		for len(events) < sendBatch {
			line, err := b.ReadBytes('\n')
			if err == io.EOF {
				break // a line without its end is still being written
			}
			if err != nil {
				return err
			}
			sent += int64(len(line))
			var e Event
			if json.Unmarshal(bytes.TrimSpace(line), &e) == nil && e.Kind != "" {
				events = append(events, e)
			}
		}
		if len(events) == 0 {
			break
		}
		if err := c.Record(ctx, events); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if sent < s.size {
		s.poke() // more came: the next round sends all again, and the ledger keeps each once
		return nil
	}
	if err := s.f.Truncate(0); err != nil {
		return err
	}
	s.size, s.kept = 0, 0
	return nil
}
