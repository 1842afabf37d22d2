package choose

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/wardhq/ward/internal/cap/update/internal/ordering"
	"github.com/wardhq/ward/internal/cap/update/internal/registry"
	"github.com/wardhq/ward/internal/finding"
)

// refresh brings a part up to date that has no finding.
func (c *chooser) refresh(p *Part) {
	fit, _ := candidates(p)
	young := ""
	for _, r := range slices.Backward(fit) {
		risk := jump(p.Ecosystem, p.Version, r.Version)
		if risk == Major && !c.Major {
			continue
		}
		if why, _ := c.old(p, r.Version, nil); why != "" {
			young = cmp.Or(young, r.Version+": "+why)
			continue
		}
		c.changes = append(c.changes, c.change(p, r.Version, Raise))
		return
	}
	if young != "" {
		c.hold(p, "", young, nil)
	}
}

func (c *chooser) change(p *Part, to string, how How) Change {
	since := p.Since[to]
	return Change{
		Ecosystem: p.Ecosystem, Name: p.Name, From: p.Version, To: to, Path: p.Location.Path, Direct: p.Direct, Dev: p.Dev,
		How: how, Risk: jump(p.Ecosystem, p.Version, to), Since: since.Time, Claimed: since.Claimed,
	}
}

// mend chooses the lowest version that clears most findings: without a leap to another major version, if any can.
func (c *chooser) mend(p *Part, open []finding.Finding) {
	fit, why := candidates(p)
	var best *registry.Release
	var cleared []string
	waived, reason := false, ""
	for _, leap := range []bool{false, true} {
		for i := range fit {
			r := &fit[i]
			if (jump(p.Ecosystem, p.Version, r.Version) == Major) != leap {
				continue
			}
			does := mended(open, p.Ecosystem, r.Version)
			if len(does) <= len(cleared) {
				continue
			}
			young, skipped := c.old(p, r.Version, open)
			if young != "" {
				reason = cmp.Or(reason, r.Version+" would clear it, but "+young)
				continue
			}
			best, cleared, waived = r, does, skipped
		}
		if best != nil {
			break
		}
	}
	if best == nil {
		c.hold(p, "", c.hopeless(p.Ecosystem, open, why, reason), ids(open))
		return
	}
	if rest := slices.DeleteFunc(ids(open), func(id string) bool { return slices.Contains(cleared, id) }); len(rest) > 0 {
		c.hold(p, best.Version, cmp.Or(reason, "no version of the same major clears the rest"), rest)
	}
	ch := c.change(p, best.Version, Raise)
	ch.Mends, ch.Waived = cleared, waived
	if ch.Risk == Patch {
		ch.Risk = Security
	}
	c.place(p, ch)
}

func mended(open []finding.Finding, ecosystem, v string) []string {
	var out []string
	for i := range open {
		if f := &open[i]; mends(f, ecosystem, v) && !slices.Contains(out, f.ID) {
			out = append(out, f.ID)
		}
	}
	return out
}

// hopeless says why nothing clears the findings.
func (c *chooser) hopeless(ecosystem string, open []finding.Finding, why map[string]string, reason string) string {
	if reason != "" {
		return reason
	}
	for _, f := range open {
		for _, v := range f.Fixed {
			for x, no := range why {
				if ordering.Same(ecosystem, v, x) {
					return x + " would clear it, but " + no
				}
			}
		}
		if f.Unsure != "" {
			return "it isn't sure whether this holds: " + f.Unsure
		}
		if len(f.Fixed) > 0 {
			return "no release that may be taken clears it; " + strings.Join(f.Fixed, " or ") + " would"
		}
	}
	return "no version that clears it is known"
}

