package update

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
)

// titleOf is one line: what changes.
func titleOf(changes []Change) string {
	if len(changes) == 1 {
		ch := changes[0]
		return fmt.Sprintf("update %s from %s to %s", plain(ch.Name), plain(ch.From), plain(ch.To))
	}
	var names []string
	for _, ch := range changes {
		if n := plain(ch.Name); !slices.Contains(names, n) {
			names = append(names, n)
		}
	}
	if len(names) > 3 {
		names = append(names[:3], fmt.Sprintf("%d more", len(names)-3))
	}
	return "update " + strings.Join(names, ", ")
}

// bodyOf says what, why and with which evidence, in Markdown that reads as plain text, too.
func bodyOf(p *Proposal) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Risk: %s.\n\n", p.Risk)
	for _, ch := range p.Changes {
		fmt.Fprintf(&b, "- `%s` %s → %s (%s)", plain(ch.Name), plain(ch.From), plain(ch.To), ch.Risk)
		if len(ch.Mends) > 0 {
			fmt.Fprintf(&b, ", mends %s", plain(strings.Join(ch.Mends, ", ")))
		}
		if ch.For != "" && ch.For != ch.Name {
			fmt.Fprintf(&b, ", for the sake of %s", plain(ch.For))
		}
		if !ch.Since.IsZero() {
			word := "first seen"
			if ch.Claimed {
				word = "published, as its publisher says,"
			}
			fmt.Fprintf(&b, "; %s %s", word, ch.Since.UTC().Format(time.DateOnly))
		}
		if ch.Waived {
			b.WriteString("; the waiting time was skipped: an independent advisory names this version, and it can do no more than the one before")
		}
		b.WriteByte('\n')
	}
	b.WriteString("\nEvidence, from a sandbox with nothing but the registry in reach:\n\n")
	switch {
	case p.Tests == 0:
		b.WriteString("- It builds. No test passed before the change, so none shows that it still works.\n")
	default:
		fmt.Fprintf(&b, "- It builds, and all %d tests that passed before still pass.\n", p.Tests)
	}
	if p.Unsure > 0 {
		fmt.Fprintf(&b, "- %d tests failed or flapped before the change already, and say nothing.\n", p.Unsure)
	}
	fmt.Fprintf(&b, "- Findings: %d cleared, %d new.\n", counted(p.Cleared), counted(p.New))
	for _, f := range p.New {
		fmt.Fprintf(&b, "  - new: %s in %s %s: %s\n", plain(f.ID), plain(f.Package.Name), plain(f.Package.Version), plain(f.Title))
	}
	for _, n := range p.Notices {
		fmt.Fprintf(&b, "- %s\n", n)
	}
	return b.String()
}

// plain is a registry's text that can't end a line, steer a terminal, open Markdown, call somebody, or close an issue by its number.
func plain(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case strings.ContainsRune("`<>[]", r) || unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp):
			return -1
		case r == '#':
			return '＃'
		}
		return r
	}, s)
	if !strings.HasPrefix(s, "@") { // a scope of npm
		s = strings.ReplaceAll(s, "@", "＠")
	}
	if len(s) > 300 {
		s = strings.ToValidUTF8(s[:300], "") + "…"
	}
	return s
}
