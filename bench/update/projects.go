package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// project is one application with old parts, and what should come of it: written down before it was ever tried.
type project struct {
	name, why string
	files     map[string]string
	pin       map[string]any // npm: what an older lock file holds
	tool      string         // whose lock file it has: yarn or pnpm; "" for npm
	flags     []string
	// change maps parts to "from→to how", one proposal an element; the order doesn't matter.
	change []map[string]string
	// held maps parts to a piece of the reason.
	held   map[string]string
	unsure int               // tests that mustn't count
	touch  map[string]string // part → the files that its proposal changes
	notice string            // a piece of a notice that there must be
}

// compare says what differs; "" if nothing does.
func (p *project) compare(got *report) string {
	var out []string
	var want, have []string
	for _, m := range p.change {
		var one []string
		for _, name := range slices.Sorted(maps.Keys(m)) {
			one = append(one, name+" "+m[name])
		}
		want = append(want, strings.Join(one, ", "))
	}
	unsure, notices := 0, []string{}
	for i := range got.Proposals {
		g := &got.Proposals[i]
		have = append(have, strings.Join(g.changes(), ", "))
		unsure = max(unsure, g.Unsure)
		notices = append(notices, g.Notices...)
		for _, c := range g.Changes {
			if w, ok := p.touch[c.Name]; ok && w != strings.Join(g.files, " ") {
				out = append(out, fmt.Sprintf("    %s: its commit changes %v, not %s", c.Name, g.files, w))
			}
		}
	}
	for _, w := range want {
		if !slices.Contains(have, w) {
			out = append(out, "    not proposed: "+w)
		}
	}
	for _, h := range have {
		if !slices.Contains(want, h) {
			out = append(out, "    unexpected: "+h)
		}
	}
	for name, reason := range p.held {
		if !slices.ContainsFunc(got.Held, func(h held) bool { return h.Name == name && strings.Contains(h.Reason, reason) }) {
			out = append(out, fmt.Sprintf("    not held: %s, because %q", name, reason))
		}
	}
	for _, h := range got.Held {
		if _, ok := p.held[h.Name]; !ok {
			out = append(out, fmt.Sprintf("    held unexpectedly: %s: %.200q", h.Name, h.Reason))
		}
	}
	if unsure != p.unsure {
		out = append(out, fmt.Sprintf("    %d tests don't count, not %d", unsure, p.unsure))
	}
	if p.notice != "" && !strings.Contains(strings.Join(notices, "\n"), p.notice) {
		out = append(out, fmt.Sprintf("    no notice says %q", p.notice))
	}
	return strings.Join(out, "\n")
}

func projects() []project { return append(append(npmProjects(), otherProjects()...), goProjects()...) }
