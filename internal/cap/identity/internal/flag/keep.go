package flag

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/wardhq/ward/internal/cap/identity/internal/device"
	"github.com/wardhq/ward/internal/store"
)

//go:embed migrations/*.sql
var migrations embed.FS

const (
	maxNetworks = 16                   // of a person that are remembered
	forgetAfter = 400 * 24 * time.Hour // habits of people who don't come any more
	saveEvery   = 10 * time.Second
	atLeast     = 3  // tries that are worth a row
	keepDays    = 90 // counts of accounts that nobody tries any more
)

// usual is what is usual for this application, learned each day on which it wasn't attacked.
type usual struct {
	Day       uint32  `json:"day"`       // the last one that was learned
	Days      int     `json:"days"`      // learned
	Rate      float64 `json:"rate"`      // unresolved failures for each sign-in
	Registers float64 `json:"registers"` // registrations and resets a day
	Attacked  bool    `json:"attacked"`  // today
}

// failureRate is up to how many failures a sign-in makes up for: three times what is usual, within bounds that an attacker who teaches us
// his habits can't move far.
func (u *usual) failureRate() float64 {
	if u.Days < 3 {
		return 0.3
	}
	return min(max(3*u.Rate, 0.1), 0.5)
}

// learn takes over the day that ended. It needs d.mu.
func (d *Detector) learn(now time.Time) {
	today := spanNumber(now, long)
	u := &d.usual
	if today <= u.Day {
		return
	}
	if yesterday := d.global.at[long]; u.Day > 0 && yesterday == today-1 && !u.Attacked {
		d.global.roll(now)
		f, ok := d.global.unresolved(long)
		if ok >= 20 { // of fewer a rate says nothing
			share := 1 / float64(min(u.Days+1, 7))
			u.Rate += share * (f/ok - u.Rate)
			u.Registers += share * (d.global.distinct(long, registers) - u.Registers)
			u.Days++
		}
	}
	u.Day, u.Attacked = today, false
}

// markDirty needs d.mu. What doesn't fit is saved when it counts again.
func (d *Detector) markDirty(key uint64) {
	if len(d.dirty) < maxDirty {
		d.dirty[key] = struct{}{}
	}
}

func (d *Detector) load(ctx context.Context) error {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	if err := d.config.DB.Migrate(ctx, "flag", files); err != nil {
		return err
	}
	now := d.config.Clock.Now()
	return d.config.DB.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		var text string
		err := tx.QueryRow(ctx, `SELECT value FROM flag_usual WHERE name = 'all'`).Scan(&text)
		if err == nil {
			err = json.Unmarshal([]byte(text), &d.usual)
		}
		if err != nil && !errors.Is(err, store.ErrNoRows) {
			return fmt.Errorf("read what is usual: %w", err)
		}
		rows, err := tx.Query(ctx, `SELECT hash, day, today, before, total FROM flag_account ORDER BY total DESC LIMIT ?`, accountSlots/2)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var key, at, today, before, total int64
			if err := rows.Scan(&key, &at, &today, &before, &total); err != nil {
				return err
			}
			a := d.accounts.touch(uint64(key), now)
			a.spans[long] = count{uint32(at), uint16(today), uint16(before)}
			a.total = uint32(total)
		}
		return rows.Err()
	})
}

// Run saves what is counted until ctx ends, and once more then. Problems go to failed, which may be nil.
func (d *Detector) Run(ctx context.Context, failed func(error)) {
	t := time.NewTicker(saveEvery)
	defer t.Stop()
	for {
		end := false
		select {
		case <-t.C:
		case <-ctx.Done():
			end = true
		}
		save, cancel := context.WithTimeout(context.WithoutCancel(ctx), saveEvery)
		if err := d.Save(save); err != nil && failed != nil {
			failed(err)
		}
		cancel()
		if end {
			return
		}
	}
}

type row struct {
	key uint64
	account
}

// Save writes what has changed since the last time, at most some thousand rows, and drops what is over.
func (d *Detector) Save(ctx context.Context) error {
	now := d.config.Clock.Now()
	d.mu.Lock()
	d.learn(now)
	var rows []row
	for key := range d.dirty {
		if a := d.accounts.find(key); a != nil {
			a.roll(now)
			rows = append(rows, row{key, *a})
		}
	}
	clear(d.dirty)
	u := d.usual
	d.mu.Unlock()
	text, err := json.Marshal(u)
	if err != nil {
		return fmt.Errorf("save flags: %w", err)
	}
	err = d.config.DB.Write(ctx, func(ctx context.Context, tx *store.Tx) error {
		for _, r := range rows {
			if err := saveAccount(ctx, tx, r); err != nil {
				return err
			}
		}
		if _, err := tx.Exec(ctx, `INSERT INTO flag_usual (name, value) VALUES ('all', ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value`, string(text)); err != nil {
			return err
		}
		// Whoever tries names that nobody has makes rows too.
		if _, err := tx.Exec(ctx, `DELETE FROM flag_account WHERE hash IN (SELECT hash FROM flag_account ORDER BY total DESC, hash DESC LIMIT ? OFFSET ?)`, 2*maxDirty, accountSlots/2); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `DELETE FROM flag_account WHERE hash IN (SELECT hash FROM flag_account WHERE day < ? LIMIT 1000)`, int64(spanNumber(now, long))-keepDays); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `DELETE FROM flag_person WHERE person IN (SELECT person FROM flag_person WHERE seen < ? LIMIT 1000)`, now.Add(-forgetAfter).UnixMicro())
		return err
	})
	if err != nil {
		d.mu.Lock()
		for _, r := range rows {
			d.markDirty(r.key)
		}
		d.mu.Unlock()
		return fmt.Errorf("save flags: %w", err)
	}
	return nil
}

