package source

import (
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

func TestParseRefuses(t *testing.T) {
	for name, src := range map[string]string{
		"NUL": "a: \x00", "bad UTF-8": "a: \xff", "lone carriage return": "a: 1\rb: 2", "directive": "%YAML 1.1\n---\na: 1\n",
		"next line": "a: 1\u0085b: 2", "alias": "a: &x 1\nb: *x\n", "tag": "a: !!int 1", "list as key": "[a]: 1\n",
		"deep": strings.Repeat("[", 40) + strings.Repeat("]", 40), "long": "a: " + strings.Repeat("x", MaxScalar+1), "large": strings.Repeat("#", MaxBytes+1),
		"second document": "a: 1\n---\nb: 1\n",
	} {
		if d, err := Parse([]byte(src), Options{}); err == nil || d == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

func TestParseAccepts(t *testing.T) {
	for name, src := range map[string]string{"byte order mark": "\xef\xbb\xbfa: 1\n", "CRLF": "a: 1\r\nb: 2\r\n", "document marks": "---\na: 1\n...\n", "empty": "", "comment": "# a\n"} {
		if _, err := Parse([]byte(src), Options{}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzParse: no panic, and every scalar's span holds its text.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"a: 'b''c' # d\n", "a: |\n  x\n", "- \"\\n\"\n-\n", "{a: b, c}", "a: b\n  c\n", "? a\n: b"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		d, perr := Parse(src, Options{})
		if perr != nil || d.Root == nil {
			return
		}
		l, err := d.Layout()
		if err != nil {
			return
		}
		var walk func(n *yaml.Node)
		walk = func(n *yaml.Node) {
			start, end := l.Span(n)
			if start > end || end > len(d.Bytes()) {
				t.Fatalf("span %d to %d of %d", start, end, len(d.Bytes()))
			}
			text := string(d.Bytes()[start:end])
			if n.Kind == yaml.ScalarNode && n.Style == 0 && !strings.Contains(text, "\n") && text != n.Value {
				t.Fatalf("%q stands for %q in %q", text, n.Value, d.Bytes())
			}
			for _, c := range n.Content {
				walk(c)
			}
		}
		walk(d.Root)
	})
}
