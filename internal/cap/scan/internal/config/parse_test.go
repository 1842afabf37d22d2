package config

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestShellScriptsAreSplitIntoCommands(t *testing.T) {
	for _, tt := range []struct{ name, script, want string }{
		{"lists and pipes", "a 1 && b; c | d || e & f", "a b c d<c e f"},
		{"quotes don't end a command", `a "x | y && z" 'p; q' \| r`, "a"},
		{"substitutions feed", `sh -c "$(curl -s x)"`, "curl $() sh<curl"},
		{"process substitution feeds", "bash <(curl -s x)", "curl bash<curl"},
		{"a variable feeds eval, and nothing else", "X=$(curl -s x)\neval $X\nbash b $X", "curl eval<curl bash"},
		{"a variable counts once", "X=$(curl -s x; cat y)\neval $X ${X} $X", "curl cat eval<curl,cat"},
		{"backticks feed", "eval `wget -O- x`", "wget eval<wget"},
		{"wrappers and assignments go", "A=1 sudo -E env B=2 /usr/bin/apt-get install x", "apt-get"},
		{"keywords go", "if a; then b; else c; fi", "a b c"},
		{"nested shells are read", `bash -euxc 'curl x | sh'`, "curl sh<curl bash"},
		{"comments are left out", "a # b | c\nd", "a d"},
		{"continuation lines", "a \\\n b; c", "a c"},
		{"brackets group", "(a; b) | c", "a b c"},
		{"a quote without an end", `a "b; c`, "a"},
		{"a substitution without an end", `a $(b; c`, "b c a<b,c"},
		{"arrays are read as commands", "x=(a b); c", "a c"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			commands, cut := commandsOf(tt.script)
			var got []string
			for _, c := range commands {
				s := c.program
				if len(c.feeds) > 0 {
					s += "<" + strings.Join(c.feeds, ",")
				}
				got = append(got, s)
			}
			if cut || strings.Join(got, " ") != tt.want {
				t.Errorf("%q: %v (cut %v), want %s", tt.script, got, cut, tt.want)
			}
		})
	}
}

// lines are the instructions of a Dockerfile with their lines.
func lines(f *dockerfile) []string {
	var out []string
	for _, in := range f.instructions {
		out = append(out, fmt.Sprintf("%d %s %s%s", in.line, in.name, in.text, in.body))
	}
	return out
}

func TestDockerfilesAreReadAsDockerReadsThem(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		want       []string
	}{
		{"continuation, with comments and blank lines between", "FROM a\nRUN x \\\n# c\n\n  && y\nCMD z", []string{"1 FROM a", "2 RUN x   && y", "6 CMD z"}},
		{"another escape", "# escape=`\nFROM a\nRUN x `\n y\\\nCMD z", []string{"2 FROM a", "3 RUN x  y\\", "5 CMD z"}},
		{"escape after another comment is none", "# hello\n# escape=`\nFROM a\nRUN x `\nCMD z", []string{"3 FROM a", "4 RUN x `", "5 CMD z"}},
		{"here-documents", "FROM a\nRUN <<A cat <<-'B'\n1\nA\n\t2\n\tB\nCMD z", []string{"1 FROM a", "2 RUN <<A cat <<-'B'\n1\n2", "7 CMD z"}},
		{"no here-document in a here-string", "FROM a\nRUN cat <<<X\nCMD z", []string{"1 FROM a", "2 RUN cat <<<X", "3 CMD z"}},
		{"lower case, CRLF and a BOM", "\ufefffrom a\r\nrun x \\\r\n y\r\n", []string{"1 FROM a", "2 RUN x  y"}},
		{"flags and ONBUILD", "FROM --platform=x a\nONBUILD COPY --chown=b --from=c d e", []string{"1 FROM a", "2 COPY d e"}},
		{"two dashes end the flags", "FROM a\nCOPY -- --from=b c", []string{"1 FROM a", "2 COPY --from=b c"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f, err := parseDockerfile([]byte(tt.text))
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tt.want, lines(f)); d != "" {
				t.Error(d)
			}
		})
	}
	for _, text := range []string{"", "RUN x", "FROM a\nRUN <<E\nx", "FROM a\n" + strings.Repeat("RUN x\n", maxInstructions+1)} {
		if _, err := parseDockerfile([]byte(text)); err == nil {
			t.Errorf("%.20q is read", text)
		}
	}
}

