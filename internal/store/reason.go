package store

import (
	"errors"

	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"
	codes "modernc.org/sqlite/lib"

	"github.com/wardhq/ward/internal/base/fault"
)

// IsUnique says whether err comes from a row whose key is there already.
func IsUnique(err error) bool {
	switch sqliteCode(err) {
	case codes.SQLITE_CONSTRAINT_UNIQUE, codes.SQLITE_CONSTRAINT_PRIMARYKEY:
		return true
	}
	return postgresCode(err) == "23505" // unique_violation
}

// inTheWay says whether another transaction was, and trying again may help: serialization_failure or
// deadlock_detected.
func inTheWay(err error) bool {
	code := postgresCode(err)
	return code == "40001" || code == "40P01"
}

// reason is what a human can do about an engine's error; no text means nothing known.
func reason(err error) (fault.Kind, string) {
	const primary = 0xff // the low byte of an extended code (sqlite.org/rescode.html)
	switch sqliteCode(err) & primary {
	case codes.SQLITE_FULL:
		return fault.Exhausted, "the database has no room: the disk is full"
	case codes.SQLITE_CORRUPT, codes.SQLITE_NOTADB:
		return fault.Unavailable, "the database file is damaged or not SQLite's: restore it from a backup"
	case codes.SQLITE_READONLY, codes.SQLITE_PERM, codes.SQLITE_CANTOPEN:
		return fault.Unavailable, "the database file can't be opened for writing"
	case codes.SQLITE_BUSY:
		return fault.Unavailable, "another process is writing to the database"
	case codes.SQLITE_IOERR:
		return fault.Unavailable, "the disk fails to read or write the database"
	}
	switch code := postgresCode(err); {
	case code == "40001" || code == "40P01":
		return fault.Unavailable, "other replicas are writing to the same rows"
	case code == "53100": // disk_full
		return fault.Exhausted, "the database has no room: its disk is full"
	case len(code) == 5 && (code[:2] == "53" || code[:2] == "57" || code[:2] == "08"):
		return fault.Unavailable, "the PostgreSQL database is not available" // resources, operator, connection
	}
	return fault.Internal, ""
}

// isBusy says whether another process had SQLite's database locked.
func isBusy(err error) bool { return sqliteCode(err)&0xff == codes.SQLITE_BUSY }

func sqliteCode(err error) int {
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		return e.Code()
	}
	return 0
}

func postgresCode(err error) string {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return e.Code
	}
	return ""
}
