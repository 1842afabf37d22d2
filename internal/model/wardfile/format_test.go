package wardfile

import (
	"bytes"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/wardhq/ward/internal/model"
)

func readFile(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

type formatCase struct{ name, in, want string }

func commentCases() []formatCase {
	return []formatCase{
		{"keys of a service in one order", `
app: a
services:
  s:
    listen: http://:80
    run: x
`, `
app: a

services:
  s:
    run: x
    listen: http://:80
`},
		{"comments stay with their lines", `
# top

# of app
app:   a   # the app
services: # all
   # before s
   s:
      # before listen
      listen:   http://:80 # why
      # before run
      run: x
      # after the last key
   # before t
   t: {run: x}
   # end of services
# end of file
`, `
# top

# of app
app: a # the app

services: # all
  # before s
  s:
    # before run
    run: x
    # before listen
    listen: http://:80 # why
    # after the last key
  # before t
  t: {run: x}
  # end of services
# end of file
`},
		{"short lists inline, lists with comments in lines", `
app: a
services:
  s:
    run:
    - x
    - "--port"
    - "80"
    calls:
      b:
      - GET /a # why
      - GET /{id}
      c: ['GET /x', "GET /{id}"]
`, `
app: a

services:
  s:
    run: [x, --port, "80"]
    calls:
      b:
        - GET /a # why
        - GET /{id}
      c: [GET /x, "GET /{id}"]
`},
	}
}

func layoutCases() []formatCase {
	return []formatCase{
		{"a long inline mapping in lines", `
app: a
services:
  s: {run: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa, listen: http://:8080, calls: {x: any, y: any}}
`, `
app: a

services:
  s:
    run: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
    listen: http://:8080
    calls: {x: any, y: any}
`},
		{"blank lines: one, and only between", `
app: a



services:

  s: {run: x}


  t: {run: x}
`, `
app: a

services:
  s: {run: x}

  t: {run: x}
`},
		{"unknown words stay, at the end", `
app: a
services:
  s:
    zzz: 1
    run: x
`, `
app: a

services:
  s:
    run: x
    zzz: 1
`},
	}
}

func scalarCases() []formatCase {
	return []formatCase{
		{"literal blocks and hard scalars", `
app: a
services:
  s:
    run: x
    env:
      A: |
        one # no comment
          two
      B: 'it''s # not'
      C: "a: b"
      D: ""
      E: "yes"
      F: >-
        folded
        text
      G: 08
`, `
app: a

services:
  s:
    run: x
    env:
      A: |
        one # no comment
          two
      B: "it's # not"
      C: "a: b"
      D: ""
      E: "yes"
      F: |-
        folded text
      G: 08
`},
		{"a comment between a key and its value, and behind a dash", `
app:
  # odd
  a
services: {s: {run: x}}
observe:
- # first
  from: s
  to: t
`, `
# odd
app: a
services: {s: {run: x}}

observe:
  - # first
    from: s
    to: t
`},
	}
}

func TestFormat(t *testing.T) {
	for _, c := range slices.Concat(commentCases(), layoutCases(), scalarCases()) {
		t.Run(c.name, func(t *testing.T) {
			in, want := strings.TrimPrefix(c.in, "\n"), strings.TrimPrefix(c.want, "\n")
			got, err := Format([]byte(in))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, string(got)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			checkFormat(t, []byte(in))
		})
	}
}

func TestFormatRefuses(t *testing.T) {
	for _, in := range []string{"a: [", "a: 1\na: 2\n", "a: &x 1\n", "\t- a"} {
		if out, err := Format([]byte(in)); err == nil {
			t.Errorf("%q became %q", in, out)
		}
	}
}

// checkFormat holds Format to its promises for any text.
func checkFormat(t *testing.T, src []byte) {
	t.Helper()
	once, err := Format(src)
	if err != nil {
		return
	}
	twice, err := Format(once)
	if err != nil {
		t.Fatalf("format of its own result: %v\n%s", err, once)
	}
	if !bytes.Equal(once, twice) {
		t.Fatalf("not idempotent (-once +twice)\n%s\nof %q", cmp.Diff(string(once), string(twice)), src)
	}
	m1, p1 := Parse("a", bytes.NewReader(src))
	m2, p2 := Parse("a", bytes.NewReader(once))
	if p1.HasErrors() != p2.HasErrors() {
		t.Fatalf("problems changed:\n%s---\n%s\nof %q", p1, p2, src)
	}
	if diff := cmp.Diff(m1, m2, cmpopts.IgnoreTypes(model.Pos{}), cmpopts.EquateEmpty()); diff != "" && !p1.HasErrors() {
		t.Fatalf("the model changed:\n%s", diff)
	}
}

func FuzzFormat(f *testing.F) {
	f.Add(readFile(f, "testdata/shop12.yaml"))
	for _, s := range []string{
		"# c\n", "a: # x\n  # y\n  b: 1\n   # z\nc:\n- # q\n  - 1\n", "a: |\n  x\n\n  y # no\n# c\nb: >+\n  z\n\n",
		"a: {b: [1, 2], # c\n  d: e}\n", "? a\n: b\n", "a: b\n  c # d\ne: 'x\n  y'\n", "- a\n-\n- {a: , b}\n", "a:\n# x\n- b\n# y\n", "'a': \"b\"\n\"c\": ~\n",
		"app: a\nservices: {s: {listen: http://:1, run: x}}\n", "--- # x\na: 1\n...\n# y\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(checkFormat)
}

func FuzzParse(f *testing.F) {
	f.Add(readFile(f, "testdata/shop12.yaml"))
	for _, s := range hostile() {
		f.Add([]byte(s[:min(len(s), 600)]))
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		m, problems := Parse("ward.yaml", bytes.NewReader(src))
		if m == nil {
			t.Fatal("no model")
		}
		_ = problems.String()
		if problems.HasErrors() {
			return
		}
		if m.App == "" || m.TrustDomain == "" || len(m.Services) == 0 {
			t.Fatalf("incomplete without an error: %+v", m)
		}
		for _, s := range m.Services {
			if len(s.Run) == 0 || s.Workdir == "" || s.Replicas == 0 || s.Ready.TimeoutSeconds == 0 {
				t.Fatalf("incomplete without an error: %+v", s)
			}
		}
		for _, x := range m.Externals {
			if x.Host == "" || x.Port == 0 || x.LocalPort == 0 || x.Protocol == model.ProtocolUnknown {
				t.Fatalf("incomplete without an error: %+v", x)
			}
		}
	})
}
