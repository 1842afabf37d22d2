package toml

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestReadKnowsTablesAndTheirLines(t *testing.T) {
	got, err := Read([]byte("a.b = 'x' # c\n[t]\nn = 1\nl = [\"y\", 'z',\n]\n[[u.\"v\"]]\nm = { k = \"\"\"\nlong\"\"\" }\n"))
	want := []Table{
		{Line: 1, Values: map[string]any{"a.b": "x"}}, {"t", 2, map[string]any{"n": Other("1"), "l": []any{"y", "z"}}}, {"u.v", 6, map[string]any{"m": map[string]any{"k": "long"}}},
	}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Error(err, diff)
	}
	got, err = Read([]byte(`a = "\u0061\"\t\U0001F600"` + "\nb = '\\u0061'\n\"\\u0063\" = \"\\e\"\n"))
	want = []Table{{Line: 1, Values: map[string]any{"a": "a\"\t😀", "b": `\u0061`, "c": `\e`}}}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Error(err, diff)
	}
	for _, broken := range []string{"a", "a =", "[a", "a = [1", "a = {b = 1", "a = 'x", "a = 1 b = 2\n= 3", "\xff", "a = " + strings.Repeat("[", 100) + strings.Repeat("]", 100)} {
		if _, err := Read([]byte(broken)); err == nil {
			t.Errorf("%q was taken", broken)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte("[[package]]\nname = \"a\"\nversion = '1'\nx = [{a=1}]\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		tables, _ := Read(data)
		for _, table := range tables {
			if table.Line < 1 || table.Values == nil {
				t.Errorf("%+v", table)
			}
		}
	})
}
