// Command judge measures the rules of package credential against those of gitleaks: how many of the texts that its rules must find
// are found, and in how many of those that they mustn't something is claimed. -dir names a copy of gitleaks' sources (v8.30.0); its
// generator is built there in a temporary copy, so that its rules print their examples instead of checking them.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing/fstest"

	"github.com/wardhq/ward/internal/cap/scan/internal/credential"
)

func main() {
	dir := flag.String("dir", "", "gitleaks' sources")
	verbose := flag.Bool("v", false, "show what differs")
	flag.Parse()
	if err := run(*dir, *verbose); err != nil {
		fmt.Fprintln(os.Stderr, "judge:", err)
		os.Exit(1)
	}
}

// example is a text of one of gitleaks' rules.
type example struct {
	Rule, Path, Text string
	True             bool
}

// printing stands in for gitleaks' utils/validate.go.
const printing = `package utils

import (
	"encoding/json"
	"os"

	"github.com/zricethezav/gitleaks/v8/config"
)

func show(rule, path, text string, is bool) {
	_ = json.NewEncoder(os.Stdout).Encode(map[string]any{"Rule": rule, "Path": path, "Text": text, "True": is})
}

func Validate(r config.Rule, is, not []string) *config.Rule {
	for _, t := range is { show(r.RuleID, "", t, true) }
	for _, t := range not { show(r.RuleID, "", t, false) }
	return &r
}

func ValidateWithPaths(r config.Rule, is, not map[string]string) *config.Rule {
	for p, t := range is { show(r.RuleID, p, t, true) }
	for p, t := range not { show(r.RuleID, p, t, false) }
	return &r
}
`

// examples builds and runs gitleaks' generator of rules.
func examples(dir string) ([]example, error) {
	scratch, err := os.MkdirTemp("", "judge")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(scratch)
	if err := os.CopyFS(scratch, os.DirFS(dir)); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(scratch, "cmd/generate/config/utils/validate.go"), []byte(printing), 0o600); err != nil {
		return nil, err
	}
	c := exec.Command("go", "run", "./cmd/generate/config", filepath.Join(scratch, "none"))
	c.Dir, c.Stderr = scratch, os.Stderr
	said, err := c.Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); err != nil && !(ok && exit.ExitCode() == 1) { // it can't find its template, afterwards
		return nil, err
	}
	var out []example
	for lines := bufio.NewScanner(strings.NewReader(string(said))); lines.Scan(); {
		var e example
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return nil, fmt.Errorf("read gitleaks' examples: %w", err)
		}
		out = append(out, e)
	}
	return out, nil
}

// score is what became of one rule's examples.
type score struct{ is, found, not, alarms int }

func run(dir string, verbose bool) error {
	all, err := examples(dir)
	if err != nil {
		return err
	}
	tree := fstest.MapFS{}
	for i, e := range all {
		name := fmt.Sprintf("%05d/%s", i, strings.TrimLeft(filepath.ToSlash(e.Path), "/."))
		if !fs.ValidPath(name) || e.Path == "" {
			name = fmt.Sprintf("%05d/a", i)
		}
		tree[name] = &fstest.MapFile{Data: []byte(e.Text)}
	}
	res, err := credential.Find(context.Background(), tree, credential.Options{})
	if err != nil {
		return err
	}
	for _, p := range res.Problems {
		return fmt.Errorf("%s: %s", p.Path, p.Reason)
	}
	claims := map[int][]string{}
	for _, f := range res.Findings {
		var i int
		if _, err := fmt.Sscanf(f.Location.Path, "%05d/", &i); err != nil {
			return err
		}
		claims[i] = append(claims[i], f.ID)
	}
	// A false alarm is one by a rule of ours that finds what theirs is about; what another finds there may well be a credential.
	ours := map[string]map[string]bool{}
	for i, e := range all {
		for _, id := range claims[i] {
			if e.True && ours[e.Rule] == nil {
				ours[e.Rule] = map[string]bool{}
			}
			if e.True {
				ours[e.Rule][id] = true
			}
		}
	}
	scores, total, guesses := map[string]*score{}, score{}, 0
	for i, e := range all {
		if scores[e.Rule] == nil {
			scores[e.Rule] = &score{}
		}
		hit := slices.ContainsFunc(claims[i], func(id string) bool { return e.True || ours[e.Rule][id] })
		for _, s := range []*score{scores[e.Rule], &total} {
			s.add(e.True, hit)
		}
		if hit && !slices.ContainsFunc(claims[i], func(id string) bool { return id != "secret-assigned" }) {
			guesses++
		}
		if verbose && e.True != hit {
			fmt.Printf("%s: %t, claimed %v: %.300q\n", e.Rule, e.True, claims[i], e.Text)
		}
	}
	whole, none := show(scores)
	fmt.Printf("rules %d: all found in %d, none in %d\nfound %d of %d, false alarms %d of %d; by a guess alone %d\n", len(scores), whole, none, total.found, total.is, total.alarms, total.not, guesses)
	return nil
}

func (s *score) add(is, hit bool) {
	n, m := &s.not, &s.alarms
	if is {
		n, m = &s.is, &s.found
	}
	*n++
	if hit {
		*m++
	}
}

// show prints the rules that differ, and counts those that are found in all of their examples, and in none.
func show(scores map[string]*score) (whole, none int) {
	var names []string
	for name, s := range scores {
		switch {
		case s.found == s.is && s.alarms == 0:
			whole++
			continue
		case s.found == 0 && s.is > 0:
			none++
		}
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		s := scores[name]
		fmt.Printf("%-45s found %d of %d, false alarms %d of %d\n", name, s.found, s.is, s.alarms, s.not)
	}
	return whole, none
}
