package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"modernc.org/sqlite"

	"github.com/wardhq/ward/internal/base/fault"
)

const (
	sqliteReaders = 4
	// maxGroup bounds how many transactions share a commit, and so how long the first one waits.
	maxGroup = 128
	// maxTries bounds how often a transaction runs that was undone for another's failure.
	maxTries = 4
)

// sqliteDB is a SQLite file with one connection that writes and a few that read.
//
// Writers take turns, and each works in a savepoint of the open group. Who finds nobody waiting
// behind commits the group for all: so one fsync serves as many as came while the last one ran.
type sqliteDB struct {
	pools   [2]*sql.DB // the readers' and the writer's
	readers chan *lane // those that nobody uses
	lanes   int        // how many readers there are

	waiting atomic.Int64 // how many are about to take mu; each of them settles the group

	mu     sync.Mutex // guards all below; whoever has it may write
	writer *lane
	open   *group
	closed bool
}

// group is a transaction shared by writers.
type group struct {
	size int           // writers whose work is in it
	done chan struct{} // closed when it has ended
	err  error         // how; to be read after done
}

// errUndone says that SQLite undid a whole group for one writer's failure.
var errUndone = errors.New("the shared transaction was undone")

func openSQLite(ctx context.Context, path string) (*sqliteDB, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	if err := prepareFile(path); err != nil {
		return nil, err
	}
	for end := time.Now().Add(openWait); ; {
		s := &sqliteDB{readers: make(chan *lane, sqliteReaders)}
		err := s.connect(ctx, path)
		if err == nil {
			return s, nil
		}
		_ = s.close() // the first error is the one to tell
		if !isBusy(err) || time.Now().After(end) {
			return nil, err
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return nil, err
		}
	}
}

// openWait is how long opening is tried while others open too: of several that switch to the write-ahead log at once SQLite refuses all but one,
// whatever its busy_timeout, since they would wait for each other.
const openWait = 5 * time.Second

// connect opens all connections. A damaged file shows itself when its schema is read.
func (s *sqliteDB) connect(ctx context.Context, path string) error {
	var err error
	if s.pools[1], err = pool(path, "0"); err != nil {
		return err
	}
	if s.writer, err = newLane(ctx, s.pools[1]); err != nil {
		return err
	}
	var mode string
	if err := s.writer.conn.QueryRowContext(ctx, "PRAGMA journal_mode").Scan(&mode); err != nil {
		return err
	}
	if mode != "wal" {
		return fmt.Errorf("the file system allows no write-ahead log (mode %s)", mode)
	}
	if s.pools[0], err = pool(path, "1"); err != nil {
		return err
	}
	for range sqliteReaders {
		l, err := newLane(ctx, s.pools[0])
		if err != nil {
			return err
		}
		s.readers <- l
		s.lanes++
	}
	return nil
}

// prepareFile makes the file with mode 0600, which SQLite gives its log too, or looks at its mode.
func prepareFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return fault.Wrap(fault.Unavailable, fmt.Sprintf("the database %s may not be read and written by this user", path), err)
	case errors.Is(err, fs.ErrNotExist):
		return fault.Wrap(fault.NotFound, fmt.Sprintf("the folder of the database %s doesn't exist", path), err)
	case err != nil:
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fault.New(fault.Invalid, fmt.Sprintf("the database %s is not a regular file", path))
	}
	if info.Mode().Perm()&0o077 != 0 {
		return fault.New(fault.Refused, fmt.Sprintf("the database %s can be read by others: chmod 600 it", path))
	}
	return nil
}

func pool(path, readOnly string) (*sql.DB, error) {
	c, err := sqlite.NewConnector((&url.URL{Scheme: "file", Path: path, RawQuery: url.Values{
		"_busy_timeout": {"5000"}, "_journal_mode": {"WAL"}, "_synchronous": {"FULL"}, "_foreign_keys": {"1"},
		"_pragma": {"trusted_schema(0)", "secure_delete(1)", "cell_size_check(1)", "journal_size_limit(67108864)"},
		"_dqs":    {"0"}, "_defensive": {"1"}, "_error_rc": {"1"}, "_query_only": {readOnly},
	}.Encode()}).String())
	if err != nil {
		return nil, err
	}
	return sql.OpenDB(c), nil
}

