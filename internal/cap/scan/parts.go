package scan

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/cap/scan/internal/advisory"
	"github.com/wardhq/ward/internal/cap/scan/internal/config"
	"github.com/wardhq/ward/internal/cap/scan/internal/inventory"
	"github.com/wardhq/ward/internal/cap/scan/internal/posture"
	"github.com/wardhq/ward/internal/cap/scan/internal/report"
	"github.com/wardhq/ward/internal/cap/scan/internal/sarif"
	"github.com/wardhq/ward/internal/cap/scan/internal/sbom"
	"github.com/wardhq/ward/internal/cap/scan/internal/vex"
	"github.com/wardhq/ward/internal/finding"
)

// state is the folder of a running application's own state, beside its ward.yaml.
const state = ".ward"

// base is the folder of ward.yaml in the tree.
func (s *scanner) base() string { return path.Dir(s.File) }

// skip tells whether a file or folder is left out: by ward.yaml, or because it is Ward's own state.
func (s *scanner) skip(name string) bool {
	if path.Base(name) == state || strings.Contains("/"+name, "/"+state+"/") {
		return true
	}
	return s.Model != nil && slices.ContainsFunc(s.Model.Scan.Skip, func(p string) bool {
		p = path.Join(s.base(), p)
		return name == p || strings.HasPrefix(name, p+"/")
	})
}

func (s *scanner) dependencies(ctx context.Context) (int, error) {
	inv, err := inventory.Find(ctx, s.tree, inventory.Options{Skip: s.skip})
	if err != nil {
		return 0, err
	}
	s.out.Problems = append(s.out.Problems, inv.Problems...)
	asked, err := s.unlocked(ctx)
	if err != nil {
		return 0, err
	}
	more, err := s.bills()
	if err != nil {
		return 0, err
	}
	s.out.Packages = slices.Concat(s.out.Packages, inv.Packages, asked, more)
	s.out.Parts = len(s.out.Packages)
	if s.out.Parts == 0 {
		return len(inv.Files), nil
	}
	db, err := openDB(s.DB, s.Now, s.maxAge())
	if err != nil {
		return 0, err
	}
	defer db.Close()
	s.out.Data = dataOf(db)
	found, missing, err := vulnerable(db, s.out.Packages)
	s.out.Findings = append(s.out.Findings, found...)
	s.blind(missing)
	if err != nil {
		return 0, err
	}
	return len(inv.Files), s.calls(ctx, db)
}

// vulnerable looks every part up. missing counts the parts of ecosystems without data, of which only the malicious ones are known.
func vulnerable(db *advisory.DB, packages []finding.Package) (out []finding.Finding, missing map[string]int, err error) {
	missing = map[string]int{}
	for _, p := range packages {
		found, err := db.Find(p)
		if none, ok := errors.AsType[advisory.NoDataError](err); ok {
			missing[none.Ecosystem]++
		} else if err != nil {
			return nil, nil, err
		}
		if len(found) > 0 {
			clean, err := db.Clean(p, found)
			if err != nil && missing[p.Ecosystem] == 0 {
				return nil, nil, err
			}
			for i := range found {
				found[i].Clean = clean
				found[i].Fix = fixOf(&found[i])
			}
		}
		out = append(out, found...)
	}
	return out, missing, nil
}

// blind says that nothing is known of some ecosystems: whatever else was found, the scan fails.
func (s *scanner) blind(missing map[string]int) {
	var names []string
	for name, n := range missing {
		names = append(names, fmt.Sprintf("%s (%d parts)", name, n))
	}
	slices.Sort(names)
	if len(names) > 0 && s.out.Blind == "" {
		s.out.Blind = fmt.Sprintf("the advisories hold nothing of %s, so nothing is known of them; bring them in with 'ward scan db update'", strings.Join(names, ", "))
	}
}

func fixOf(f *finding.Finding) string {
	switch {
	case f.Kind == finding.Malicious:
		return "Remove " + f.Package.Name + ", and take every secret that was within its reach for stolen."
	case f.Clean != "" && len(f.Fixed) > 0 && f.Clean != f.Fixed[0]:
		return fmt.Sprintf("Update %s to %s, the lowest version without a known hole (%s mends this one).", f.Package.Name, f.Clean, f.Fixed[0])
	case len(f.Fixed) > 0:
		return fmt.Sprintf("Update %s to %s, the lowest version that mends it.", f.Package.Name, f.Fixed[0])
	}
	return "No version mends it yet: do without " + f.Package.Name + ", or keep what reaches it closed."
}

