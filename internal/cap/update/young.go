package update

import (
	"context"
	"fmt"
	"strings"

	"github.com/wardhq/ward/internal/cap/update/internal/choose"
	"github.com/wardhq/ward/internal/finding"
)

// youngError says which parts a change would bring in that nobody chose, and that haven't been there for long enough.
type youngError struct{ parts []string }

func (e youngError) Error() string {
	return "it brings in what hasn't been there for long enough, or nobody knows since when: " + strings.Join(e.parts, ", ")
}

// young tells of parts of the changed tree that the commit's hasn't and nobody chose: the package manager did, and takes the newest that is
// asked for. The waiting time holds for them, too. Its error is a youngError, or the context's.
func (u *run) young(ctx context.Context, chosen []Change, after []finding.Package) error {
	type version struct{ ecosystem, name, version string }
	of := func(ecosystem, name, v string) version { return version{ecosystem, name, strings.TrimPrefix(v, "v")} }
	known := map[version]bool{}
	for i := range u.parts {
		known[of(u.parts[i].Ecosystem, u.parts[i].Name, u.parts[i].Version)] = true
	}
	for _, ch := range chosen {
		known[of(ch.Ecosystem, ch.Name, ch.To)] = true
	}
	var fresh []choose.Part
	for i := range after {
		p := &after[i]
		key := of(p.Ecosystem, p.Name, p.Version)
		if known[key] || p.Ecosystem != choose.Go && p.Ecosystem != choose.NPM || p.Ecosystem == choose.Go && (p.Name == "stdlib" || p.Name == "toolchain") {
			continue
		}
		known[key] = true
		fresh = append(fresh, choose.Part{Package: *p})
	}
	if err := u.releases(ctx, fresh); err != nil {
		if ctx.Err() != nil {
			return err
		}
		u.say(err.Error()) // nobody knows since when they are there
	}
	var e youngError
	for i := range fresh {
		p, old := &fresh[i], false
		for v, since := range p.Since {
			old = old || of(p.Ecosystem, p.Name, v) == of(p.Ecosystem, p.Name, p.Version) && since.Old(u.Clock.Now(), u.wait())
		}
		if !old {
			e.parts = append(e.parts, plain(fmt.Sprintf("%s %s", p.Name, p.Version)))
		}
	}
	if len(e.parts) > 0 {
		return e
	}
	return nil
}
