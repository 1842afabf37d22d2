package scan

import (
	"context"
	"crypto/ed25519"
	"time"

	"github.com/wardhq/ward/internal/cap/scan/internal/advisory"
)

// Advisories: how the index is built, imported and described.
type (
	// DataSource is a file, folder or URL of advisories in OSV's form.
	DataSource = advisory.Source
	// DataOptions say what else goes into the index.
	DataOptions = advisory.Options
	// DataInfo describes an index.
	DataInfo = advisory.Info
)

// BuildData reads the sources and puts an index of them in the place of the one at dst, or leaves that as it was.
func BuildData(ctx context.Context, dst string, sources []DataSource, o DataOptions) (DataInfo, error) {
	return advisory.Build(ctx, dst, sources, o)
}

// ImportData puts an index that was built elsewhere at dst, if key signed it; a nil key takes the index's own, which shows only that it
// arrived whole.
func ImportData(ctx context.Context, dst, from string, key ed25519.PublicKey) (DataInfo, error) {
	return advisory.Import(ctx, dst, from, key)
}

// ReadDataKey reads the public key that an index is signed with.
func ReadDataKey(b []byte) (ed25519.PublicKey, error) { return advisory.ParseKey(b) }

// Data describes the index at a path.
func Data(path string) (DataInfo, error) {
	db, err := advisory.Open(path)
	if err != nil {
		return DataInfo{}, err
	}
	defer db.Close()
	return db.Info(), nil
}

// CheckData tells whether the index at a path may be used: it is whole, signed, and not older than limit.
func CheckData(path string, now time.Time, limit time.Duration) error {
	db, err := openDB(path, now, limit)
	if err != nil {
		return err
	}
	return db.Close()
}