func (*sqliteDB) dialect() string { return "sqlite" }

func (s *sqliteDB) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	if s.open != nil {
		s.commit()
	}
	var errs []error
	for range s.lanes {
		errs = append(errs, (<-s.readers).close()) // waits for those who read
	}
	close(s.readers)
	if s.pools[0] != nil {
		errs = append(errs, s.pools[0].Close())
	}
	if s.writer != nil {
		errs = append(errs, s.writer.close())
	}
	// The writer is the last to go: it moves the log into the file.
	if s.pools[1] != nil {
		errs = append(errs, s.pools[1].Close())
	}
	return errors.Join(errs...)
}

func (s *sqliteDB) read(ctx context.Context, fn func(context.Context, *Tx) error) error {
	var l *lane
	select {
	case l = <-s.readers:
	case <-ctx.Done():
		return ctx.Err()
	}
	if l == nil {
		return errClosed()
	}
	defer func() { s.readers <- l }()
	if err := l.exec("BEGIN"); err != nil {
		return fmt.Errorf("begin to read: %w", err)
	}
	defer func() { _ = l.exec("ROLLBACK") }() // there is nothing to lose
	tx := l.begin()
	return tx.finish(ctx, fn(ctx, tx))
}

func (s *sqliteDB) migrate(ctx context.Context, fn func(context.Context, *Tx) error) error {
	return s.write(ctx, fn) // there is one writer at a time anyway
}

func (s *sqliteDB) write(ctx context.Context, fn func(context.Context, *Tx) error) error {
	var err error
	for range maxTries {
		var g *group
		if g, err = s.join(ctx, fn); err == nil {
			<-g.done
			err = g.err
		}
		if !errors.Is(err, errUndone) {
			return err // another process was waited for already (busy_timeout)
		}
	}
	return err
}

// join does fn's work in the open group, which it returns. Whatever happens to fn, a panic too, the
// others' work stays and is committed.
func (s *sqliteDB) join(ctx context.Context, fn func(context.Context, *Tx) error) (*group, error) {
	s.waiting.Add(1)
	s.mu.Lock()
	s.waiting.Add(-1)
	defer s.mu.Unlock()
	defer s.settle()
	if s.closed {
		return nil, errClosed()
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if s.open == nil {
		if err := s.writer.exec("BEGIN IMMEDIATE"); err != nil {
			return nil, fmt.Errorf("begin to write: %w", err)
		}
		s.open = &group{done: make(chan struct{})}
	}
	g := s.open
	if err := s.writer.exec("SAVEPOINT one"); err != nil {
		return nil, fmt.Errorf("begin to write: %w", err)
	}
	done := false
	defer func() {
		if !done {
			s.undo()
		}
	}()
	tx := s.writer.begin()
	if err := tx.finish(ctx, fn(ctx, tx)); err != nil {
		return nil, err
	}
	if err := s.writer.exec("RELEASE one"); err != nil {
		return nil, fmt.Errorf("%w: %w", errUndone, err)
	}
	done = true
	g.size++
	return g, nil
}

// undo takes the savepoint's work back. When SQLite has undone the whole group by itself, as it may
// when a disk is full, the others in it begin again.
func (s *sqliteDB) undo() {
	if err := s.writer.exec("ROLLBACK TO one"); err == nil {
		if err = s.writer.exec("RELEASE one"); err == nil {
			return
		}
	}
	_ = s.writer.exec("ROLLBACK") // fails when SQLite did it
	s.end(errUndone)
}

// settle commits the group unless somebody waits who will.
func (s *sqliteDB) settle() {
	switch {
	case s.open == nil:
	case s.waiting.Load() > 0 && s.open.size < maxGroup:
	default:
		s.commit()
	}
}

func (s *sqliteDB) commit() {
	err := s.writer.exec("COMMIT")
	if err != nil {
		_ = s.writer.exec("ROLLBACK") // fails when SQLite did it
		err = fmt.Errorf("commit: %w", err)
	}
	s.end(err)
}

func (s *sqliteDB) end(err error) {
	s.open.err = err
	close(s.open.done)
	s.open = nil
}

func errClosed() error { return fault.New(fault.Unavailable, "the store is closed") }
