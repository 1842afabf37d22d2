package main

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// fixture is a file of others, with the places where their rule must speak and those where it mustn't.
type fixture struct {
	rule, file string // rule is kind/name, as in the map
	src        []byte
	bad, good  int
}

// layout reads the fixtures of a repository.
type layout func(root string) ([]fixture, error)

func layoutOf(name string) (layout, error) {
	switch name {
	case "trivy":
		return trivy, nil
	case "checkov":
		return checkov, nil
	case "semgrep":
		return semgrep, nil
	}
	return nil, fmt.Errorf("no layout is called %q; there are kics, trivy, checkov and semgrep", name)
}

// trivy reads the examples of aquasecurity/trivy-checks: checks/KIND/NAME.yaml holds lists of bad and good texts.
func trivy(root string) ([]fixture, error) {
	var out []fixture
	for kind, folder := range map[string]string{"dockerfile": "docker", "kubernetes": "kubernetes"} {
		files, err := filepath.Glob(filepath.Join(root, "checks", folder, "*.yaml"))
		if err != nil {
			return nil, err
		}
		for _, file := range files {
			src, err := os.ReadFile(file)
			if err != nil {
				return nil, err
			}
			var examples map[string]struct{ Bad, Good []string }
			if err := yaml.Unmarshal(src, &examples); err != nil {
				return nil, fmt.Errorf("%s: %w", file, err)
			}
			rule := kind + "/" + strings.TrimSuffix(filepath.Base(file), ".yaml")
			for i, text := range examples[kind].Bad {
				out = append(out, fixture{rule: rule, file: fmt.Sprintf("bad %d", i), src: []byte(text), bad: 1})
			}
			for i, text := range examples[kind].Good {
				out = append(out, fixture{rule: rule, file: fmt.Sprintf("good %d", i), src: []byte(text), good: 1})
			}
		}
	}
	return out, nil
}

// checkov reads the fixtures of bridgecrewio/checkov whose names say what they are: tests/KIND/checks/example_NAME/…FAILED… or failure….
func checkov(root string) ([]fixture, error) {
	bad, good := regexp.MustCompile(`(?i)fail`), regexp.MustCompile(`(?i)pass|success`)
	var out []fixture
	for _, kind := range []string{"dockerfile", "kubernetes"} {
		base := filepath.Join(root, "tests", kind, "checks")
		err := fs.WalkDir(os.DirFS(base), ".", func(name string, d fs.DirEntry, err error) error {
			example, ok := strings.CutPrefix(strings.Split(name, "/")[0], "example_")
			if err != nil || d.IsDir() || !ok || bad.MatchString(name) == good.MatchString(name) {
				return err
			}
			src, err := os.ReadFile(filepath.Join(base, name))
			f := fixture{rule: kind + "/" + example, file: name, src: src, good: 1}
			if bad.MatchString(name) {
				f.bad, f.good = 1, 0
			}
			out = append(out, f)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// semgrep reads the fixtures of semgrep/semgrep-rules: a comment names the rule that speaks of the line that follows, or that mustn't.
func semgrep(root string) ([]fixture, error) {
	var out []fixture
	for kind, folder := range map[string]string{"dockerfile": "dockerfile", "docker-compose": "yaml/docker-compose", "github-actions": "yaml/github-actions", "kubernetes": "yaml/kubernetes"} {
		base := filepath.Join(root, filepath.FromSlash(folder))
		err := fs.WalkDir(os.DirFS(base), ".", func(name string, d fs.DirEntry, err error) error {
			stem, ending, _ := strings.Cut(path.Base(name), ".")
			if err != nil || d.IsDir() || !slices.Contains([]string{"test.yaml", "test.yml", "dockerfile"}, ending) {
				return err
			}
			src, err := os.ReadFile(filepath.Join(base, name))
			count := func(word string) int {
				return len(regexp.MustCompile(`(?m)^\s*#\s*`+word+`:[^\n]*\b`+regexp.QuoteMeta(stem)+`\s*$`).FindAll(src, -1))
			}
			out = append(out, fixture{rule: kind + "/" + stem, file: name, src: src, bad: count("ruleid"), good: count("ok")})
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// count is the score of the rules of one kind.
type count struct{ rules, bad, found, good, alarms int }

// others judges by fixtures of others than KICS. Verbose lists the differences.
func others(read layout, dir, claims string, verbose bool) error {
	src, err := os.ReadFile(claims)
	if err != nil {
		return err
	}
	var m map[string][]string
	if err := yaml.Unmarshal(src, &m); err != nil {
		return fmt.Errorf("read %s: %w", claims, err)
	}
	all, err := read(dir)
	if err != nil {
		return err
	}
	scores, rules := map[string]*count{}, map[string]bool{}
	for _, f := range all {
		if m[f.rule] == nil {
			continue
		}
		kind := strings.Split(f.rule, "/")[0]
		s := scores[kind]
		if s == nil {
			s = &count{}
			scores[kind] = s
		}
		if !rules[f.rule] {
			rules[f.rule] = true
			s.rules++
		}
		if err := s.judge(f, m[f.rule], verbose); err != nil {
			return err
		}
	}
	for rule := range m {
		if !rules[rule] {
			return fmt.Errorf("the map names %s, which has no fixtures", rule)
		}
	}
	printCounts(scores)
	return nil
}

func (s *count) judge(f fixture, rules []string, verbose bool) error {
	lines, problems, err := findIn(kindOf(f.rule), f.src, rules)
	if err != nil {
		return err
	}
	slices.Sort(lines)
	got := len(slices.Compact(lines))
	if f.bad+f.good == 1 { // a file is bad or good as a whole
		got = min(got, 1)
	}
	s.bad += f.bad
	s.good += f.good
	s.found += min(got, f.bad)
	s.alarms += max(0, got-f.bad)
	if verbose && got != f.bad {
		fmt.Printf("%s %s: want %d, got lines %v %v\n", f.rule, f.file, f.bad, lines, problems)
	}
	return nil
}

// kindOf is KICS's word for a kind.
func kindOf(rule string) string {
	kind := strings.Split(rule, "/")[0]
	switch kind {
	case "docker-compose":
		return "dockerCompose"
	case "github-actions":
		return "cicd"
	case "kubernetes":
		return "k8s"
	}
	return kind
}

func printCounts(scores map[string]*count) {
	var kinds []string
	for k := range scores {
		kinds = append(kinds, k)
	}
	slices.Sort(kinds)
	fmt.Println("| kind | rules | bad | found | good | false alarms |\n|---|---|---|---|---|---|")
	for _, k := range kinds {
		s := scores[k]
		fmt.Printf("| %s | %d | %d | %d (%.1f %%) | %d | %d (%.1f %%) |\n", k, s.rules, s.bad, s.found, 100*float64(s.found)/float64(max(s.bad, 1)), s.good, s.alarms, 100*float64(s.alarms)/float64(max(s.good, 1)))
	}
}
