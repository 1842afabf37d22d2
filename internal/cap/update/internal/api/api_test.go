package api

import (
	"archive/zip"
	"bytes"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

// zipOf is a module's zip.
func zipOf(t testing.TB, version string, files map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for name, text := range files {
		w, err := z.Create("example.com/part@" + version + "/" + name)
		if err == nil {
			_, err = w.Write([]byte(text))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func uses(t *testing.T, text string) *Uses {
	t.Helper()
	u, err := UsesOf(fstest.MapFS{"main.go": {Data: []byte("package main\n" + text)}, "below/go.mod": {}, "below/x.go": {Data: []byte("package below; import _ `example.com/part/gone`")}}, ".")
	if err != nil {
		t.Fatal(err)
	}
	return u
}

const before = `package part
import ("io"; "time"; other "example.com/other")
type Client struct { Name string; Wait time.Duration }
func (c *Client) Close() error { return nil }
func (c *Client) Send(r io.Reader) {}
type Store interface { Get(string) string }
func New() *Client { return nil }
func Open(o other.Options) {}
const Limit = 10
const Same time.Duration = 5
var Default = New()
`

func TestOnlyWhatIsUsedCounts(t *testing.T) {
	imports := "import \"example.com/part\"\n"
	for name, c := range map[string]struct {
		change [2]string // of the newer version
		code   string
		all    int
		used   []string
	}{
		"nothing changes":                 {[2]string{"", ""}, "var _ = part.New()", 0, nil},
		"a function goes that is used":    {[2]string{"func New() *Client { return nil }", "func Make() *Client { return nil }"}, "var _ = part.New()", 2, []string{"New: removed"}},
		"a function goes that isn't":      {[2]string{"func Open(o other.Options) {}", ""}, "var _ = part.New()", 1, nil},
		"a method goes":                   {[2]string{"func (c *Client) Close() error { return nil }", ""}, "func f() { part.New().Close() }", 1, []string{"(*Client).Close: removed"}},
		"a method takes something else":   {[2]string{"Send(r io.Reader)", "Send(r io.Writer)"}, "func f() { c := part.New(); c.Send(nil) }", 1, []string{"(*Client).Send: changed from func(io.Reader) to func(io.Writer)"}},
		"a field goes, set in a literal":  {[2]string{"Name string;", ""}, "var _ = part.Client{Name: ``}", 1, []string{"Client.Name: removed"}},
		"a field changes that isn't used": {[2]string{"Name string;", "Name int;"}, "var _ = part.Client{}", 1, nil},
		"an interface asks for more":      {[2]string{"Get(string) string", "Get(string) string; Put(string)"}, "var _ part.Store", 1, []string{"Store.Put: added"}},
		"a constant has another value":    {[2]string{"Limit = 10", "Limit = 11"}, "const x = part.Limit", 1, []string{"Limit: value changed from 10 to 11"}},
		"a type of others":                {[2]string{"o other.Options", "o *other.Options"}, "func f() { part.Open(nil) }", 1, []string{"Open: changed from func(example.com/other.Options) to func(*example.com/other.Options)"}},
	} {
		t.Run(name, func(t *testing.T) {
			after := strings.Replace(before, c.change[0], c.change[1], 1)
			if strings.Contains(c.change[1], "Make") {
				after = strings.Replace(after, "Default = New()", "Default = Make()", 1)
			}
			d, err := Compare("example.com/part", zipOf(t, "v1.0.0", map[string]string{"part.go": before}), zipOf(t, "v1.1.0", map[string]string{"part.go": after}), uses(t, imports+c.code))
			if err != nil {
				t.Fatal(err)
			}
			for i := range c.used {
				c.used[i] = "example.com/part: " + c.used[i]
			}
			if diff := cmp.Diff(c.used, d.Used); diff != "" || len(d.Unsure) > 0 {
				t.Errorf("%s %v", diff, d.Unsure)
			}
			if (d.All == 0) != (c.all == 0) {
				t.Errorf("%d changes in all", d.All)
			}
		})
	}
}

func TestImportsByOtherNames(t *testing.T) {
	a, b := zipOf(t, "v1.0.0", map[string]string{"part.go": before}), zipOf(t, "v1.1.0", map[string]string{"part.go": strings.Replace(before, "Limit = 10", "Limit = 11", 1)})
	for code, want := range map[string]int{
		"import p `example.com/part`\nvar x = p.Limit":    1,
		"import . `example.com/part`\nvar x = Limit":      1,
		"import _ `example.com/part`":                     0,
		"import part `example.com/others`\n":              0,
		"import p `example.com/part`\nvar x = part.Limit": 0,
	} {
		if d, err := Compare("example.com/part", a, b, uses(t, code)); err != nil || len(d.Used) != want {
			t.Errorf("%s: %v, %v", code, d, err)
		}
	}
}

func TestAPackageThatIsGone(t *testing.T) {
	a, b := zipOf(t, "v1.0.0", map[string]string{"sub/sub.go": "package sub", "part.go": before}), zipOf(t, "v1.1.0", map[string]string{"part.go": before})
	d, err := Compare("example.com/part", a, b, uses(t, "import `example.com/part/sub`"))
	if err != nil || len(d.Used) != 1 || d.Used[0] != "example.com/part/sub: the package is gone" {
		t.Errorf("%v, %v", d, err)
	}
}

func TestWhatCannotBeComparedIsSaid(t *testing.T) {
	a := zipOf(t, "v1.0.0", map[string]string{"part.go": before})
	for name, c := range map[string]struct {
		files  map[string]string
		unsure bool
	}{
		"text that is no Go": {map[string]string{"part.go": "package part; func {"}, true},
		"a cycle":            {map[string]string{"part.go": "package part; import `example.com/part/x`; type T = x.T", "x/x.go": "package x; import `example.com/part`; type T = part.T"}, false},
		"another system's":   {map[string]string{"part.go": "//go:build plan9\n\n" + before}, true},
	} {
		d, err := Compare("example.com/part", a, zipOf(t, "v1.1.0", c.files), uses(t, "import `example.com/part`\nvar x = part.Limit"))
		if err != nil || len(d.Unsure) > 0 != c.unsure || !c.unsure && len(d.Used) == 0 {
			t.Errorf("%s: %v, %v: nothing said", name, d, err)
		}
	}
	if _, err := Compare("example.com/part", a, []byte("no zip"), &Uses{}); err == nil {
		t.Error("no zip is compared")
	}
}

func FuzzCompare(f *testing.F) {
	f.Add("type T struct{}", "type T interface{ M() }")
	f.Add("func F[K comparable, V any](m map[K]V) {}", "func F[V any](m []V) {}")
	f.Add("type A = B\ntype B []A", "type A []B\ntype B = A")
	f.Add("import `io`\ntype R interface { io.Reader; ~int | ~string }", "const X = 1 << 600")
	f.Fuzz(func(t *testing.T, a, b string) {
		u := &Uses{Imports: map[string]map[string]bool{"example.com/part": {".": true}}}
		d, err := Compare("example.com/part", zipOf(t, "v1", map[string]string{"p.go": "package part\n" + a}), zipOf(t, "v2", map[string]string{"p.go": "package part\n" + b}), u)
		if err != nil {
			t.Fatal(err)
		}
		if a == b && len(d.Used) > 0 {
			t.Fatalf("the same text differs: %v", d.Used)
		}
	})
}