func (s *scanner) maxAge() time.Duration {
	if s.MaxAge > 0 {
		return s.MaxAge
	}
	days := 7
	if s.Model != nil && s.Model.Scan.MaxAgeDays > 0 {
		days = s.Model.Scan.MaxAgeDays
	}
	return time.Duration(days) * 24 * time.Hour
}

func openDB(file string, now time.Time, limit time.Duration) (*advisory.DB, error) {
	db, err := advisory.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.New(fault.NotFound, "there are no advisories here yet; bring them in with 'ward scan db update', or 'ward scan db import FILE' on a machine without a network")
	}
	if err != nil {
		return nil, err
	}
	if err := db.Fresh(now, limit); err != nil {
		db.Close()
		return nil, err
	}
	return db, nil
}

func dataOf(db *advisory.DB) *report.Data {
	info := db.Info()
	d := &report.Data{Newest: info.Time(), Built: info.Built, Counts: map[string]int{}}
	for _, e := range info.Ecosystems {
		d.Counts[e.Name] = e.Advisories
	}
	return d
}

func (s *scanner) configuration(ctx context.Context) (int, error) {
	res, err := config.Find(ctx, s.tree, config.Options{Skip: s.skip})
	if err != nil {
		return 0, err
	}
	for _, p := range res.Problems {
		s.problem(at(p.Path, p.Line), p.Message)
	}
	s.out.Findings = append(s.out.Findings, res.Findings...)
	return len(res.Files), nil
}

func (s *scanner) model(context.Context) (int, error) {
	if s.Model == nil {
		return 0, nil
	}
	s.out.Findings = append(s.out.Findings, posture.Find(s.Model, s.Said, s.File)...)
	return 1, nil
}

// bills reads the parts of the bills of materials.
func (s *scanner) bills() ([]finding.Package, error) {
	var out []finding.Package
	for _, file := range s.SBOM {
		d, err := read(file, sbom.Read)
		if err != nil {
			return nil, err
		}
		for _, p := range d.Packages {
			if p.Location.Path == "" {
				p.Location.Path = file
			}
			out = append(out, p)
		}
	}
	return out, nil
}

// read opens a file for one of the readers.
func read[T any](file string, parse func(io.Reader) (T, error)) (T, error) {
	var none T
	f, err := os.Open(file)
	if err != nil {
		return none, fault.Wrap(fault.Invalid, "read "+file, err)
	}
	defer f.Close()
	v, err := parse(f)
	if err != nil {
		return none, fault.Wrap(fault.Invalid, file, err)
	}
	return v, nil
}

// others takes in what other analysers found.
func (s *scanner) others() error {
	for _, file := range s.SARIF {
		found, err := read(file, func(r io.Reader) ([]finding.Finding, error) { return sarif.Read(r, filepath.ToSlash(s.Dir)) })
		if err != nil {
			return err
		}
		s.out.Findings = append(s.out.Findings, found...)
	}
	return nil
}

// vex lets the statements of OpenVEX documents count: those about this application, or about the parts themselves.
func (s *scanner) vex() error {
	var docs []vex.Document
	for _, file := range s.VEX {
		d, err := read(file, vex.Read)
		if err != nil {
			return err
		}
		docs = append(docs, d)
	}
	for i, n := range vex.Apply(docs, []string{productOf(s.out.App)}, s.Now, s.out.Findings) {
		if n > 0 {
			s.problem(s.VEX[i], fmt.Sprintf("%d statements are dated in the future, and don't count", n))
		}
	}
	for i := range s.out.Findings {
		// Nobody's word makes a part harmless that was published to do harm: ward.yaml's owner may answer for it, no document of others.
		if f := &s.out.Findings[i]; f.Kind == finding.Malicious && f.Suppressed != nil && f.Suppressed.By == "vex" {
			f.Suppressed = nil
		}
	}
	return nil
}

// productOf is the name of an application in OpenVEX documents, a package URL; "" for none.
func productOf(app string) string {
	if app == "" {
		return ""
	}
	return "pkg:generic/" + app
}

// at is path:line.
func at(file string, line int) string {
	if line > 0 {
		return fmt.Sprintf("%s:%d", file, line)
	}
	return file
}
