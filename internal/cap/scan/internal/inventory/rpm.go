package inventory

import (
	"github.com/wardhq/ward/internal/cap/scan/internal/inventory/rpmdb"
	"github.com/wardhq/ward/internal/finding"
)

// rpmDatabase reads rpm's database, in any of its forms.
func rpmDatabase(w *walk, name string) error {
	w.out.Files = append(w.out.Files, name)
	data, err := w.load(name, w.lim.binary)
	if err != nil {
		return err
	}
	if w.os.id == "" {
		w.problem(name, 0, noRelease)
	}
	return rpmdb.Read(data, func(r rpmdb.Package, err error) error {
		if err != nil {
			w.problem(name, 0, "read a package of rpm's database: "+err.Error())
			return nil
		}
		if r.Name == "gpg-pubkey" {
			return nil // a key that rpm keeps as if it were a package
		}
		p := finding.Package{Ecosystem: w.os.ecosystem(), Name: r.Name, Version: r.Version, Source: r.Source, SourceVersion: r.SourceVersion, Requires: r.Requires}
		if r.License != "" {
			p.Licenses = []string{r.License}
		}
		w.addAt(name, 0, p, present(map[string]string{"arch": r.Arch, "distro": w.os.distro()}))
		return w.ctx.Err()
	})
}
