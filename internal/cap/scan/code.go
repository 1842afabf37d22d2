package scan

import (
	"context"
	"slices"

	"github.com/wardhq/ward/internal/cap/scan/internal/code"
)

// Analysers are the programs that Request.With may name.
func Analysers() []string { return code.Analysers() }

// code looks at the sources: by a few rules for every language, by gosec where it is there, and by the analysers that somebody asks for. What gosec
// can't judge is noted: the rules have looked at it.
func (s *scanner) code(ctx context.Context) (int, error) {
	res, err := code.Find(ctx, s.tree, code.Options{Skip: s.skip})
	if err != nil {
		return 0, err
	}
	s.out.Problems = append(s.out.Problems, res.Problems...)
	if !slices.Contains(s.With, "gosec") {
		byGosec, err := code.Go(ctx, s.Dir, code.Options{Skip: s.skip, Box: s.goBox})
		if err != nil {
			return 0, err
		}
		s.out.Notes = append(s.out.Notes, byGosec.Problems...)
		byGosec.Problems = nil
		res = code.Merge(res, byGosec)
	}
	s.out.Findings = append(s.out.Findings, res.Findings...)
	if len(s.With) == 0 {
		return res.Files, nil
	}
	others, err := code.External(ctx, s.Dir, s.With)
	if err != nil {
		return 0, err
	}
	s.out.Findings = append(s.out.Findings, others.Findings...)
	s.out.Problems = append(s.out.Problems, others.Problems...)
	return res.Files, nil
}
