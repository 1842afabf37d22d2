package code

import (
	"context"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/wardhq/ward/internal/finding"
)

func TestEveryRuleFindsItsBadExamplesAndNotItsGoodOnes(t *testing.T) {
	rules, err := loadRules()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, r := range rules {
		t.Run(r.ID, func(t *testing.T) {
			if seen[r.ID] || !strings.HasPrefix(r.ID, "code-") || r.Title == "" || r.Reason == "" || !strings.HasPrefix(r.Reference, "CWE-") || r.Fix == "" || r.severity < finding.Low {
				t.Errorf("incomplete: %+v", r)
			}
			seen[r.ID] = true
			for _, k := range r.Keywords {
				if k != strings.ToLower(k) {
					t.Errorf("keyword %q", k)
				}
			}
			for _, x := range r.Bad {
				if got := lines(t, x, r.ID); !cmp.Equal(got, []int{1 + strings.Count(x.Text, "\n")}) {
					t.Errorf("%s: found on lines %v of %q", x.Name, got, x.Text)
				}
			}
			for _, x := range r.Good {
				if got := lines(t, x, r.ID); len(got) != 0 {
					t.Errorf("%s: found on lines %v of %q", x.Name, got, x.Text)
				}
			}
		})
	}
}

func lines(t *testing.T, x example, id string) []int {
	t.Helper()
	res, err := Find(context.Background(), fstest.MapFS{x.Name: {Data: []byte(x.Text)}}, Options{})
	if err != nil || len(res.Problems) > 0 {
		t.Fatal(err, res.Problems)
	}
	var out []int
	for _, f := range res.Findings {
		if f.ID == id {
			out = append(out, f.Location.Line)
		}
	}
	return out
}

func TestSplitTakesCommentsAndStringsOut(t *testing.T) {
	for name, c := range map[string]struct{ file, src, code, bare string }{
		"comment of a line":           {"a.go", "a // b\nc", "a     \nc", "a     \nc"},
		"comment of a block":          {"a.java", "a /* b\nc */ d", "a     \n     d", "a     \n     d"},
		"comment without an end":      {"a.java", "a /* b", "a     ", "a     "},
		"string with a comment in it": {"a.js", `f("// x") // y`, `f("// x")     `, `f("    ")     `},
		"escaped quote":               {"a.js", `f("\"//") // y`, `f("\"//")     `, `f("    ")     `},
		"string that doesn't end":     {"a.js", "it's\n// x\nb", "it's\n    \nb", "it' \n    \nb"},
		"code in a template":          {"a.ts", "f(`a ${b} c`)", "f(`a ${b} c`)", "f(`  ${b}  `)"},
		"no code in a plain string":   {"a.ts", "f('${b}')", "f('${b}')", "f('    ')"},
		"code in an f-string":         {"a.py", `f"{a} b" + "{c}"`, `f"{a} b" + "{c}"`, `f"{a}  " + "   "`},
		"docstring":                   {"a.py", "'''a # b\n'''\nc # d", "'''a # b\n'''\nc    ", "'''     \n'''\nc    "},
		"hash inside a word":          {"a.sh", "echo $# a#b # c", "echo $# a#b    ", "echo $# a#b    "},
		"address in a comment's form": {"a.yaml", "u: http://a # b", "u: http://a    ", "u: http://a    "},
	} {
		t.Run(name, func(t *testing.T) {
			code, bare := languageOf(c.file).split([]byte(c.src))
			if string(code) != c.code || string(bare) != c.bare {
				t.Errorf("code %q\nwant %q\nbare %q\nwant %q", code, c.code, bare, c.bare)
			}
		})
	}
}

func FuzzSplitKeepsLinesAndLength(f *testing.F) {
	f.Add("a.py", []byte("f'{a' '''x"))
	f.Add("a.ts", []byte("`${"))
	f.Add("a.php", []byte("\"$a /*"))
	f.Fuzz(func(t *testing.T, name string, src []byte) {
		l := languageOf(name)
		if l == nil {
			return
		}
		code, bare := l.split(src)
		for i := range src {
			if code[i] != src[i] && code[i] != ' ' || bare[i] != code[i] && bare[i] != ' ' || (src[i] == '\n') != (bare[i] == '\n') {
				t.Fatalf("byte %d of %q: %q, %q", i, src, code[i], bare[i])
			}
		}
		if len(code) != len(src) || len(bare) != len(src) {
			t.Fatal("another length")
		}
	})
}

func TestWhatIsNotSearchedIsSaid(t *testing.T) {
	bad := []byte("x = requests.get(u, verify=False)\n")
	res, err := Find(context.Background(), fstest.MapFS{
		"large.py":          {Data: []byte(strings.Repeat("#", maxFile+1))},
		"binary.py":         {Data: append([]byte{0}, bad...)},
		"many.py":           {Data: []byte(strings.Repeat(string(bad), maxFindings+1))},
		"vendor/a.py":       {Data: bad},
		"node_modules/a.py": {Data: bad},
		"skip/a.py":         {Data: bad},
		"test_a.py":         {Data: bad},
		"link.py":           {Data: bad, Mode: fs.ModeSymlink},
		"a.txt":             {Data: bad},
		"a.py":              {Data: bad},
	}, Options{Skip: func(name string) bool { return name == "skip" }})
	if err != nil {
		t.Fatal(err)
	}
	want := []finding.Problem{{Path: "binary.py", Reason: "isn't text"}, {Path: "large.py", Reason: "larger than 4 MiB"}, {Path: "many.py", Reason: "more than 1000 findings; the rest isn't listed"}}
	if d := cmp.Diff(want, res.Problems); d != "" {
		t.Error(d)
	}
	if len(res.Findings) != 1+maxFindings || res.Files != 3 {
		t.Errorf("%d findings in %d files", len(res.Findings), res.Files)
	}
}
