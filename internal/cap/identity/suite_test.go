package identity

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// counted is the sentence that counts the modules of a table.
func counted(n map[string]int) string {
	return fmt.Sprintf("%d modules; yes %d, partly %d, no %d, skipped %d.", n["yes"]+n["partly"]+n["no"]+n["skipped"], n["yes"], n["partly"], n["no"], n["skipped"])
}

// TestTheSuitesTableIsTrue: docs/openid-tests.md names tests that exist, and counts right.
func TestTheSuitesTableIsTrue(t *testing.T) {
	b, err := os.ReadFile("../../../docs/openid-tests.md")
	if err != nil {
		t.Fatal(err)
	}
	text, seen, all := string(b), map[string]bool{}, map[string]int{}
	for i, section := range strings.Split(text, "\n## ") {
		n := map[string]int{}
		for line := range strings.Lines(section) {
			cell := strings.Split(strings.TrimSpace(line), " | ")
			if len(cell) < 3 || !strings.HasPrefix(cell[0], "| oidcc-") && !strings.HasPrefix(cell[0], "| fapi2-") {
				continue
			}
			n[cell[1]]++
			all[cell[1]]++
			if seen[cell[0]] {
				t.Errorf("%s is there twice", cell[0])
			}
			seen[cell[0]] = true
			named := named(line)
			if (cell[1] == "yes" || cell[1] == "partly") && len(named) == 0 {
				t.Errorf("%s is covered by nothing", cell[0])
			}
			for _, test := range named {
				if err := namesATest(filepath.Join("internal", test[1]), test[2]); err != nil {
					t.Errorf("%s: %v", cell[0], err)
				}
			}
		}
		if i > 0 && !strings.Contains(section, counted(n)) {
			t.Errorf("%.40s: it isn't %s", section, counted(n))
		}
	}
	if !strings.Contains(text, "In all "+counted(all)) || len(seen) < 100 {
		t.Errorf("in all it isn't %s", counted(all))
	}
}

// named is the tests that a line names, as file and test.
func named(line string) [][]string {
	return regexp.MustCompile("`([^`#]+)#([^`]+)`").FindAllStringSubmatch(line, -1)
}

// TestProbesExist: the README names tests that there are.
func TestProbesExist(t *testing.T) {
	b, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, probes, _ := strings.Cut(string(b), "\n## Probes\n")
	list := named(probes)
	if len(list) < 40 {
		t.Errorf("only %d tests", len(list))
	}
	for _, test := range list {
		if err := namesATest(filepath.Join("..", test[1]), test[2]); err != nil {
			t.Error(err)
		}
	}
}

// namesATest says what is wrong with a name like file_test.go and TestX/sub, or script.mjs and the name of a check.
func namesATest(file, name string) error {
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	source := string(b)
	if !strings.HasSuffix(file, ".go") {
		if !strings.Contains(source, fmt.Sprintf("check(%q", name)) {
			return fmt.Errorf("%s has no check %q", file, name)
		}
		return nil
	}
	test, sub, _ := strings.Cut(name, "/")
	_, body, found := strings.Cut(source, "\nfunc "+test+"(t *testing.T) {\n")
	body, _, ended := strings.Cut(body, "\n}\n")
	if !found || !ended || !strings.Contains(body, fmt.Sprintf("%q:", sub)) && sub != "" {
		return fmt.Errorf("%s has no %s", file, name)
	}
	return nil
}