func saveAccount(ctx context.Context, tx *store.Tx, r row) error {
	if max(int(r.total), r.spans[long].value()) < atLeast {
		_, err := tx.Exec(ctx, `DELETE FROM flag_account WHERE hash = ?`, int64(r.key))
		return err
	}
	c := r.spans[long]
	_, err := tx.Exec(ctx, `INSERT INTO flag_account (hash, day, today, before, total) VALUES (?, ?, ?, ?, ?)
		ON CONFLICT (hash) DO UPDATE SET day = excluded.day, today = excluded.today, before = excluded.before, total = excluded.total`,
		int64(r.key), int64(c.at), int64(c.now), int64(c.before), int64(r.total))
	return err
}

// habits are where a person signs in.
type habits struct {
	Networks []string     `json:"networks"` // newest first
	Place    device.Place `json:"place"`    // of the last sign-in that had one
	At       time.Time    `json:"at"`
}

// habits compares a sign-in with those before, and adds it to them when it is complete. The very first is compared with nothing.
func (d *Detector) habits(ctx context.Context, s *seen) error {
	var place device.Place
	if d.config.Place != nil {
		place, _ = d.config.Place(s.Address) // without a place there is no travel
	}
	var before habits
	var found bool
	err := d.config.DB.Write(ctx, func(ctx context.Context, tx *store.Tx) error {
		before, found = habits{}, false // it may run again
		var text string
		err := tx.QueryRow(ctx, `SELECT habits FROM flag_person WHERE person = ?`, s.Person).Scan(&text)
		if err == nil {
			found, err = true, json.Unmarshal([]byte(text), &before)
		}
		if err != nil && !errors.Is(err, store.ErrNoRows) {
			return err
		}
		if s.Kind == PasswordOK {
			return nil
		}
		after := before
		after.Networks = slices.DeleteFunc(slices.Clone(before.Networks), func(n string) bool { return n == s.network.String() })
		after.Networks = slices.Insert(after.Networks, 0, s.network.String())
		after.Networks = after.Networks[:min(len(after.Networks), maxNetworks)]
		if place.Located {
			after.Place, after.At = place, s.now
		}
		out, err := json.Marshal(after)
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `INSERT INTO flag_person (person, habits, seen) VALUES (?, ?, ?) ON CONFLICT (person) DO UPDATE SET habits = excluded.habits, seen = excluded.seen`, s.Person, string(out), s.now.UnixMicro())
		return err
	})
	if err != nil {
		return fmt.Errorf("compare with habits: %w", err)
	}
	if !found {
		return nil
	}
	newNetwork := !slices.Contains(before.Networks, s.network.String())
	severity := Medium
	if s.Known {
		severity = Low
	}
	switch {
	case !s.Known && newNetwork:
		s.happened(NewDevice, severity, "a sign-in on a new device from a new network")
	case !s.Known:
		s.happened(NewDevice, severity, "a sign-in on a new device")
		s.reports[len(s.reports)-1].usual = true
	case newNetwork:
		s.happened(NewDevice, severity, "a sign-in from a new network")
	}
	if device.Impossible(before.Place, place, s.now.Sub(before.At)) {
		if severity == Medium {
			severity = High
		}
		s.happened(ImpossibleTravel, severity, fmt.Sprintf("%s to %s, %.0f km, in %s", before.Place, place, device.Distance(before.Place, place), s.now.Sub(before.At).Round(time.Minute)))
	}
	return nil
}

// Forget deletes what is kept of a person.
func (d *Detector) Forget(ctx context.Context, person string) error {
	err := d.config.DB.Write(ctx, func(ctx context.Context, tx *store.Tx) error {
		for _, tag := range []byte{tagAccount, tagKnown} {
			if _, err := tx.Exec(ctx, `DELETE FROM flag_account WHERE hash = ?`, int64(d.digest(tag, "p"+person))); err != nil {
				return err
			}
		}
		_, err := tx.Exec(ctx, `DELETE FROM flag_person WHERE person = ?`, person)
		return err
	})
	if err != nil {
		return fmt.Errorf("forget habits: %w", err)
	}
	return nil
}
