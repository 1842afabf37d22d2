// Command judge measures the rules of package config against fixtures of others: how many of the findings that their authors expect are
// found, and in how many of the files or places that they hold for good something is claimed. Fixtures aren't in this repository: -dir names
// a copy of theirs, -layout whose they are (for Checkmarx KICS it is assets/queries, else the repository's root), -map the claims.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing/fstest"

	"go.yaml.in/yaml/v3"

	"github.com/wardhq/ward/internal/cap/scan/internal/config"
)

func main() {
	dir := flag.String("dir", "", "their fixtures")
	whose := flag.String("layout", "kics", "whose they are: kics, trivy, checkov or semgrep")
	claims := flag.String("map", "", "which rules claim which of theirs; testdata has one for each layout")
	verbose := flag.Bool("v", false, "list every difference")
	flag.Parse()
	if *claims == "" {
		*claims = "internal/cap/scan/internal/config/testdata/" + *whose + "-map.yaml"
	}
	if err := run(*whose, *dir, *claims, *verbose); err != nil {
		fmt.Fprintln(os.Stderr, "judge:", err)
		os.Exit(1)
	}
}

// tally is the score of one kind.
type tally struct {
	queries, claimed             int
	expected, found, sameLine    int // findings
	good, alarmed, bad, badFound int // files
}

func run(whose, dir, claims string, verbose bool) error {
	if whose == "kics" {
		return kics(dir, claims, verbose)
	}
	read, err := layoutOf(whose)
	if err != nil {
		return err
	}
	return others(read, dir, claims, verbose)
}

func kics(dir, claims string, verbose bool) error {
	src, err := os.ReadFile(claims)
	if err != nil {
		return err
	}
	var m map[string][]string
	if err := yaml.Unmarshal(src, &m); err != nil {
		return fmt.Errorf("read %s: %w", claims, err)
	}
	scores := map[string]*tally{}
	for _, kind := range []string{"dockerfile", "dockerCompose", "k8s", "cicd/github"} {
		t := &tally{}
		scores[kind] = t
		dirs, err := filepath.Glob(filepath.Join(dir, kind, "*", "metadata.json"))
		if err != nil || len(dirs) == 0 {
			return fmt.Errorf("no queries of %s in %s", kind, dir)
		}
		t.queries = len(dirs)
		for _, d := range dirs {
			name := path.Join(kind, filepath.Base(filepath.Dir(d)))
			if m[name] == nil {
				continue
			}
			t.claimed++
			if err := t.query(name, filepath.Join(filepath.Dir(d), "test"), m[name], verbose); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			delete(m, name)
		}
	}
	for name := range m {
		return fmt.Errorf("the map names %s, which isn't there", name)
	}
	fmt.Println("| kind | queries claimed | expected findings | found | on the same line | bad files | found | good files | false alarms |\n|---|---|---|---|---|---|---|---|---|")
	sum := &tally{}
	for _, kind := range []string{"dockerfile", "dockerCompose", "k8s", "cicd/github"} {
		scores[kind].print(kind)
		sum.add(scores[kind])
	}
	sum.print("all")
	return nil
}

func (t *tally) add(o *tally) {
	t.queries += o.queries
	t.claimed += o.claimed
	t.expected += o.expected
	t.found += o.found
	t.sameLine += o.sameLine
	t.good += o.good
	t.alarmed += o.alarmed
	t.bad += o.bad
	t.badFound += o.badFound
}

func (t *tally) print(kind string) {
	percent := func(a, b int) string { return fmt.Sprintf("%d (%.1f %%)", a, 100*float64(a)/float64(max(b, 1))) }
	fmt.Printf("| %s | %d of %d | %d | %s | %s | %d | %s | %d | %s |\n", kind, t.claimed, t.queries, t.expected, percent(t.found, t.expected), percent(t.sameLine, t.expected), t.bad, percent(t.badFound, t.bad), t.good, percent(t.alarmed, t.good))
}

// expectation is an entry of positive_expected_result.json.
type expectation struct {
	Line     int    `json:"line"`
	FileName string `json:"fileName"`
	Filename string `json:"filename"`
}

// query judges the fixtures of one query.
func (t *tally) query(name, dir string, rules []string, verbose bool) error {
	want, err := expectations(dir)
	if err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name() == "positive_expected_result.json" || e.IsDir() {
			continue
		}
		src, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return err
		}
		lines, problems, err := findIn(strings.Split(name, "/")[0], src, rules)
		if err != nil {
			return err
		}
		if verbose && len(problems) > 0 {
			fmt.Printf("problem %s %s: %v\n", name, e.Name(), problems)
		}
		if strings.HasPrefix(e.Name(), "negative") {
			t.good++
			if len(lines) > 0 {
				t.alarmed++
				if verbose {
					fmt.Printf("false alarm %s %s: lines %v\n", name, e.Name(), lines)
				}
			}
			continue
		}
		t.positive(name, e.Name(), want[e.Name()], lines, verbose)
	}
	return nil
}

func (t *tally) positive(query, file string, want, got []int, verbose bool) {
	if len(want) == 0 {
		return
	}
	t.bad++
	if len(got) > 0 {
		t.badFound++
	}
	t.expected += len(want)
	t.found += min(len(want), len(got))
	rest := slices.Clone(got)
	for _, w := range want {
		if i := slices.Index(rest, w); i >= 0 {
			t.sameLine++
			rest = slices.Delete(rest, i, i+1)
		}
	}
	if verbose && len(got) < len(want) {
		fmt.Printf("missed %s %s: want lines %v, got %v\n", query, file, want, got)
	}
}

func expectations(dir string) (map[string][]int, error) {
	src, err := os.ReadFile(filepath.Join(dir, "positive_expected_result.json"))
	if err != nil {
		return nil, err
	}
	var list []expectation
	if err := json.Unmarshal(src, &list); err != nil {
		return nil, err
	}
	only, err := filepath.Glob(filepath.Join(dir, "positive.*"))
	if err != nil {
		return nil, err
	}
	out := map[string][]int{}
	for _, e := range list {
		file := e.FileName + e.Filename
		if file == "" && len(only) == 1 {
			file = filepath.Base(only[0])
		}
		if !slices.Contains(out[file], e.Line) { // theirs tells two causes on one line apart
			out[file] = append(out[file], e.Line)
		}
	}
	return out, nil
}

// findIn is where our rules point in a file, under a name that tells its kind.
func findIn(kind string, src []byte, rules []string) ([]int, []config.Problem, error) {
	name := "manifest.yaml" // JSON is YAML
	switch kind {
	case "dockerfile":
		name = "Dockerfile"
	case "dockerCompose":
		name = "compose.yaml"
	case "cicd":
		name = ".github/workflows/ci.yaml"
	}
	res, err := config.Find(context.Background(), fstest.MapFS{name: {Data: src}}, config.Options{})
	if err != nil {
		return nil, nil, err
	}
	var lines []int
	for _, f := range res.Findings {
		if slices.Contains(rules, f.ID) {
			lines = append(lines, f.Location.Line)
		}
	}
	return lines, res.Problems, nil
}
