package requirements

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var (
	a = strings.Repeat("a", 64)
	b = strings.Repeat("b", 64)
	c = strings.Repeat("c", 64)
)

func TestAChangeTouchesOneVersionAndItsHashes(t *testing.T) {
	for name, x := range map[string]struct{ before, after string }{
		"plain":              {"# my parts\nOther==1.0\nMy_Part == 1.0  # why\n", "# my parts\nOther==1.0\nMy_Part == 2.0  # why\n"},
		"extras and markers": {"my.part[a,b]==1.0; python_version < '3.9'\r\nmy-part===1.0 ;sys_platform=='x'", "my.part[a,b]==2.0; python_version < '3.9'\r\nmy-part===2.0 ;sys_platform=='x'"},
		"one hash":           {"my-part==1.0 --hash=sha256:" + a + " # x\n", "my-part==2.0 --hash=sha256:" + b + " --hash=sha256:" + c + " # x\n"},
		"hashes of pip-compile": {
			"my-part==1.0 \\\n    --hash=sha256:" + a + "\n    # via x\nz==1.0\n",
			"my-part==2.0 \\\n    --hash=sha256:" + b + " \\\n    --hash=sha256:" + c + "\n    # via x\nz==1.0\n",
		},
		"more hashes before": {
			"my-part==1.0 \\\n  --hash=sha256:" + a + " \\\n  --hash=sha256:" + b + " \\\n  --hash=sha256:" + c + "\n",
			"my-part==2.0 \\\n  --hash=sha256:" + b + " \\\n  --hash=sha256:" + c + "\n",
		},
		"another version of it": {"my-part==1.0; python_version < '3'\nmy-part==1.5; python_version >= '3'\n", "my-part==2.0; python_version < '3'\nmy-part==1.5; python_version >= '3'\n"},
	} {
		f, err := Parse([]byte(x.before))
		if err != nil {
			t.Fatal(name, err)
		}
		got, err := f.Set("My.Part", "1.0", "2.0", []string{b, c})
		if d := cmp.Diff(x.after, string(got)); d != "" || err != nil {
			t.Error(name, err, d)
		}
		if _, err := f.Set("absent", "1.0", "2.0", nil); err == nil {
			t.Error(name, "an absent part was changed")
		}
	}
	f, err := Parse([]byte("x==1 --hash=sha256:" + a))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := f.Set("x", "1", "2", nil); err == nil {
		t.Errorf("without hashes: %s", got)
	}
}

func TestWhatPipCouldReadOtherwiseIsRefused(t *testing.T) {
	for name, text := range map[string]string{
		"an editable":               "-e .",
		"a URL":                     "x @ https://example.com/x.whl",
		"a bare URL":                "https://example.com/x.whl",
		"a folder":                  "./x",
		"a repository":              "git+https://example.com/x#egg=x",
		"a variable":                "x==${V}",
		"options of a build":        "x==1 --config-settings=a=b",
		"another hash":              "x==1 --hash=md5:aa",
		"a comment in the middle":   "x==1 \\\n# y \\\n --hash=sha256:" + a,
		"a comment that goes on":    "x==1 # y \\\n --index-url=https://evil.example",
		"an end in the middle":      "x==1 \\\n--index-url=x \\",
		"a form feed":               "x==1\f--index-url=https://evil.example",
		"a carriage return inside":  "x==1\r--index-url=https://evil.example\n",
		"a next line (U+0085)":      "x==1\u0085--index-url=https://evil.example\n",
		"a trusted host":            "--trusted-host evil.example",
		"pre-releases":              "--pre",
		"an option in its middle":   "x==1 -i https://evil.example",
		"what was meant for builds": "--no-binary :all:",
		"a name like an option":     "-x==1",
	} {
		if f, err := Parse([]byte(text + "\nmore==1\n")); err == nil {
			t.Errorf("%s: %+v", name, f)
		}
	}
}

func TestFilesAreReadWithThoseTheyInclude(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"requirements.txt":  "-r sub/base.txt\n-c limits.txt\n--index-url https://corp.example/simple\nx==1 ; python_version>'3'\nloose >= 1.0, <2\n",
		"sub/base.txt":      "-r ../requirements.txt\ny[z]==2 --hash=sha256:" + a + "\n",
		"limits.txt":        "z==3\n",
		"out.txt":           "-r ../../etc/passwd\n",
		"loose.txt":         "-c looser.txt\n",
		"looser.txt":        "z<3\n",
		"requirements.orig": "",
	} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, "link.txt")); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	p, err := Load(root, "requirements.txt")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, x := range append(p.Pins, p.Constraints...) {
		got = append(got, x.Hashed())
	}
	got = append(append(got, p.Loose...), p.Indexes...)
	if d := cmp.Diff([]string{"x==1 ; python_version>'3'", "y[z]==2 --hash=sha256:" + a, "z==3", "loose>= 1.0, <2", "https://corp.example/simple"}, got); d != "" {
		t.Error(d)
	}
	for _, bad := range []string{"out.txt", "link.txt", "loose.txt", "absent.txt", "../x"} {
		if p, err := Load(root, bad); err == nil {
			t.Errorf("%s: %+v", bad, p)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("x[a] == 1.0 ; python_version < '3' \\\n  --hash=sha256:"+a+" \\\n  --hash=sha256:"+b+"\n# c\n-r other.txt\ny>=1\n", "2.0")
	f.Fuzz(func(t *testing.T, text, to string) {
		x, err := Parse([]byte(text))
		if err != nil || len(x.Pins) == 0 || strings.Trim(to, "0123456789.") != "" || to == "" {
			return
		}
		p := x.Pins[0]
		out, err := x.Set(p.Name, p.Version, to, []string{c, a})
		if err != nil {
			t.Fatal(err)
		}
		y, err := Parse(out)
		if err != nil || len(y.Pins) != len(x.Pins) || y.Pins[0].Version != to || len(p.Hashes) > 0 && cmp.Diff(y.Pins[0].Hashes, []string{c, a}) != "" {
			t.Fatalf("%q became %q: %v", text, out, err)
		}
	})
}