// place decides how a change is made. For a part of npm that others ask for: within what they ask, else by raising who
// asks, and only then against them.
func (c *chooser) place(p *Part, ch Change) {
	if p.Ecosystem == Crates || p.Ecosystem == Packagist {
		ch.How = Lock // cargo and composer refuse what manifests don't ask for
	}
	if p.Ecosystem != NPM || p.Direct {
		c.changes = append(c.changes, ch)
		return
	}
	var against []Ask
	for _, a := range p.Asks {
		r, err := ParseRange(a.Range)
		if err != nil {
			c.hold(p, ch.To, fmt.Sprintf("%s asks for %q, which is no range of versions", cmp.Or(a.Name, "the project"), a.Range), ch.Mends)
			return
		}
		if !r.Admits(ch.To) {
			against = append(against, a)
		}
	}
	switch {
	case len(p.Asks) == 0:
		c.hold(p, ch.To, "it isn't known who asks for it", ch.Mends)
		return
	case len(against) == 0:
		ch.How = Lock
		c.changes = append(c.changes, ch)
		return
	}
	l := lift{chooser: c, part: p, mends: ch.Mends, asked: map[Ask]bool{}, known: map[string]bool{}}
	for _, a := range against {
		if !l.up(a, 0) {
			ch.How = Override
			c.changes = append(c.changes, ch)
			return
		}
	}
	c.changes = append(c.changes, l.changes...)
	if len(against) < len(p.Asks) {
		ch.How = Lock
		c.changes = append(c.changes, ch)
	}
}

// merge makes one change of those of the same part: the highest version has been chosen for the one with the most needs.
func merge(all []Change) []Change {
	var out []Change
	for _, ch := range all {
		i := slices.IndexFunc(out, func(o Change) bool {
			return o.Ecosystem == ch.Ecosystem && o.Name == ch.Name && o.From == ch.From && o.Path == ch.Path
		})
		if i < 0 {
			out = append(out, ch)
			continue
		}
		high, low := out[i], ch
		if ordering.Compare(ch.Ecosystem, low.To, high.To) > 0 {
			high, low = low, high
		}
		for _, id := range low.Mends {
			if !slices.Contains(high.Mends, id) {
				high.Mends = append(high.Mends, id)
			}
		}
		if len(high.Mends) > 0 && high.Risk == Patch {
			high.Risk = Security
		}
		out[i] = high
	}
	return out
}

// groups puts together what is of one risk and one manifest; each leap to another major version stands alone. What hangs together
// (a parent that is raised for another part's sake) is never torn apart: it takes the higher risk of the two.
func (c *chooser) groups() []Group {
	byName := map[string]Risk{}
	for _, ch := range c.changes {
		byName[ch.Path+"\x00"+cmp.Or(ch.For, ch.Name)] = max(byName[ch.Path+"\x00"+cmp.Or(ch.For, ch.Name)], ch.Risk)
	}
	type key struct {
		path, alone string
		risk        Risk
		security    bool
	}
	at := map[key]int{}
	var out []Group
	for _, ch := range c.changes {
		risk := max(ch.Risk, byName[ch.Path+"\x00"+cmp.Or(ch.For, ch.Name)])
		k := key{path: ch.Path, risk: risk, security: len(ch.Mends) > 0}
		if risk == Major {
			k.alone = cmp.Or(ch.For, ch.Name)
		}
		i, ok := at[k]
		if !ok {
			i, at[k] = len(out), len(out)
			out = append(out, Group{Risk: risk, Security: k.security})
		}
		out[i].Changes = append(out[i].Changes, ch)
	}
	slices.SortStableFunc(out, func(a, b Group) int {
		if a.Security != b.Security {
			if a.Security {
				return -1
			}
			return 1
		}
		return cmp.Compare(a.Risk, b.Risk)
	})
	return out
}

// limit keeps the first n groups.
func (c *Choice) limit(n int) {
	if len(c.Groups) <= n {
		return
	}
	for _, g := range c.Groups[n:] {
		for _, ch := range g.Changes {
			c.Held = append(c.Held, Held{
				Ecosystem: ch.Ecosystem, Name: ch.Name, Version: ch.From, To: ch.To, Path: ch.Path, Findings: ch.Mends,
				Reason: "enough proposals are open already (update: limit)",
			})
		}
	}
	c.Groups = c.Groups[:n]
}
