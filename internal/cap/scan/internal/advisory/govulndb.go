package advisory

import (
	"bytes"
	"cmp"
	"compress/flate"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/wardhq/ward/internal/cap/scan/internal/advisory/internal/osv"
)

type goModule struct {
	Path  string   `json:"path"`
	Vulns []goVuln `json:"vulns"`
}

type goVuln struct {
	ID       string    `json:"id"`
	Modified time.Time `json:"modified"`
	Aliases  []string  `json:"aliases,omitempty"`
}

// WriteGoVulnDB writes the Go vulnerability database's entries, as they were, into the folder dir, which it makes, in the layout that
// golang.org/x/vuln reads of "file://" + dir (https://go.dev/doc/security/vuln/database#api). NoDataError if there are none: other databases'
// entries for Go name no functions.
func (d *DB) WriteGoVulnDB(ctx context.Context, dir string) error {
	d.state.RLock()
	defer d.state.RUnlock()
	if d.file == nil {
		return errClosed
	}
	size := d.file.Len(sectionGo)
	if size == 0 {
		return NoDataError{"Go"}
	}
	all, err := d.file.Bytes(sectionGo, 0, size)
	if err != nil {
		return fmt.Errorf("write Go's advisories: %w", damaged(err))
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("write Go's advisories: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("write Go's advisories: %w", err)
	}
	defer root.Close()
	if err := writeGoEntries(ctx, root, cursor{b: all}); err != nil {
		return fmt.Errorf("write Go's advisories: %w", err)
	}
	return nil
}

func writeGoEntries(ctx context.Context, root *os.Root, c cursor) error {
	for _, folder := range [...]string{"ID", "index"} {
		if err := root.MkdirAll(folder, 0o755); err != nil {
			return err
		}
	}
	var newest time.Time
	modules := map[string]*goModule{}
	vulns := []goVuln{}
	for len(c.b) > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		id, packed := c.string(), c.bytes()
		if c.bad {
			return damaged(errBroken)
		}
		b, err := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(packed)), osv.MaxEntry+1))
		if err != nil {
			return damaged(err)
		}
		e, err := osv.Parse(b)
		if err != nil {
			return damaged(err)
		}
		if e.ID != id {
			return damaged(errors.New("an entry has another's name"))
		}
		if err := root.WriteFile("ID/"+id+".json", b, 0o644); err != nil {
			return err
		}
		v := goVuln{ID: id, Modified: e.Modified}
		if e.Modified.After(newest) {
			newest = e.Modified
		}
		for _, a := range e.Affected {
			m := modules[a.Package.Name]
			if m == nil {
				m = &goModule{Path: a.Package.Name}
				modules[a.Package.Name] = m
			}
			m.Vulns = append(m.Vulns, v)
		}
		v.Aliases = e.Aliases
		vulns = append(vulns, v)
	}
	list := make([]*goModule, 0, len(modules))
	for _, m := range modules {
		list = append(list, m)
	}
	slices.SortFunc(list, func(a, b *goModule) int { return cmp.Compare(a.Path, b.Path) })
	for name, content := range map[string]any{"db": map[string]time.Time{"modified": newest}, "modules": list, "vulns": vulns} {
		b, err := json.Marshal(content)
		if err != nil {
			return err
		}
		if err := root.WriteFile("index/"+name+".json", b, 0o644); err != nil {
			return err
		}
	}
	return nil
}
