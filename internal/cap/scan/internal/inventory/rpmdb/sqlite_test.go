package rpmdb

import (
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	_ "modernc.org/sqlite" // the second opinion: it writes what is read here
)

// sqlite is a database of 512-byte pages with a table of one row, changed afterwards.
func sqlite(t testing.TB, table string, change func([]byte)) []byte {
	t.Helper()
	b := written(t, 512, fmt.Sprintf("CREATE TABLE %s (hnum INTEGER PRIMARY KEY, blob BLOB)", table), table, [][]byte{make([]byte, 100)})
	for len(b) < 2048 {
		b = append(b, make([]byte, 512)...)
	}
	if change != nil {
		// The table's root becomes an interior page with no cell and page 3 as its last child.
		b[512], b[512+3], b[512+4] = 5, 0, 0
		copy(b[512+8:], []byte{0, 0, 0, 3})
		copy(b[1024:], b[512:1024])
		change(b)
	}
	return b
}

func written(t testing.TB, page int, create, table string, blobs [][]byte) []byte {
	t.Helper()
	name := filepath.Join(t.TempDir(), "db")
	db, err := sql.Open("sqlite", name)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	exec := func(query string, args ...any) {
		if _, err := db.Exec(query, args...); err != nil {
			t.Fatal(err)
		}
	}
	exec(fmt.Sprintf("PRAGMA page_size = %d", page))
	exec(create)
	exec("BEGIN")
	for _, b := range blobs {
		exec("INSERT INTO "+table+" (blob) VALUES (?)", b)
	}
	exec("COMMIT")
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestBlobsAsSQLiteWroteThem(t *testing.T) {
	for _, page := range []int{512, 1024, 4096, 65536} {
		var want, got [][]byte
		for n := range 700 { // some fit their page, some need many overflow pages
			b := make([]byte, n*n%9000)
			for i := range b {
				b[i] = byte(n + i)
			}
			want = append(want, b)
		}
		data := written(t, page, "CREATE TABLE Packages (hnum INTEGER PRIMARY KEY AUTOINCREMENT, blob BLOB NOT NULL)", "Packages", want)
		if err := sqliteBlobs(data, "Packages", func(b []byte) error {
			got = append(got, b)
			return nil
		}); err != nil {
			t.Fatalf("pages of %d: %v", page, err)
		}
		if !slices.EqualFunc(want, got, slices.Equal[[]byte]) {
			t.Errorf("pages of %d: %d blobs read aren't the %d written", page, len(got), len(want))
		}
	}
}
