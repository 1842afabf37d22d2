package choose

import (
	"slices"

	"github.com/wardhq/ward/internal/cap/update/internal/ordering"
	"github.com/wardhq/ward/internal/cap/update/internal/registry"
)

// lift finds newer versions of those who ask for a weak part, directly or through others, that lead to none which is weak.
type lift struct {
	*chooser
	part    *Part
	mends   []string // what must be cleared
	changes []Change
	asked   map[Ask]bool    // who was changed; false while it is being looked for, and where nothing helps
	known   map[string]bool // releases, as "name version", that are sound; true while it is being looked for
}

// maxUp bounds how far requests are followed.
const maxUp = 8

// up changes one that asks for the part so that it leads to a mended one: within what is asked for, or by changing who asks for it in turn. A direct part may
// be raised, but not to another major version.
func (l *lift) up(a Ask, depth int) bool {
	a.Range = ""
	if ok, met := l.asked[a]; met {
		return ok
	}
	l.asked[a] = false
	l.asked[a] = l.newer(a, depth)
	return l.asked[a]
}

func (l *lift) newer(a Ask, depth int) bool {
	at := l.find(func(x *Part) bool { return x.Name == a.Name && x.Version == a.Version })
	if at == nil || depth > maxUp || l.unfit(at) != "" {
		return false
	}
	fit, _ := candidates(at)
	for i := range fit {
		r := &fit[i]
		if at.Direct && jump(NPM, at.Version, r.Version) == Major || !at.Direct && !admitted(at, r.Version) || !l.sound(r, 0) {
			continue
		}
		if young, _ := l.old(at, r.Version, nil); young != "" {
			continue
		}
		how := Lock
		if at.Direct {
			how = Raise
		}
		ch := l.change(at, r.Version, how)
		ch.For, ch.Mends = l.part.Name, l.mends
		if ch.Risk == Patch {
			ch.Risk = Security
		}
		l.changes = append(l.changes, ch)
		return true
	}
	if at.Direct || len(at.Asks) == 0 {
		return false
	}
	return !slices.ContainsFunc(at.Asks, func(by Ask) bool { return !l.up(by, depth+1) })
}

// find is a part of the same lock file.
func (l *lift) find(is func(*Part) bool) *Part {
	i := slices.IndexFunc(l.parts, func(x Part) bool { return x.Ecosystem == NPM && x.Location.Path == l.part.Location.Path && is(&x) })
	if i < 0 {
		return nil
	}
	return &l.parts[i]
}

// admitted tells whether all who ask for a part would take a version of it.
func admitted(p *Part, version string) bool {
	return len(p.Asks) > 0 && !slices.ContainsFunc(p.Asks, func(a Ask) bool {
		r, err := ParseRange(a.Range)
		return err != nil || !r.Admits(version)
	})
}

// sound tells whether a release, as far as its requests are known, leads to no weak version of the part: the highest that is asked for is taken.
func (l *lift) sound(r *registry.Release, depth int) bool {
	for name, rng := range r.Requires {
		// Parts are in the order of their versions: the first one knows the most releases.
		x := l.find(func(x *Part) bool { return x.Name == name })
		if x == nil {
			continue
		}
		wants, err := ParseRange(rng)
		if err != nil || depth > maxUp {
			return false
		}
		var pick *registry.Release
		for i := range x.Releases {
			if !ordering.Pre(NPM, x.Releases[i].Version) && wants.Admits(x.Releases[i].Version) && (pick == nil || ordering.Compare(NPM, x.Releases[i].Version, pick.Version) > 0) {
				pick = &x.Releases[i]
			}
		}
		switch {
		case name != l.part.Name && pick == nil:
			// It asks for an older line than any in use: that one isn't known to ask for the part.
		case pick == nil, name == l.part.Name && !l.clears(pick.Version), !l.follow(name, pick, depth+1):
			return false
		}
	}
	return true
}

func (l *lift) follow(name string, r *registry.Release, depth int) bool {
	k := name + " " + r.Version
	if ok, met := l.known[k]; met {
		return ok
	}
	l.known[k] = true
	l.known[k] = l.sound(r, depth)
	return l.known[k]
}

func (l *lift) clears(v string) bool {
	does := mended(l.part.Findings, NPM, v)
	return !slices.ContainsFunc(l.mends, func(id string) bool { return !slices.Contains(does, id) })
}
