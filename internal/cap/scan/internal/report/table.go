package report

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/wardhq/ward/internal/cap/scan/internal/rank"
	"github.com/wardhq/ward/internal/finding"
)

// maxIDs is how many names of further findings a row shows, maxNotes how many notes a table.
const (
	maxIDs   = 6
	maxNotes = 10
)

// Table writes the report for people: the most dangerous first. Suppressed findings are only counted, unless all is set.
func Table(w io.Writer, r *Report, color, all bool) error {
	b := bufio.NewWriter(w)
	for _, g := range groups(r.Findings, all) {
		row(b, g, color)
	}
	for _, p := range r.Problems {
		fmt.Fprintf(b, "could not look at %s: %s\n", plain(p.Path), plain(p.Reason))
	}
	for i, n := range r.Notes {
		if i == maxNotes && !all {
			fmt.Fprintf(b, "and %d more notes (--all, or another format, shows them)\n", len(r.Notes)-i)
			break
		}
		fmt.Fprintf(b, "note on %s: %s\n", plain(n.Path), plain(n.Reason))
	}
	if len(r.Problems)+len(r.Notes) > 0 {
		b.WriteByte('\n')
	}
	b.WriteString(r.summary() + "\n")
	fmt.Fprintf(b, "looked at %s\n", r.looked())
	if r.FailsBy != "" {
		b.WriteString(r.FailsBy + "\n")
	}
	if err := b.Flush(); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}

// groups puts the findings of one part at one place together, where its most dangerous one stands: they are mended together. What is
// suppressed stands alone, or not at all.
func groups(findings []finding.Finding, all bool) [][]*finding.Finding {
	type key struct{ ecosystem, name, version, path string }
	var out [][]*finding.Finding
	at := map[key]int{}
	for i := range findings {
		f := &findings[i]
		if f.Suppressed != nil {
			if all {
				out = append(out, []*finding.Finding{f})
			}
			continue
		}
		if p := f.Package; p != nil {
			k := key{p.Ecosystem, p.Name, p.Version, f.Location.Path}
			if j, ok := at[k]; ok {
				out[j] = append(out[j], f)
				continue
			}
			at[k] = len(out)
		}
		out = append(out, []*finding.Finding{f})
	}
	return out
}

// row writes a group: its most dangerous finding, and the names of the others.
func row(b *bufio.Writer, group []*finding.Finding, color bool) {
	f := group[0]
	rating := rank.Rating(f.Priority)
	head := fmt.Sprintf("%3d %-8s", f.Priority, rating)
	if f.Suppressed != nil {
		head = "  – " + fmt.Sprintf("%-8s", rating)
	}
	if color {
		head = "\x1b[" + map[string]string{"critical": "1;31", "high": "31", "medium": "33", "low": "36", "none": "2"}[rating] + "m" + head + "\x1b[0m"
	}
	cells := []string{plain(f.ID)}
	for _, s := range []string{what(f), f.Service, where(f.Location)} {
		if s != "" {
			cells = append(cells, plain(s))
		}
	}
	fmt.Fprintf(b, "%s  %s\n", head, strings.Join(cells, "  "))
	line := func(s string) {
		if s != "" {
			fmt.Fprintf(b, "              %s\n", plain(s))
		}
	}
	title := f.Title
	if f.Tool != "ward" {
		title += " [" + f.Tool + "]"
	}
	line(title)
	if len(group) > 1 {
		var ids []string
		for _, o := range group[1:] {
			ids = append(ids, o.ID)
		}
		if n := len(ids) - maxIDs; n > 0 {
			ids = append(ids[:maxIDs], fmt.Sprintf("%d more", n))
		}
		line("and " + strings.Join(ids, ", "))
	}
	line(f.Why)
	if f.Unsure != "" {
		line("not sure: " + f.Unsure)
	}
	if f.Fix != "" {
		line("fix: " + f.Fix)
	}
	if f.Suppressed != nil {
		line(reason(f.Suppressed))
	}
	b.WriteByte('\n')
}

// looked is "1,091 parts, 12 files of configuration …; advisories of 2026-11-20".
func (r *Report) looked() string {
	var parts []string
	for _, s := range r.Looked {
		parts = append(parts, fmt.Sprintf("%s (%d files, %s)", s.Name, s.Files, time.Duration(s.Millis*float64(time.Millisecond)).Round(time.Millisecond)))
	}
	out := fmt.Sprintf("%s; %d parts", strings.Join(parts, ", "), r.Parts)
	if len(parts) == 0 {
		out = "nothing"
	}
	if r.Data != nil {
		age := int(r.At.Sub(r.Data.Newest).Hours() / 24)
		out += fmt.Sprintf("; advisories of %s (%d days old)", r.Data.Newest.Format(time.DateOnly), max(age, 0))
	}
	return out
}
