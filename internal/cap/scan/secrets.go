package scan

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/wardhq/ward/internal/cap/scan/internal/credential"
	"github.com/wardhq/ward/internal/finding"
	"github.com/wardhq/ward/internal/leak"
)

// secrets looks for what must not lie in a repository: credentials by their form, and secrets that Ward itself keeps, by their fingerprints.
func (s *scanner) secrets(ctx context.Context) (int, error) {
	res, err := credential.Find(ctx, s.tree, credential.Options{Skip: s.skip})
	if err != nil {
		return 0, err
	}
	s.out.Findings = append(s.out.Findings, res.Findings...)
	s.out.Problems = append(s.out.Problems, res.Problems...)
	past, err := s.history(ctx, res)
	if err != nil || s.Known == nil {
		return res.Files + past, err
	}
	return res.Files + past, s.known(ctx)
}

// history looks for credentials in what git keeps; what is in the tree is there already.
func (s *scanner) history(ctx context.Context, tree credential.Result) (int, error) {
	if _, err := os.Stat(filepath.Join(s.Dir, ".git")); err != nil || s.NoHistory {
		return 0, nil //nolint:nilerr // the folder is no repository
	}
	res, err := credential.History(ctx, s.Dir, credential.Options{Skip: s.skip, Tree: &tree})
	if err != nil {
		return 0, err
	}
	s.out.Findings = append(s.out.Findings, res.Findings...)
	s.out.Problems = append(s.out.Problems, res.Problems...)
	return res.Files, nil
}

// known finds secrets that Ward keeps, in the tree and in its history.
func (s *scanner) known(ctx context.Context) error {
	seen := map[string]bool{}
	take := func(p leak.Place) {
		if p.Secret == "" || p.Commit == "" && s.skip(p.Path) { // without a name it is a card's number, of which test data is full
			return
		}
		f := knownFinding(p)
		if key := f.Fingerprint(); !seen[key] { // once a file, not once a line
			seen[key] = true
			s.out.Findings = append(s.out.Findings, f)
		}
	}
	skipped, err := s.Known.Tree(ctx, s.Dir, take)
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(s.Dir, ".git")); err == nil && !s.NoHistory {
		more, err := s.Known.History(ctx, s.Dir, take)
		if err != nil {
			return err
		}
		skipped += more
	}
	if skipped > 0 {
		s.problem(".", fmt.Sprintf("%d files or objects of git are too long, or can't be read, to look for known secrets in them", skipped))
	}
	return nil
}

func knownFinding(p leak.Place) finding.Finding {
	f := finding.Finding{
		ID: "ward-known-secret", Kind: finding.Secret, Tool: "ward", Severity: finding.Critical, Called: finding.Called,
		Title: fmt.Sprintf("the value of secret %s stands here (%s)", p.Secret, p.Form), Detail: "Ward keeps this very value for the application that runs: it isn't an example (CWE-798).",
		Fix:      fmt.Sprintf("Set a new value ('ward secrets generate %s' or 'ward secrets set %s'); removing the line doesn't take it back.", p.Secret, p.Secret),
		Location: finding.Location{Path: p.Path, Line: p.Line, Commit: p.Commit},
	}
	if p.Canary {
		f.ID, f.Title = "ward-canary", fmt.Sprintf("the canary %s stands here: somebody has taken it", p.Secret)
	}
	return f
}
