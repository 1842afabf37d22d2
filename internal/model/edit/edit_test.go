package edit

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/model/wardfile"
)

const edited = `# shop
app: shop
services:
  a: # the face
    run: x
    calls: # who it needs
      # the catalogue
      b: GET /x # one
      c:
        # first
        - tcp # why
        - any
    # after calls
  b: {run: x, listen: http://:1, calls: {c: [tcp, any]}}
  c: {run: x, listen: tcp://:1}
  d:
    run: x
    listen: [http://:1,
      h2c://:2] # two
  e:
    run: x
    calls: {} # none
  f:
    run: x
    calls:
      b: ["GET /x", "GET /y"]
      c: ['any']
      d: [GET /x, "* /y"]

# end
`

func TestGrantEdits(t *testing.T) {
	for _, c := range []struct {
		name     string
		add      bool
		e        Grant
		old, new string // the part that changes
	}{
		{"a second grant makes a list", true, Grant{"a", "b", "GET /{id}"}, "b: GET /x #", `b: [GET /x, "GET /{id}"] #`},
		{"a list grows behind its last line", true, Grant{"a", "c", "GET /{id}"}, "        - any\n", "        - any\n        - GET /{id}\n"},
		{"an inline list grows", true, Grant{"b", "c", "* /x"}, "[tcp, any]", `[tcp, any, "* /x"]`},
		{"a list in quotes grows in quotes", true, Grant{"f", "b", "GET /z"}, `"GET /y"]`, `"GET /y", "GET /z"]`},
		{"a list in single quotes", true, Grant{"f", "c", "tcp"}, `['any']`, `['any', 'tcp']`},
		{"a list in single quotes, and what they can't hold", true, Grant{"f", "c", "GET /it's"}, `['any']`, `['any', GET /it's]`},
		{"a list of which one has to be in quotes", true, Grant{"f", "d", "GET /z"}, `"* /y"]`, `"* /y", GET /z]`},
		{"a new target", true, Grant{"a", "d:2", "POST /x"}, "        - any\n", "        - any\n      d:2: POST /x\n"},
		{"a new target inline", true, Grant{"b", "d", "POST /x"}, "any]}}", "any], d: POST /x}}"},
		{"a first call", true, Grant{"d", "c", "tcp"}, "h2c://:2] # two\n", "h2c://:2] # two\n    calls:\n      c: tcp\n"},
		{"a first call inline", true, Grant{"c", "d", "GET /{x}"}, "tcp://:1}", `tcp://:1, calls: {d: "GET /{x}"}}`},
		{"an empty calls", true, Grant{"e", "b", "GET /x"}, "calls: {} # none", "calls: {b: GET /x} # none"},
		{"a grant that is there", true, Grant{"a", "b", "GET /x"}, "", ""},
		{"one of a list", false, Grant{"a", "c", "tcp"}, "        - tcp # why\n", ""},
		{"last of a list", false, Grant{"a", "c", "any"}, "        - any\n", ""},
		{"the only one of a target", false, Grant{"a", "b", "GET /x"}, "      b: GET /x # one\n", ""},
		{"first of an inline list", false, Grant{"b", "c", "tcp"}, "[tcp, any]", "[any]"},
		{"last of an inline list", false, Grant{"b", "c", "any"}, "[tcp, any]", "[tcp]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := Remove
			if c.add {
				f = Add
			}
			got, err := f([]byte(edited), []Grant{c.e})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(strings.Replace(edited, c.old, c.new, 1), string(got)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestRemovingTheLastCallRemovesCalls(t *testing.T) {
	got, err := Remove([]byte(edited), []Grant{{"b", "c", "tcp"}, {"b", "c", "any"}, {"a", "c", "tcp"}, {"a", "c", "any"}, {"a", "b", "GET /x"}})
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(got), "calls: {c") || !strings.Contains(string(got), "# the catalogue") || !strings.Contains(string(got), "# after calls") {
		t.Errorf("%s", got)
	}
}

func TestGrantEditsRefuse(t *testing.T) {
	for _, e := range []Grant{{"x", "b", "any"}, {"a", "b", "get /"}, {"a", "B", "any"}, {"", "b", "any"}} {
		if out, err := Add([]byte(edited), []Grant{e}); err == nil {
			t.Errorf("%+v: %s", e, out)
		}
	}
	if out, err := Remove([]byte(edited), []Grant{{"a", "b", "GET /y"}}); err == nil {
		t.Errorf("%s", out)
	}
}

// grantSet is every grant of a tree, as "caller target grant".
func grantSet(t *testing.T, src []byte) map[string]bool {
	t.Helper()
	m, ps := wardfile.Parse("ward.yaml", bytes.NewReader(src))
	if ps.HasErrors() {
		t.Fatalf("%s\n%s", ps.Only(model.Error), src)
	}
	out := map[string]bool{}
	for _, s := range m.Services {
		for _, c := range s.Calls {
			target := c.Target
			if c.Port != 0 {
				target += fmt.Sprint(":", c.Port)
			}
			for _, g := range c.Grants {
				out[fmt.Sprint(s.Name, " ", target, " ", g)] = true
			}
		}
	}
	return out
}

func comments(src []byte) map[string]int {
	out := map[string]int{}
	for line := range bytes.Lines(src) {
		if i := bytes.IndexByte(line, '#'); i >= 0 && len(bytes.TrimSpace(line[:i])) == 0 {
			out[string(bytes.TrimSpace(line))]++
		}
	}
	return out
}

// Random adds and removes, checked against a set: exactly these grants more or
// less, and no comment of its own line lost.
func TestRandomGrantEdits(t *testing.T) {
	words := []string{"any", "GET /x", "GET,POST /{id}", "* /**", "ws /live/{a}", "POST /a,b", "GET /it's"}
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 1))
		src := []byte(strings.ReplaceAll(edited, "tcp", "h2c"))
		src = []byte(strings.ReplaceAll(string(src), "- h2c #", "- GET /1 #"))
		src = []byte(strings.ReplaceAll(string(src), "[h2c, any]", "[GET /1, any]"))
		src = []byte(strings.Replace(string(src), "run: x\n    calls", "run: x\n    listen: http://:1\n    calls", 1))
		if seed%2 == 0 {
			var err error
			if src, err = wardfile.Format(src); err != nil {
				t.Fatal(err)
			}
		}
		want, notes := grantSet(t, src), comments(src)
		for range 40 {
			var err error
			if r.IntN(5) < 3 {
				e := Grant{string("abcd"[r.IntN(4)]), string("abcd"[r.IntN(4)]), words[r.IntN(len(words))]}
				if e.Caller == e.Target {
					continue
				}
				src, err = Add(src, []Grant{e})
				want[e.Caller+" "+e.Target+" "+e.Grant] = true
			} else if len(want) > 0 {
				key := slices.Sorted(maps.Keys(want))[r.IntN(len(want))]
				f := strings.SplitN(key, " ", 3)
				src, err = Remove(src, []Grant{{f[0], f[1], f[2]}})
				delete(want, key)
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, grantSet(t, src)); diff != "" {
				t.Fatalf("seed %d (-want +got)\n%s\n%s", seed, diff, src)
			}
			if diff := cmp.Diff(notes, comments(src)); diff != "" {
				t.Fatalf("seed %d: comments (-want +got)\n%s\n%s", seed, diff, src)
			}
		}
	}
}
