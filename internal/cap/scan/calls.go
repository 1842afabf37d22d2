package scan

import (
	"context"
	"io"
	"io/fs"
	"path"
	"slices"

	"github.com/wardhq/ward/internal/cap/scan/internal/advisory"
	"github.com/wardhq/ward/internal/cap/scan/internal/callgraph"
)

// AnalyseCalls is the process that Request.Analyser starts.
func AnalyseCalls(ctx context.Context, args []string, out, errs io.Writer) error {
	return callgraph.Main(ctx, args, out, errs)
}

// calls asks of each Go module that has findings which of the weak functions its code calls. What can't be told is noted, and stays unknown.
func (s *scanner) calls(ctx context.Context, db *advisory.DB) error {
	if err := s.imports(ctx); err != nil || len(s.Analyser) == 0 {
		return err
	}
	var modules []string
	seen := map[string]bool{}
	for i := range s.out.Findings {
		f := &s.out.Findings[i]
		dir, file := path.Split(f.Location.Path)
		if dir = path.Clean(dir); f.Package != nil && f.Package.Ecosystem == "Go" && file == "go.mod" && !seen[dir] {
			seen[dir] = true
			modules = append(modules, dir)
		}
	}
	if len(modules) == 0 {
		return nil
	}
	if s.Progress != nil {
		s.Progress("what the code calls")
	}
	box, err := s.goBox(ctx)
	if err != nil {
		return err
	}
	said, err := callgraph.Analyser{Argv: s.Analyser, Box: box}.Go(ctx, s.Dir, db, modules)
	if err != nil {
		return err
	}
	said.Mark(s.out.Findings)
	s.out.Notes = append(s.out.Notes, said.Problems...)
	return nil
}

// imports marks findings in npm packages that nothing in the tree names.
func (s *scanner) imports(ctx context.Context) error {
	var locks []string
	for i := range s.out.Findings {
		f := &s.out.Findings[i]
		if f.Package != nil && f.Package.Ecosystem == "npm" && path.Base(f.Location.Path) == "package-lock.json" && !slices.Contains(locks, f.Location.Path) && fs.ValidPath(f.Location.Path) {
			locks = append(locks, f.Location.Path)
		}
	}
	if len(locks) == 0 {
		return nil
	}
	unused, err := callgraph.Imports(ctx, s.tree, locks)
	if err != nil {
		return err
	}
	unused.Mark(s.out.Findings)
	return nil
}
