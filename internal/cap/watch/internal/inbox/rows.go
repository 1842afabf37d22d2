package inbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/finding"
	"github.com/wardhq/ward/internal/store"
	"github.com/wardhq/ward/internal/wire"
)

const columns = "id, rule, subject, object, severity, opened, last, count, closed, body"

func save(ctx context.Context, tx *store.Tx, f *Finding) error {
	closed := int64(0)
	if !f.Closed.IsZero() {
		closed = f.Closed.UnixMicro()
	}
	_, err := tx.Exec(ctx, "INSERT INTO watch_finding ("+columns+") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET severity = excluded.severity, last = excluded.last, count = excluded.count, closed = excluded.closed, body = excluded.body",
		f.ID, f.Rule, f.Subject, f.Object, f.Severity.String(), f.Opened.UnixMicro(), f.Last.UnixMicro(), f.Count, closed, marshal(f.Body))
	return err
}

// rows are what a query for findings yields.
type rows interface {
	Scan(...any) error
}

func scanFinding(r rows) (*Finding, error) {
	var f Finding
	var severity, body string
	var opened, last, closed int64
	if err := r.Scan(&f.ID, &f.Rule, &f.Subject, &f.Object, &severity, &opened, &last, &f.Count, &closed, &body); err != nil {
		return nil, err
	}
	f.Severity, f.Opened, f.Last = finding.SeverityOf(severity), time.UnixMicro(opened).UTC(), time.UnixMicro(last).UTC()
	if closed != 0 {
		f.Closed = time.UnixMicro(closed).UTC()
	}
	if err := json.Unmarshal([]byte(body), &f.Body); err != nil {
		return nil, fmt.Errorf("read finding %d: %w", f.ID, err)
	}
	return &f, nil
}

// load reads what is open and in force.
func (b *Inbox) load(ctx context.Context, tx *store.Tx) error {
	all, err := query(ctx, tx, "SELECT "+columns+" FROM watch_finding WHERE closed = 0 ORDER BY id")
	if err != nil {
		return err
	}
	for _, f := range all {
		b.open[key{f.Rule, f.Subject, f.Object}] = f
	}
	for _, table := range []string{"watch_finding", "watch_silence"} {
		var most *int64
		if err := tx.QueryRow(ctx, "SELECT MAX(id) FROM "+table).Scan(&most); err != nil {
			return err
		}
		if most != nil {
			b.next = max(b.next, *most)
		}
	}
	if err := tx.QueryRow(ctx, "SELECT position FROM watch_cursor WHERE name = 'ledger'").Scan(&b.cursor); err != nil && !errors.Is(err, store.ErrNoRows) {
		return err
	}
	b.kept = b.cursor
	if err := b.loadSilences(ctx, tx); err != nil {
		return err
	}
	return b.loadAnswers(ctx, tx)
}

func (b *Inbox) loadSilences(ctx context.Context, tx *store.Tx) error {
	r, err := tx.Query(ctx, "SELECT id, rule, subject, object, until, reason, author FROM watch_silence WHERE until > ? ORDER BY id", b.clock.Now().UnixMicro())
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }() // Err says what is wrong
	for r.Next() {
		var s Silence
		var until int64
		if err := r.Scan(&s.ID, &s.Rule, &s.Subject, &s.Object, &until, &s.Reason, &s.By); err != nil {
			return err
		}
		s.Until = time.UnixMicro(until).UTC()
		b.silences = append(b.silences, s)
	}
	return r.Err()
}

func (b *Inbox) loadAnswers(ctx context.Context, tx *store.Tx) error {
	r, err := tx.Query(ctx, "SELECT body FROM watch_restriction WHERE until > ? ORDER BY began", b.clock.Now().UnixMicro())
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }() // Err says what is wrong
	for r.Next() {
		var body string
		if err := r.Scan(&body); err != nil {
			return err
		}
		var a wire.Restriction
		if err := json.Unmarshal([]byte(body), &a); err != nil {
			return fmt.Errorf("read answer: %w", err)
		}
		b.put(a)
	}
	return r.Err()
}

func query(ctx context.Context, tx *store.Tx, q string, args ...any) ([]*Finding, error) {
	r, err := tx.Query(ctx, q, args...)
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }() // Err says what is wrong
	var out []*Finding
	for r.Next() {
		f, err := scanFinding(r)
		if err != nil {
			return nil, err
		}
		out = append(out, f)
	}
	return out, r.Err()
}

// Query asks for findings.
type Query struct {
	Closed bool   `json:"closed,omitempty"` // those that aren't open any more
	Rule   string `json:"rule,omitempty"`
	Limit  int    `json:"limit,omitempty"` // 200 if it isn't said, at most 2,000
}

// List returns findings, the worst and latest first; closed ones the latest first.
func (b *Inbox) List(ctx context.Context, q Query) ([]Finding, error) {
	if q.Limit <= 0 {
		q.Limit = 200
	}
	q.Limit = min(q.Limit, 2000)
	out := []Finding{}
	if !q.Closed {
		b.mu.Lock()
		for _, f := range b.open {
			if q.Rule == "" || q.Rule == f.Rule {
				out = append(out, b.shown(f))
			}
		}
		b.mu.Unlock()
		slices.SortFunc(out, worst)
		return out[:min(len(out), q.Limit)], nil
	}
	err := b.db.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		out = out[:0]
		all, err := query(ctx, tx, "SELECT "+columns+" FROM watch_finding WHERE closed > 0 AND (? = '' OR rule = ?) ORDER BY last DESC LIMIT ?", q.Rule, q.Rule, q.Limit)
		for _, f := range all {
			out = append(out, *f)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list findings: %w", err)
	}
	return out, nil
}

// Open are all findings that are open, without their evidence.
func (b *Inbox) Open() []Finding {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := make([]Finding, 0, len(b.open))
	for _, f := range b.open {
		bare := *f
		bare.Evidence = nil
		out = append(out, b.shown(&bare))
	}
	return out
}

// worst orders what is silenced last, and then by severity and time.
func worst(a, b Finding) int {
	if a.Silenced.IsZero() != b.Silenced.IsZero() {
		if a.Silenced.IsZero() {
			return -1
		}
		return 1
	}
	if a.Severity != b.Severity {
		return int(b.Severity) - int(a.Severity)
	}
	if c := b.Last.Compare(a.Last); c != 0 {
		return c
	}
	return int(b.ID - a.ID)
}

// Get returns one finding.
func (b *Inbox) Get(ctx context.Context, id int64) (Finding, error) {
	b.mu.Lock()
	for _, f := range b.open {
		if f.ID == id {
			defer b.mu.Unlock()
			return b.shown(f), nil
		}
	}
	b.mu.Unlock()
	var found []*Finding
	err := b.db.Read(ctx, func(ctx context.Context, tx *store.Tx) (err error) {
		found, err = query(ctx, tx, "SELECT "+columns+" FROM watch_finding WHERE id = ?", id)
		return err
	})
	switch {
	case err != nil:
		return Finding{}, fmt.Errorf("read finding: %w", err)
	case len(found) == 0:
		return Finding{}, fault.New(fault.NotFound, fmt.Sprintf("there is no finding %d", id))
	}
	return *found[0], nil
}

// Clean removes what was closed long ago.
func (b *Inbox) Clean(ctx context.Context) error {
	return b.db.Write(ctx, func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.Exec(ctx, "DELETE FROM watch_finding WHERE closed > 0 AND closed < ?", b.clock.Now().Add(-keepClosed).UnixMicro())
		return err
	})
}
