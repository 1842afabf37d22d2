package update

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/wardhq/ward/internal/cap/update/internal/choose"
	"github.com/wardhq/ward/internal/finding"
)

// youngError says which parts a change would bring in that nobody chose, and that haven't been there for long enough.
type youngError struct{ parts []string }

func (e youngError) Error() string {
	return "it brings in what hasn't been there for long enough, or nobody knows since when: " + strings.Join(e.parts, ", ")
}

// older finds what of a group brings in nothing young, by halves, and holds the rest. What hangs together isn't torn apart.
func (u *run) older(ctx context.Context, t trier, g choose.Group, young youngError) (*Proposal, error) {
	sake := func(ch *Change) string { return cmp.Or(ch.For, ch.Name) }
	var names []string
	for i := range g.Changes {
		if n := sake(&g.Changes[i]); !slices.Contains(names, n) {
			names = append(names, n)
		}
	}
	if len(names) == 1 {
		u.hold(g.Changes, young.Error())
		return nil, nil
	}
	first := names[:len(names)/2]
	var halves [2]choose.Group
	for i := range g.Changes {
		h := &halves[1]
		if slices.Contains(first, sake(&g.Changes[i])) {
			h = &halves[0]
		}
		h.Changes = append(h.Changes, g.Changes[i])
	}
	var passed [2]*Proposal
	for i := range halves {
		var err error
		halves[i].Risk, halves[i].Security = g.Risk, g.Security
		if passed[i], err = u.group(ctx, t, halves[i]); err != nil {
			return nil, err
		}
	}
	if passed[0] == nil || passed[1] == nil {
		return cmp.Or(passed[0], passed[1]), nil
	}
	both := append(slices.Clone(passed[0].Changes), passed[1].Changes...)
	if len(both) >= len(g.Changes) { // only together do they bring it in
		u.hold(passed[1].Changes, young.Error())
		return passed[0], nil
	}
	return u.group(ctx, t, choose.Group{Risk: g.Risk, Security: g.Security, Changes: both})
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
		if known[key] || !choose.Updated(p.Ecosystem, p.Location.Path) || p.Ecosystem == choose.Go && (p.Name == "stdlib" || p.Name == "toolchain") {
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
