package update

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"golang.org/x/mod/modfile"

	"github.com/wardhq/ward/internal/cap/update/internal/npmlock"
	"github.com/wardhq/ward/internal/finding"
)

// maxNames is how many parts a notice names.
const maxNames = 12

// notices say what a proposal changes that nobody asked for: parts that weren't there, licences that weren't, what parts can do
// more than before, install scripts, the language's version. after are the parts of the changed tree.
func (u *run) notices(ctx context.Context, p *Proposal, after []finding.Package) ([]string, error) {
	var out []string
	had, licences := map[string]bool{}, map[string]bool{}
	for i := range u.parts {
		had[u.parts[i].Ecosystem+" "+u.parts[i].Name] = true
		for _, l := range u.parts[i].Licenses {
			licences[l] = true
		}
	}
	var fresh, licensed []string
	for i := range after {
		part := &after[i]
		if !had[part.Ecosystem+" "+part.Name] {
			fresh = append(fresh, plain(part.Name+" "+part.Version))
		}
		for _, l := range part.Licenses {
			if !licences[l] {
				licensed = append(licensed, plain(l+" of "+part.Name))
			}
		}
	}
	out = append(out, listed("New parts", fresh)...)
	out = append(out, listed("New licences", licensed)...)
	if n := u.tested[projectOf(&p.Changes[0])]; n > 0 {
		out = append(out, fmt.Sprintf("Only the tests of the %d packages that use the changed parts ran.", n))
	}
	can := u.grown(ctx)
	for _, ch := range p.Changes {
		grown, err := can(ch.Ecosystem, ch.Name, ch.From, ch.To)
		if err != nil {
			out = append(out, fmt.Sprintf("What %s %s can do more than before isn't known: %s.", plain(ch.Name), plain(ch.To), plain(err.Error())))
		}
		out = append(out, listed("What "+plain(ch.Name)+" "+plain(ch.To)+" can do more than before", grown)...)
	}
	for _, file := range sorted(p.files) {
		before, err := u.repo.File(ctx, u.base, file)
		if err != nil {
			return nil, err
		}
		switch path.Base(file) {
		case "go.mod":
			if was, is := goLine(before), goLine(p.files[file]); was != is {
				out = append(out, fmt.Sprintf("%s: the go line is %s, and was %s.", file, plain(is), plain(was)))
			}
		case "package-lock.json":
			is, err := npmlock.InstallScripts(p.files[file])
			if err != nil {
				return nil, err
			}
			was, err := npmlock.InstallScripts(before)
			if err != nil {
				was = nil // there was none, so all are new
			}
			is = slices.DeleteFunc(is, func(s string) bool { return slices.Contains(was, s) })
			out = append(out, listed("Install scripts", is)...)
		}
	}
	return out, nil
}

func sorted(files map[string][]byte) []string {
	var out []string
	for name := range files {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

// listed is "What: a, b, c." of names, none for none.
func listed(what string, names []string) []string {
	slices.Sort(names)
	names = slices.Compact(names)
	if len(names) == 0 {
		return nil
	}
	if n := len(names) - maxNames; n > 0 {
		names = append(names[:maxNames:maxNames], fmt.Sprintf("%d more", n))
	}
	return []string{what + ": " + strings.Join(names, ", ") + "."}
}

// goLine is the version of the language that a go.mod asks for, "" if it says none or can't be read.
func goLine(b []byte) string {
	f, err := modfile.ParseLax("go.mod", b, nil)
	if err != nil || f.Go == nil {
		return ""
	}
	return f.Go.Version
}
