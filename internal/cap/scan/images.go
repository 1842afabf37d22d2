package scan

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/cap/scan/internal/advisory"
	"github.com/wardhq/ward/internal/cap/scan/internal/callgraph"
	"github.com/wardhq/ward/internal/cap/scan/internal/credential"
	"github.com/wardhq/ward/internal/cap/scan/internal/distro"
	"github.com/wardhq/ward/internal/cap/scan/internal/image"
	"github.com/wardhq/ward/internal/cap/scan/internal/inventory"
	"github.com/wardhq/ward/internal/finding"
)

// images looks into container images: how they run, what is installed in them and by which layer, and credentials outside of the system's
// own folders.
func (s *scanner) images(ctx context.Context) (int, error) {
	if len(s.Images) == 0 {
		return 0, nil
	}
	db, err := openDB(s.DB, s.Now, s.maxAge())
	if err != nil {
		return 0, err
	}
	defer db.Close()
	s.out.Data = dataOf(db)
	files := 0
	for _, ref := range s.Images {
		n, err := s.image(ctx, db, ref)
		if err != nil {
			return 0, err
		}
		files += n
	}
	return files, nil
}

func (s *scanner) image(ctx context.Context, db *advisory.DB, ref string) (int, error) {
	img, err := image.Open(ctx, ref, image.Options{})
	if err != nil {
		return 0, fault.Wrap(fault.Invalid, "the image can't be looked into", err)
	}
	defer img.Close()
	inv, err := inventory.Find(ctx, img.FS(), inventory.Options{RootFS: true})
	if err != nil {
		return 0, err
	}
	img.Layers(inv.Packages)
	found, missing, err := vulnerable(db, inv.Packages)
	if err != nil {
		return 0, err
	}
	if found, err = s.archives(ctx, inv.Packages, found, missing); err != nil {
		return 0, err
	}
	s.blind(missing)
	if err := s.symbols(ctx, db, img, found); err != nil {
		return 0, err
	}
	secrets, err := credential.Find(ctx, img.FS(), credential.Options{Skip: systems})
	if err != nil {
		return 0, err
	}
	inside := func(l *finding.Location) { l.Path = ref + ":/" + l.Path }
	for i := range found {
		inside(&found[i].Location)
	}
	for i := range secrets.Findings {
		inside(&secrets.Findings[i].Location)
	}
	for i := range inv.Packages {
		inside(&inv.Packages[i].Location)
	}
	s.out.Packages = append(s.out.Packages, inv.Packages...)
	s.out.Parts = len(s.out.Packages)
	s.out.Findings = append(append(append(s.out.Findings, img.Findings()...), found...), secrets.Findings...)
	for _, p := range slices.Concat(inv.Problems, img.Problems, secrets.Problems) {
		s.problem(ref+":/"+p.Path, p.Reason)
	}
	return len(inv.Files) + secrets.Files, nil
}

// suites are the security archives of releases, by ecosystem.
func suites() map[string]string {
	return map[string]string{
		"Debian:11": "bullseye-security", "Debian:12": "bookworm-security", "Debian:13": "trixie-security",
		"Ubuntu:20.04": "focal-security", "Ubuntu:22.04": "jammy-security", "Ubuntu:24.04": "noble-security",
	}
}

// archives asks the distribution's own signed archive about installed packages, where the request names one. Ecosystems that it knows aren't missing any more.
func (s *scanner) archives(ctx context.Context, packages []finding.Package, found []finding.Finding, missing map[string]int) ([]finding.Finding, error) {
	if s.Archive.Mirror == "" {
		return found, nil
	}
	open := map[string]*distro.Archive{}
	for _, p := range packages {
		release := strings.TrimSuffix(p.Ecosystem, ":LTS")
		suite := suites()[release]
		if suite == "" {
			continue
		}
		if open[release] == nil {
			o := s.Archive
			o.Suite = suite
			a, err := distro.Fetch(ctx, o)
			if err != nil {
				return nil, fault.Wrap(fault.Unavailable, "the distribution's security archive can't be used", err)
			}
			open[release] = a
		}
		more, err := open[release].Find(ctx, p)
		if err != nil {
			return nil, err
		}
		found = append(found, more...)
		delete(missing, p.Ecosystem)
	}
	return found, nil
}

// systems are folders of the distribution's own files, whose examples and tests look like credentials.
func systems(name string) bool {
	top, _, _ := strings.Cut(name, "/")
	switch top {
	case "usr", "lib", "lib64", "bin", "sbin", "boot", "dev", "proc", "sys":
		return !strings.HasPrefix(name, "usr/src") && !strings.HasPrefix(name, "usr/local") && name != "usr"
	}
	return strings.HasPrefix(name, "var/lib/dpkg/") || strings.HasPrefix(name, "var/lib/apt/")
}

// maxPrograms bounds what is taken out of an image to look at symbols, in bytes.
const maxPrograms = 2 << 30

// symbols asks of each Go program that has findings which of the weak functions are in it.
func (s *scanner) symbols(ctx context.Context, db *advisory.DB, img *image.Image, found []finding.Finding) error {
	if len(s.Analyser) == 0 {
		return nil
	}
	var programs []string
	seen := map[string]bool{}
	for i := range found {
		if f := &found[i]; f.Package.Ecosystem == "Go" && !seen[f.Location.Path] {
			seen[f.Location.Path] = true
			programs = append(programs, f.Location.Path)
		}
	}
	if len(programs) == 0 {
		return nil
	}
	dir, err := os.MkdirTemp("", "ward-programs-")
	if err != nil {
		return fmt.Errorf("take programs out of the image: %w", err)
	}
	defer os.RemoveAll(dir)
	left := int64(maxPrograms)
	for _, p := range programs {
		n, err := takeOut(img.FS(), p, dir, left)
		if err != nil {
			return fmt.Errorf("take programs out of the image: %w", err)
		}
		left -= n
	}
	said, err := callgraph.Analyser{Argv: s.Analyser}.Binary(ctx, dir, db, programs)
	if err != nil {
		return err
	}
	said.Mark(found)
	s.out.Notes = append(s.out.Notes, said.Problems...)
	return nil
}

// takeOut copies a file of an image into a folder; nothing in it can be executed.
func takeOut(fsys fs.FS, name, dir string, limit int64) (int64, error) {
	in, err := fsys.Open(name)
	if err != nil {
		return 0, err
	}
	defer in.Close()
	to := filepath.Join(dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return 0, err
	}
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return 0, err
	}
	n, err := io.Copy(out, io.LimitReader(in, limit+1))
	if err == nil && n > limit {
		err = fmt.Errorf("the programs in it are larger than %d MiB", maxPrograms>>20)
	}
	return n, errors.Join(err, out.Close())
}
