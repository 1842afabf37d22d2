package scanning

import (
	"context"
	"path/filepath"
	"sync"
	"time"

	"github.com/wardhq/ward/internal/cap/scan"
	"github.com/wardhq/ward/internal/model"
)

// Refusals knows which services `ward up` doesn't start, because of a hole that is known to be exploited. It is safe for concurrent use.
type Refusals struct {
	mu  sync.Mutex
	why map[string]string // guarded by mu: by service
}

// Look scans what a model asks to (scan: refuse), which was read from a file, and remembers. It is called whenever the model is read; what can't be scanned is an
// error, so that nothing new starts.
func (r *Refusals) Look(ctx context.Context, m *model.Model, file string) error {
	why := map[string]string{}
	if m.Scan.Refuse {
		dir, err := filepath.Abs(filepath.Dir(file))
		if err != nil {
			return err
		}
		db, err := defaultDB()
		if err != nil {
			return err
		}
		if why, err = scan.Exploited(ctx, scan.Request{Dir: dir, Name: dir, Model: m, File: filepath.Base(file), DB: db, Now: time.Now()}); err != nil {
			return err
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.why = why
	return nil
}

// Why is the reason not to start a service, "" for none.
func (r *Refusals) Why(service string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.why[service]
}

// dbVariable says where the index of advisories lies, where nobody can say --db.
const dbVariable = "WARD_ADVISORIES"
