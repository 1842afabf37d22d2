package dotenv

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wardhq/ward/internal/base/fault"
)

type pair struct {
	Name, Value string
	Line        int
}

func pairs(entries []Entry) []pair {
	var out []pair
	for _, e := range entries {
		out = append(out, pair{e.Name, string(e.Value.Reveal()), e.Line})
	}
	return out
}

func TestParse(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want []pair
	}{
		"nothing":                       {"", nil},
		"only comments":                 {"# a\n\n  # b", nil},
		"plain":                         {"A=1\nB=two words  \n", []pair{{"A", "1", 1}, {"B", "two words", 2}}},
		"export and spaces":             {"export A = 1\nexport\tB=2\nexported=3", []pair{{"A", "1", 1}, {"B", "2", 2}, {"exported", "3", 3}}},
		"a variable called export":      {"export=1", []pair{{"export", "1", 1}}},
		"empty":                         {"A=\nB=''\nC=\"\"\nD= # c", []pair{{"A", "", 1}, {"B", "", 2}, {"C", "", 3}, {"D", "", 4}}},
		"comments":                      {"A=1 # one\nB=a#b\nC='x' # y\nD=\"#\"#z", []pair{{"A", "1", 1}, {"B", "a#b", 2}, {"C", "x", 3}, {"D", "#", 4}}},
		"an equals sign in the value":   {"URL=postgres://u:p@h/d?a=b", []pair{{"URL", "postgres://u:p@h/d?a=b", 1}}},
		"a dollar that expands nothing": {"A=a$b$\nB=\"$x\\${y}\"", []pair{{"A", "a$b$", 1}, {"B", "$x${y}", 2}}},
		"single quotes are as they are": {`A='a\n${B}"'`, []pair{{"A", `a\n${B}"`, 1}}},
		"escapes":                       {`A="a\nb\tc\\d\"e\qf"`, []pair{{"A", "a\nb\tc\\d\"e\\qf", 1}}},
		"many lines":                    {"K=\"-----BEGIN\nabc\n-----END\"\nL='1\n2'\nM=3", []pair{{"K", "-----BEGIN\nabc\n-----END", 1}, {"L", "1\n2", 4}, {"M", "3", 6}}},
		"Windows":                       {"\ufeffA=1\r\nB=\"x\r\ny\"\r\n", []pair{{"A", "1", 1}, {"B", "x\ny", 2}}},
		"no newline at the end":         {"A=b", []pair{{"A", "b", 1}}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Parse(strings.NewReader(c.text))
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(c.want, pairs(got)); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestParseRefusesAndNamesTheLine(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"no equals sign":            {"A=1\nhunter2", "line 2: "},
		"a name of digits":          {"1A=hunter2", "line 1: "},
		"no name":                   {"\n=hunter2", "line 2: "},
		"a space in the name":       {"A B=hunter2", "line 1: "},
		"twice":                     {"A=1\nB=2\nA=hunter2", "line 3: A is there already, in line 1"},
		"an open double quote":      {"A=1\nB=\"hunter2\n\n", "line 2: a double quote"},
		"an open single quote":      {"A='hunter2", "line 1: a single quote"},
		"a backslash at the end":    {`A="hunter2\`, "line 1: a double quote"},
		"something after the quote": {"A=\"1\n2\" hunter2", "line 2: something"},
		"an expansion":              {"A=1\nB=hunter2${A}", "line 2: ${"},
		"a command":                 {"A=\"\n$(hunter2)\"", "line 2: ${"},
		"not text":                  {"A=hunter2\xff", "isn't text"},
		"a NUL":                     {"A=hunter2\x00", "isn't text"},
		"a value too long":          {"A=" + strings.Repeat("hunter2", MaxValue/7+1), "line 1: the value of A has more"},
		"a name too long":           {strings.Repeat("A", 256) + "=hunter2", "line 1: "},
		"a file too long":           {"#" + strings.Repeat("x", MaxFile), "at most"},
		"too many":                  {many(MaxEntries + 1), "line 10001: more than"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse(strings.NewReader(c.text))
			if fault.KindOf(err) != fault.Invalid || !strings.HasPrefix(fault.PublicText(err), c.want) && !strings.Contains(fault.PublicText(err), c.want) {
				t.Fatalf("got %v, want %q", err, c.want)
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the error shows what stands there: %v", err)
			}
		})
	}
	if got, err := Parse(strings.NewReader(many(MaxEntries))); err != nil || len(got) != MaxEntries {
		t.Errorf("as many as may be: %d, %v", len(got), err)
	}
}

func many(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString("V")
		for ; i > 0; i /= 10 {
			b.WriteByte(byte('0' + i%10))
		}
		b.WriteString("=x\n")
	}
	return strings.ReplaceAll(b.String(), "hunter2", "")
}

// FuzzParse: what is read can be written in single or double quotes and is read the same.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"A=1", "export B = \"x\\ny\" # c\n", "C='multi\nline'\r\nD=", "E=${F}", "#", "G=\"\\"} {
		f.Add(s)
	}
	escape := strings.NewReplacer(`\`, `\\`, `"`, `\"`, `$`, `\$`, "\r", `\r`)
	f.Fuzz(func(t *testing.T, text string) {
		got, err := Parse(strings.NewReader(text))
		if err != nil {
			return
		}
		var b strings.Builder
		for _, e := range got {
			b.WriteString(e.Name + `="` + escape.Replace(string(e.Value.Reveal())) + "\"\n")
		}
		again, err := Parse(strings.NewReader(b.String()))
		if err != nil {
			if b.Len() > MaxFile {
				return
			}
			t.Fatalf("%v\n%q", err, b.String())
		}
		for i := range got {
			got[i].Line, again[i].Line = 0, 0
		}
		if d := cmp.Diff(pairs(got), pairs(again)); d != "" {
			t.Error(d)
		}
	})
}