func TestArgumentsAreReplacedInImages(t *testing.T) {
	values := map[string]string{"A": "x", "E": ""}
	for text, want := range map[string]string{
		"$A": "x true", "${A}:1": "x:1 true", "${B:-y}": "y true", "${E:-y}": "y true", "${A:+z}": "z true", "${B+z}": " true",
		"$B": "$B false", "${B": "${B false", "a$": "a$ true", "${A/x/y}": "${A/x/y} false",
	} {
		got, known := expand(text, values)
		if got := fmt.Sprint(got, " ", known); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}

func TestYAMLIsReadWithAliasesAndMerges(t *testing.T) {
	r := &yamlReader{yes: true}
	docs, err := parseYAML([]byte("a: &a {x: 1, y: yes}\nb: {<<: *a, x: 2}\nc: [*a, null]\nd: \"yes\"\ne:\n---\nlast"), r)
	if err != nil {
		t.Fatal(err)
	}
	want := []any{map[string]any{
		"a": map[string]any{"x": int64(1), "y": true}, "b": map[string]any{"x": int64(2), "y": true},
		"c": []any{map[string]any{"x": int64(1), "y": true}, ""}, "d": "yes",
	}, "last"}
	for i := range want {
		if d := cmp.Diff(want[i], docs[i].value); d != "" {
			t.Error(d)
		}
	}
	if got := lookup(docs[0].root, []any{"b", "y"}).Line; got != 1 {
		t.Errorf("a merged field stands on line %d", got)
	}
}

func TestHostileYAMLIsRefused(t *testing.T) {
	bomb := "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n"
	for i := 1; i < 9; i++ {
		bomb += fmt.Sprintf("a%d: &a%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d,", i-1), 10), ","))
	}
	for name, tt := range map[string]struct{ text, want string }{
		"alias bomb":      {bomb, "values, counting what aliases repeat"},
		"an endless knot": {"a: &a [*a]\n", ""},
		"deep":            {strings.Repeat("[", 1000) + strings.Repeat("]", 1000), "nested deeper"},
		"very deep":       {strings.Repeat("[", 1<<20), ""},
		"deep blocks":     {strings.Repeat("- ", 20_000) + "x", ""},
		"merge knot":      {"a: &a\n  <<: *a\n", ""},
		"documents":       {strings.Repeat("---\na\n", maxDocuments+1), "documents"},
		"not UTF-8":       {"a: \xff\xfe", ""},
		"a template":      {"a: {{ .Values.x }}\n  b: c", ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := parseYAML([]byte(tt.text), &yamlReader{})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want %q", err, tt.want)
			}
		})
	}
}

func FuzzDockerfile(f *testing.F) {
	f.Add([]byte("# escape=`\nFROM a AS b\nRUN --mount=x <<E\ny\nE\nONBUILD ENV a=b c=\"d e\"\nCOPY --from=b [\"x\",\"y\"]"))
	f.Fuzz(func(t *testing.T, src []byte) {
		n := strings.Count(string(src), "\n") + 1
		v := &view{path: "Dockerfile"}
		v.read(docker, src)
		for _, s := range v.subjects {
			if s.line < 1 || s.line > n {
				t.Fatalf("%s %s on line %d of %d", s.scope, s.name, s.line, n)
			}
		}
	})
}

func FuzzYAML(f *testing.F) {
	f.Add([]byte("on: push\njobs: {a: {steps: [{run: 'echo ${{ x }}'}]}}\n---\napiVersion: v1\nkind: PodList\nitems: [{apiVersion: v1, kind: Pod, spec: {containers: [{name: &a x, command: [sh, -c, *a]}]}}]"))
	f.Add([]byte("services: &s {a: {<<: [*b], image: c}}\ninclude: x\nscript: >\n  a\n"))
	f.Fuzz(func(t *testing.T, src []byte) {
		for _, k := range []kind{compose, kubernetes, actions, gitlab} {
			v := &view{path: "x"}
			v.read(k, src)
			for i := range v.subjects {
				if l := v.subjects[i].at(nil); l < 0 {
					t.Fatalf("%s on line %d", v.subjects[i].name, l)
				}
			}
		}
	})
}

func FuzzShell(f *testing.F) {
	f.Add("a=$(b `c` \"$(d)\") sh -c 'e | f' <(g) # h\n(i; j) && x=(k)")
	f.Fuzz(func(t *testing.T, script string) {
		commands, _ := commandsOf(script)
		for _, c := range commands {
			if c.offset < 0 || c.offset > len(script) || len(c.words) == 0 {
				t.Fatalf("%+v", c)
			}
		}
	})
}
