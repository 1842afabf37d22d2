package values

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/base/secret"
	"github.com/wardhq/ward/internal/cap/secrets/internal/generate"
	"github.com/wardhq/ward/internal/model/lexis"
	"github.com/wardhq/ward/internal/store"
)

// Definition is a secret that ward.yaml declares.
type Definition struct {
	Name     string
	Generate generate.Kind // what to make when there is no value, and at each rotation
	DNSNames []string      // of a generated certificate; none means the secret's name
	Rotate   time.Duration // how old a value may become; 0 for any age
	Sealed   []byte        // an age file with the value, or nil
	Canary   bool
}

// minRotate keeps a slip of the pen from rotating all the time.
const minRotate = time.Hour

func (d *Definition) check() error {
	bad := func(what string) error {
		return fault.New(fault.Invalid, fmt.Sprintf("the secret %.63q %s", d.Name, what))
	}
	switch {
	case !lexis.IsLabel(d.Name):
		return bad("has no DNS label for a name")
	case !d.Generate.Valid():
		return bad("has nothing that can be generated")
	case d.Generate != generate.None && len(d.Sealed) > 0:
		return bad("is generated and sealed at once")
	case d.Rotate != 0 && d.Rotate < minRotate:
		return bad("rotates more often than every hour")
	}
	return nil
}

// make makes a value.
func (d *Definition) make(now time.Time) (secret.Bytes, error) {
	names := d.DNSNames
	if len(names) == 0 {
		names = []string{d.Name}
	}
	return generate.Value(d.Generate, generate.Options{DNSNames: names, Now: now})
}

// defineAtOnce bounds the changes in one transaction.
const defineAtOnce = 250

// Define puts the definitions of a plan into force, in place of those before: it makes values that are declared and
// missing, and takes in sealed files that it hasn't seen. Values of names that aren't declared any more stay.
// When it fails, the definitions before are in force, and some of the new values may be there.
func (s *Store) Define(ctx context.Context, definitions []Definition) error {
	s.defining.Lock()
	defer s.defining.Unlock()
	defs := make(map[string]Definition, len(definitions))
	for _, d := range definitions {
		if err := d.check(); err != nil {
			return fmt.Errorf("define secrets: %w", err)
		}
		if _, twice := defs[d.Name]; twice {
			return fault.New(fault.Invalid, fmt.Sprintf("the secret %s is defined twice", d.Name))
		}
		defs[d.Name] = d
	}
	sum := digestOf(definitions)
	s.mu.Lock()
	before := s.defs
	s.defs = defs // what is made below is scheduled by them
	s.mu.Unlock()
	if err := s.enforce(ctx, defs, sum); err != nil {
		s.mu.Lock()
		s.defs = before
		s.mu.Unlock()
		return fmt.Errorf("define secrets: %w", err)
	}
	return nil
}

// digestOf is the same for the same definitions in the same order.
func digestOf(definitions []Definition) []byte {
	h := sha256.New()
	var b []byte
	field := func(f string) { b = append(binary.BigEndian.AppendUint32(b, uint32(len(f))), f...) }
	for _, d := range definitions {
		b = b[:0]
		field(d.Name)
		field(string(d.Generate))
		field(strings.Join(d.DNSNames, " "))
		field(string(d.Sealed))
		b = binary.BigEndian.AppendUint64(b, uint64(d.Rotate))
		h.Write(b) // Canary changes nothing here
	}
	return h.Sum(nil)
}

// enforce makes what the definitions lack. The same ones as the last time lack nothing.
func (s *Store) enforce(ctx context.Context, defs map[string]Definition, sum []byte) error {
	rows := map[string]row{}
	same := false
	err := s.db.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		last, err := meta(ctx, tx, definedRow)
		if err != nil && !errors.Is(err, store.ErrNoRows) {
			return err
		}
		if same = bytes.Equal(last, sum); same {
			return nil
		}
		found, err := tx.Query(ctx, "SELECT "+rowColumns+" FROM values_secret")
		if err != nil {
			return err
		}
		for found.Next() {
			r, err := scanRow(found)
			if err != nil {
				return err
			}
			rows[r.name] = r
		}
		return found.Err()
	})
	if err != nil || same {
		return err
	}
	changes, err := s.lacking(defs, rows)
	if err != nil {
		return err
	}
	for some := range slices.Chunk(changes, defineAtOnce) {
		if _, err := s.apply(ctx, some...); err != nil {
			return err
		}
	}
	return s.db.Write(ctx, func(ctx context.Context, tx *store.Tx) error { return putMeta(ctx, tx, definedRow, sum) })
}

// lacking is what has to change. All sealed files are opened before anything is changed.
func (s *Store) lacking(defs map[string]Definition, rows map[string]row) ([]change, error) {
	var out []change
	now := s.clock.Now()
	for name, d := range defs {
		r := rows[name]
		digest := sha256.Sum256(d.Sealed)
		switch {
		case len(d.Sealed) > 0 && !r.takes(digest[:]) && r.deletedAt.IsZero():
			v, err := s.identity.Open(d.Sealed)
			if err == nil && len(v.Reveal()) == 0 {
				err = fault.New(fault.Invalid, "the value is empty")
			}
			if err != nil {
				return nil, fault.Wrap(fault.KindOf(err), fmt.Sprintf("the sealed file of the secret %s: %s", name, fault.PublicText(err)), err)
			}
			out = append(out, change{name: name, who: byItself, kind: eventImported, do: func(r *row, now time.Time) error {
				r.digest = digest[:]
				return r.set(v, time.Time{}, now, Current)
			}})
		case d.Generate != generate.None && r.newest == 0:
			v, err := d.make(now)
			if err != nil {
				return nil, err
			}
			stage := Current
			if s.rotator(name) != nil {
				stage = Pending // Maintain brings it to its system first
			}
			out = append(out, change{name: name, who: byItself, kind: eventGenerated, do: func(r *row, now time.Time) error {
				if r.newest > 0 {
					return errUnchanged // a replica was faster
				}
				err := r.set(v, time.Time{}, now, stage)
				r.rotating = stage == Pending
				return err
			}})
		}
	}
	for name, r := range rows {
		if before := r.rotateAt; !r.rotating && !s.schedule(&r, now).Equal(before) {
			out = append(out, change{name: name, do: func(*row, time.Time) error { return nil }})
		}
	}
	return out, nil
}

// schedule sets when the row is rotated, and returns it; never is the zero time.
func (s *Store) schedule(r *row, now time.Time) time.Time {
	d, ok := s.definition(r.name)
	switch {
	case !r.deletedAt.IsZero():
		r.rotateAt = time.Time{}
	case !r.retry.IsZero():
		r.rotateAt = r.retry
	case r.rotating: // what was begun is brought to its end
		r.rotateAt = now
	case !ok || d.Rotate == 0 || d.Generate == generate.None || r.current == 0:
		r.rotateAt = time.Time{}
	default:
		r.rotateAt = r.since.Add(d.Rotate)
	}
	return r.rotateAt
}
