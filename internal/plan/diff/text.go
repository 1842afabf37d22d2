package diff

import (
	"fmt"
	"strings"

	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/plan/words"
)

// Text says the changes for people; the file names are what lines are given with.
func (c *Changes) Text(oldFile, newFile string) string {
	if c.Empty() {
		return "no difference in what anything may do\n"
	}
	var b strings.Builder
	rights(&b, "gains", c.Gains, newFile, "had")
	rights(&b, "loses", c.Losses, oldFile, "keeps")
	rights(&b, "for longer", c.Longer, newFile, "")
	rights(&b, "for a shorter time than", c.Shorter, oldFile, "")
	itemLines(&b, "services", c.Services)
	itemLines(&b, "externals", c.Externals)
	fieldLines(&b, "application", c.App)
	fieldLines(&b, "users", c.Users)
	itemLines(&b, "clients", c.Clients)
	itemLines(&b, "providers", c.Providers)
	itemLines(&b, "issuers", c.Issuers)
	itemLines(&b, "secrets", c.Secrets)
	itemLines(&b, "keys", c.Keys)
	itemLines(&b, "databases", c.Databases)
	return b.String()
}

func rights(b *strings.Builder, title string, rs []Right, file, overlap string) {
	if len(rs) == 0 {
		return
	}
	b.WriteString(title + "\n")
	var rows [][]string
	for i := range rs {
		r := &rs[i]
		caller := words.Name(r.Caller)
		if r.Caller == plan.Outside {
			caller = r.To + " outside"
		}
		grant := r.Grant.String()
		if r.Until != "" {
			grant += " (observed until " + r.Until + ")"
		}
		note := ""
		if len(r.Overlap) > 0 {
			note = overlap + " " + strings.Join(r.Overlap, "; ")
		}
		rows = append(rows, []string{caller, "-> " + r.Target + " " + words.Ports(r.Ports), grant, fmt.Sprintf("%s:%d", file, r.Line), note})
	}
	b.WriteString(words.Columns("  ", rows))
}

func itemLines(b *strings.Builder, title string, list []Item) {
	if len(list) == 0 {
		return
	}
	b.WriteString(title + "\n")
	for _, it := range list {
		fmt.Fprintf(b, "  %s %s\n", it.Name, it.Change)
		b.WriteString(words.Columns("    ", fieldRows(it.Fields)))
	}
}

func fieldLines(b *strings.Builder, title string, fs []Field) {
	if len(fs) > 0 {
		b.WriteString(title + "\n")
		b.WriteString(words.Columns("  ", fieldRows(fs)))
	}
}

func fieldRows(fs []Field) [][]string {
	var rows [][]string
	for _, f := range fs {
		rows = append(rows, []string{f.Name, orNone(f.Old) + " -> " + orNone(f.New)})
	}
	return rows
}

func orNone(s string) string {
	if s == "" {
		return "(none)"
	}
	return s
}
