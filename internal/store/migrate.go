package store

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/wardhq/ward/internal/base/fault"
)

type migration struct {
	number int
	name   string
	text   string
	sum    string // SHA-256 of text, hexadecimal
}

// Migrate brings the owner's tables up to its files, which are called 0001_name.sql, or
// 0001_name.sqlite.sql and 0001_name.postgres.sql where the engines differ. Each runs once, in a
// transaction of its own, and is never changed or taken away afterwards. It touches only tables and
// indexes whose names begin with the owner's name and an underscore. Migrations may run in several
// processes at once.
func (d *DB) Migrate(ctx context.Context, owner string, files fs.FS) error {
	all, err := migrations(owner, files, d.engine.dialect())
	if err != nil {
		return fmt.Errorf("read the migrations of %s: %w", owner, err)
	}
	for applied := -1; applied < len(all); {
		err := d.run(ctx, "migrate", func(ctx context.Context, tx *Tx) (err error) {
			applied, err = d.step(ctx, tx, owner, all)
			return err
		}, d.engine.migrate)
		if err != nil {
			return fmt.Errorf("migrate %s: %w", owner, err)
		}
	}
	return nil
}

// step applies the next migration, and returns how many there are then.
func (d *DB) step(ctx context.Context, tx *Tx, owner string, all []migration) (int, error) {
	const table = `CREATE TABLE IF NOT EXISTS store_migration (owner TEXT NOT NULL, number BIGINT NOT NULL, name TEXT NOT NULL,
		sha256 TEXT NOT NULL, at BIGINT NOT NULL, PRIMARY KEY (owner, number))`
	if _, err := tx.Exec(ctx, table); err != nil {
		return 0, err
	}
	rows, err := tx.Query(ctx, "SELECT name, sha256 FROM store_migration WHERE owner = ? ORDER BY number", owner)
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	n := 0
	for ; rows.Next(); n++ {
		var name, sum string
		if err := rows.Scan(&name, &sum); err != nil {
			return 0, err
		}
		if n < len(all) && (all[n].name != name || all[n].sum != sum) {
			return 0, fault.New(fault.Conflict, fmt.Sprintf("migration %d of %s (%s) was changed after it had run; put its text back and add a new one", n+1, owner, name))
		}
	}
	if err := rows.Err(); err != nil {
		return 0, err
	}
	if n > len(all) {
		return 0, fault.New(fault.Conflict, fmt.Sprintf("the database has %d migrations of %s and this program only %d: a newer Ward has used it", n, owner, len(all)))
	}
	if n == len(all) {
		return n, nil
	}
	m := all[n]
	// Not prepared: it holds several statements.
	if _, err := tx.on.ExecContext(ctx, m.text); err != nil {
		return 0, fmt.Errorf("run %04d_%s: %w", m.number, m.name, tx.doom(err))
	}
	_, err = tx.Exec(ctx, "INSERT INTO store_migration (owner, number, name, sha256, at) VALUES (?, ?, ?, ?, ?)", owner, m.number, m.name, m.sum, d.clock.Now().UnixMicro())
	return n + 1, err
}

// migrations reads the files of a dialect, in order.
func migrations(owner string, files fs.FS, dialect string) ([]migration, error) {
	if !regexp.MustCompile(`^[a-z][a-z0-9]*$`).MatchString(owner) || owner == "store" {
		return nil, fmt.Errorf("%.32q can't own tables", owner)
	}
	entries, err := fs.ReadDir(files, ".")
	if err != nil {
		return nil, err
	}
	form := regexp.MustCompile(`^([0-9]{4})_([a-z0-9_]+)(?:\.(sqlite|postgres))?\.sql$`)
	var all []migration
	variants := map[string]int{} // number and name → how many files are of one dialect
	for _, e := range entries {
		f := form.FindStringSubmatch(e.Name())
		if f == nil {
			return nil, fmt.Errorf("%s isn't called like 0001_name.sql", e.Name())
		}
		if f[3] != "" {
			variants[f[1]+f[2]]++
		}
		if f[3] != "" && f[3] != dialect {
			continue
		}
		b, err := fs.ReadFile(files, e.Name())
		if err != nil {
			return nil, err
		}
		if err := checkNames(owner, string(b)); err != nil {
			return nil, fmt.Errorf("%s: %w", e.Name(), err)
		}
		number, _ := strconv.Atoi(f[1]) // four digits
		sum := sha256.Sum256(b)
		all = append(all, migration{number, f[2], string(b), hex.EncodeToString(sum[:])})
	}
	for name, n := range variants {
		if n != 2 {
			return nil, fmt.Errorf("%s_%s is there for one engine only", name[:4], name[4:])
		}
	}
	slices.SortFunc(all, func(a, b migration) int { return cmp.Compare(a.number, b.number) })
	for i, m := range all {
		if m.number != i+1 {
			return nil, fmt.Errorf("%04d_%s should have the number %d", m.number, m.name, i+1)
		}
	}
	return all, nil
}

// checkNames is for honest mistakes: it finds the names that stand where a table or index does.
func checkNames(owner, text string) error {
	text = strings.ToLower(withoutQuotes(text))
	if bad := regexp.MustCompile(`(?:^|;)\s*(begin|commit|end|rollback|savepoint|attach|detach|pragma|vacuum|set|reset|do|call|copy|grant|revoke)\b`).FindStringSubmatch(text); bad != nil {
		return fmt.Errorf("a migration has no %s", bad[1])
	}
	named := regexp.MustCompile(`\b(?:table|index|view|trigger|sequence|into|from|join|references|on|update)\s+(?:if\s+(?:not\s+)?exists\s+)?(?:only\s+)?(["\w.]+)`)
	for _, m := range named.FindAllStringSubmatch(text, -1) {
		switch m[1] {
		case "conflict", "delete", "update", "set", "cascade", "restrict", "no": // ON CONFLICT, ON DELETE SET NULL…
			continue
		}
		if !strings.HasPrefix(m[1], owner+"_") {
			return fmt.Errorf("%s doesn't begin with %s_", m[1], owner)
		}
	}
	if strings.Contains(text, `"`) {
		return errors.New("names have no quotes")
	}
	return nil
}

// withoutQuotes takes texts and comments out of SQL.
func withoutQuotes(text string) string {
	var b strings.Builder
	for text != "" {
		end := quoted(text)
		if end == 0 || text[0] == '"' {
			b.WriteByte(text[0])
			end = 1
		}
		text = text[end:]
	}
	return b.String()
}
