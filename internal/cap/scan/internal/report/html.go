package report

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"

	"github.com/wardhq/ward/internal/cap/scan/internal/rank"
	"github.com/wardhq/ward/internal/finding"
)

//go:embed page.html
var page string

// HTML writes one page that needs nothing else: no script, no font, no picture from anywhere.
func HTML(w io.Writer, r *Report) error {
	t, err := template.New("page").Funcs(template.FuncMap{
		"rating": rank.Rating, "where": where, "what": func(f finding.Finding) string { return what(&f) }, "reason": reason, "plain": plain,
		"link": func(s string) bool { return len(s) > 8 && s[:8] == "https://" },
	}).Parse(page)
	if err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	by, suppressed := r.Count()
	err = t.Execute(w, map[string]any{"R": r, "By": by, "Suppressed": suppressed, "Summary": r.summary(), "Looked": r.looked()})
	if err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}
